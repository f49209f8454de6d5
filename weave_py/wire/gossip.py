"""How do signed records spread? The messages of anti-entropy, the same for every gossip channel.

A channel is a set of records, each owned by a peer and known by a key: the peer's name and a slot,
a number by which an owner with several records tells them apart (the topology has one of each
peer, in slot 0). What is inside is the channel's business; here a record is a body and its owner's
signature, passed on verbatim, and an order that says which of two is newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from struct import Struct
from typing import NamedTuple, NewType

from weave_py.model.errors import WireError
from weave_py.model.names import NAME_BYTES, PeerName
from weave_py.wire.packing import as_bytes, as_list, pack, unpack_untrusted

MAX_RECORD_BYTES = 16 * 1024 + 96
"""Of a record's body: a topology record of 256 neighbours with the longest addresses has 15,757."""
MAX_GOSSIP_BYTES = 60_000
SIGNATURE_BYTES = 64
# Of these hashes an owner may look for collisions: two halves of a network would then hold other
# records of it and take them for the same. Of 16 bytes that takes 2^64 tries.
MARK_BYTES = 16
DIGEST_BYTES = 16
BUCKET_HASH_BYTES = 16
BUCKETS = 64
U63 = (1 << 63) - 1  # of incarnations and versions: nobody can push them to where they cannot grow
U64 = (1 << 64) - 1
MAX_SLOT = (1 << 16) - 1
KEY_BYTES = NAME_BYTES + 2
_HELD = Struct(">8sQQ16s")  # key, incarnation, version, mark

RecordKey = NewType("RecordKey", bytes)
"""Whose record, and which of theirs: the owner's name, then the slot, big-endian."""


def record_key(owner: PeerName, slot: int = 0) -> RecordKey:
    """OverflowError for a slot that is not in 0..MAX_SLOT."""
    return RecordKey(owner + slot.to_bytes(2, "big"))


def owner_of(key: RecordKey) -> PeerName:
    return PeerName(key[:NAME_BYTES])


def slot_of(key: RecordKey) -> int:
    return int.from_bytes(key[NAME_BYTES:], "big")


def mark_of(body: bytes) -> bytes:
    """A hash of a record's body: an owner could sign two records of the same order."""
    return blake2s(body, digest_size=MARK_BYTES).digest()


class RecordVersion(NamedTuple):
    """The order of an owner's records under one key: later ones are greater. (Services' records
    have the UID of the owner's life for an incarnation: lives have no order, but no store holds
    records of two.)"""

    incarnation: int
    version: int


class Held(NamedTuple):
    """Which record somebody holds under a key."""

    key: RecordKey
    order: RecordVersion
    mark: bytes
    """See `mark_of`."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records that are new to the sender, or that the receiver asked for."""

    records: tuple[tuple[bytes, bytes], ...]
    """(body, signature), still encoded: one bad record must not spoil its neighbours."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash over all the sender holds: equal hashes need no further word."""

    root: bytes


@dataclass(frozen=True, slots=True)
class Buckets:
    """A hash per bucket of keys: answer to a Digest that differs."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """All the sender holds in some buckets: answer to Buckets that differ."""

    buckets: bytes
    held: tuple[Held, ...]
    wanted: tuple[RecordKey, ...] = ()
    """The records that the sender asks for."""


GossipMessage = Records | Digest | Buckets | Summary


def encode_gossip(message: GossipMessage) -> bytes:
    match message:
        case Records(records):
            return pack([1, [list(pair) for pair in records]])
        case Digest(root):
            return pack([2, root])
        case Buckets(hashes):
            return pack([3, list(hashes)])
        case Summary(buckets, held, wanted):
            return pack([4, buckets, _pack_held(held), b"".join(wanted)])


def _pack_held(held: Iterable[Held]) -> bytes:
    """40 bytes each, back to back: this is what a large network says most."""
    return b"".join(_HELD.pack(h.key, *h.order, h.mark) for h in held)


def _unpack_held(packed: bytes) -> tuple[Held, ...]:
    if len(packed) % _HELD.size:
        raise WireError(f"{len(packed)} bytes are no list of held records")
    held = tuple(
        Held(RecordKey(key), RecordVersion(incarnation, version), mark)
        for key, incarnation, version, mark in _HELD.iter_unpack(packed)
    )
    if any(h.order.version > U63 for h in held):
        raise WireError("a held record's version is too large")
    return held


def _unpack_keys(packed: bytes) -> tuple[RecordKey, ...]:
    if len(packed) % KEY_BYTES:
        raise WireError(f"{len(packed)} bytes are no list of record keys")
    return tuple(RecordKey(packed[at : at + KEY_BYTES]) for at in range(0, len(packed), KEY_BYTES))


def _signed_pair(value: object) -> tuple[bytes, bytes]:
    fields = as_list(value, "signed record", 2)
    if len(fields) != 2:
        raise WireError("a signed record has 2 fields")
    return (
        as_bytes(fields[0], "record body", max_length=MAX_RECORD_BYTES),
        as_bytes(fields[1], "signature", length=SIGNATURE_BYTES),
    )


def decode_gossip_untrusted(body: bytes) -> GossipMessage:
    """Decode a gossip message of any channel; WireError if malformed."""
    fields: Sequence[object] = as_list(
        unpack_untrusted(body, max_bytes=MAX_GOSSIP_BYTES + 1024), "gossip", 8
    )
    match fields:
        case [1, pairs, *_]:
            return Records(tuple(_signed_pair(p) for p in as_list(pairs, "records", 4096)))
        case [2, root, *_]:
            return Digest(as_bytes(root, "digest", length=DIGEST_BYTES))
        case [3, hashes, *_]:
            found = as_list(hashes, "bucket hashes", BUCKETS)
            if len(found) != BUCKETS:
                raise WireError(f"expected {BUCKETS} bucket hashes, got {len(found)}")
            return Buckets(
                tuple(as_bytes(h, "bucket hash", length=BUCKET_HASH_BYTES) for h in found)
            )
        case [4, buckets, held, wanted, *_]:
            return Summary(
                as_bytes(buckets, "buckets", max_length=BUCKETS),
                _unpack_held(as_bytes(held, "held records", max_length=MAX_GOSSIP_BYTES)),
                _unpack_keys(as_bytes(wanted, "wanted records", max_length=4096 * KEY_BYTES)),
            )
    raise WireError("an unknown kind of gossip")
