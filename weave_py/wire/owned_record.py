"""What does a record of a service's channel look like? A payload under its owner's signature.

The body is canonical msgpack, a list in this order:

    format 1 · identity key (32) · slot · uid · version · payload

The uid is that of the owner's life that signed it: see `mesh.gossip.owned_records`. The signature's
context names the channel, so that no record passes for one of another channel. An empty payload is
a record that says nothing: its slot is free.

What an owner may have others keep is a matter of each record alone, SLOTS of them with MAX_PAYLOAD
bytes each: so whether a record is taken does not depend on which others have come, nor when.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from weave_py.model.errors import WireError
from weave_py.model.names import PeerUID
from weave_py.wire.gossip import SIGNATURE_BYTES, U63, U64, RecordVersion, mark_of
from weave_py.wire.packing import as_bytes, as_int, as_list, pack, unpack_canonical_untrusted

RECORD_FORMAT = 1
SLOTS = 128
MAX_PAYLOAD = 1024
MAX_BESIDES = 96  # bytes of a body beside the payload
MAX_BODY = MAX_PAYLOAD + MAX_BESIDES
_CONTEXT = b"weave-py record v1/"


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """A record as it travels, and what its `body` says."""

    body: bytes
    signature: bytes
    identity: bytes
    slot: int
    order: RecordVersion
    """The owner's uid, in place of an incarnation, and the version."""
    payload: bytes
    mark: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", mark_of(self.body))

    @property
    def life(self) -> PeerUID:
        """Of the owner, when it signed this."""
        return PeerUID(self.order.incarnation)


def context_of(channel: str) -> bytes:
    """What an owner signs its records of a channel for."""
    return _CONTEXT + channel.encode()


def encode_body(identity: bytes, slot: int, order: RecordVersion, payload: bytes) -> bytes:
    return pack([RECORD_FORMAT, identity, slot, order.incarnation, order.version, payload])


def decode_owned_untrusted(body: bytes, signature: bytes) -> OwnedRecord:
    """Decode a record; WireError if malformed. The signature is *not* checked here."""
    fields = as_list(unpack_canonical_untrusted(body, max_bytes=MAX_BODY), "owned record", 16)
    # Later versions may append fields: what we don't know is kept (the body is passed on verbatim).
    if len(fields) < 6 or fields[0] != RECORD_FORMAT:
        raise WireError("a record of an unknown format")
    order = RecordVersion(as_int(fields[3], "uid", 1, U64), as_int(fields[4], "version", 1, U63))
    payload = as_bytes(fields[5], "payload", max_length=MAX_PAYLOAD)
    if len(body) - len(payload) > MAX_BESIDES:
        raise WireError(f"a record of {len(body)} bytes, of which {len(payload)} are payload")
    return OwnedRecord(
        body,
        as_bytes(signature, "signature", length=SIGNATURE_BYTES),
        as_bytes(fields[1], "identity key", length=32),
        as_int(fields[2], "slot", 0, SLOTS - 1),
        order,
        payload,
    )
