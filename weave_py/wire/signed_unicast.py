"""What does an authentic unicast look like? A message that its sender signed for one receiver.

The body of a `Unicast` (wire.messages) of a service's channel is msgpack, a list in this order:

    format 1 · sender's uid · number · message · signature (64)

Signed are channel, both names, both uids, number and message: so no relay can alter it, hand it to
somebody else or to a later incarnation of the receiver, or pass it off as another channel's; the
number, which only grows within an incarnation of the sender, tells what was heard before.
"""

from __future__ import annotations

from typing import NamedTuple

from weave_py.model.errors import WireError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.gossip import SIGNATURE_BYTES
from weave_py.wire.packing import as_bytes, as_int, as_list, pack, unpack_untrusted

UNICAST_FORMAT = 1
UNICAST_CONTEXT = b"weave-py unicast v1"
MAX_MESSAGE = 32 * 1024
MAX_BODY = MAX_MESSAGE + 128
U64 = (1 << 64) - 1


class SignedUnicast(NamedTuple):
    uid: PeerUID
    """The sender's."""
    number: int
    message: bytes
    signature: bytes


class Route(NamedTuple):
    """What a signature binds beside number and message."""

    channel: str
    source: PeerName
    source_uid: PeerUID
    destination: PeerName
    destination_uid: PeerUID


def signed_bytes(route: Route, number: int, message: bytes) -> bytes:
    return pack([*route, number, message])


def encode_unicast(unicast: SignedUnicast) -> bytes:
    return pack([UNICAST_FORMAT, *unicast])


def decode_unicast_untrusted(body: bytes) -> SignedUnicast:
    """WireError if malformed. The signature is *not* checked here."""
    fields = as_list(unpack_untrusted(body, max_bytes=MAX_BODY), "signed unicast", 8)
    if len(fields) < 5 or fields[0] != UNICAST_FORMAT:
        raise WireError("a signed unicast of an unknown format")
    return SignedUnicast(
        PeerUID(as_int(fields[1], "uid", 1, U64)),
        as_int(fields[2], "number", 1, U64),
        as_bytes(fields[3], "message", max_length=MAX_MESSAGE),
        as_bytes(fields[4], "signature", length=SIGNATURE_BYTES),
    )
