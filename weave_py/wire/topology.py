"""What does a peer say about itself? Topology records, signed by their owners, and their gossip.

A record travels as `[body, signature]`, both verbatim as the owner made them: nobody re-encodes
it, so nobody can change it. The body is canonical msgpack, a list in this order:

    format 1 · identity key (32) · static key (32) · certificate (64) · uid · incarnation ·
    version · nickname · endpoints [[host, port]…] ·
    neighbours [[name, cost, direct, outbound, host, port]…] · suites [id…]

`incarnation` counts the owner's starts (the word is SWIM's), `version` its changes since:
(incarnation, version) orders records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from struct import Struct
from typing import NamedTuple

from weave_py.model.errors import WireError
from weave_py.model.names import NAME_BYTES, Endpoint, PeerName, PeerUID, endpoint
from weave_py.wire.packing import (
    as_bool,
    as_bytes,
    as_int,
    as_list,
    as_text,
    pack,
    unpack_canonical_untrusted,
    unpack_untrusted,
)

RECORD_FORMAT = 1
MAX_RECORD_BYTES = 49_152  # MAX_NEIGHBOURS, each with the longest address, and some to spare
MAX_NEIGHBOURS = 512
MAX_ENDPOINTS = 16
MAX_NICKNAME = 255
SIGNATURE_BYTES = 64
MAX_GOSSIP_BYTES = 60_000
U64 = (1 << 64) - 1
U63 = (1 << 63) - 1  # of incarnations and versions: nobody can push them to where they cannot grow
MARK_BYTES = 4
_HELD = Struct(">6sQQ4s")  # name, incarnation, version, mark


class Neighbour(NamedTuple):
    """An established control connection, as one of its ends claims it."""

    name: PeerName
    cost: int
    """Round trip in milliseconds, coarsely (see mesh.ourself); 0: not measured yet."""
    direct: bool
    """Whether we also have a direct data path to this neighbour."""
    outbound: bool
    address: Endpoint
    """The other end, as we see it."""


class RecordVersion(NamedTuple):
    """The order of a peer's records: later ones are greater."""

    incarnation: int
    version: int


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What its owner says about a peer."""

    identity: bytes
    static: bytes
    certificate: bytes
    uid: PeerUID
    order: RecordVersion
    nickname: str
    endpoints: tuple[Endpoint, ...]
    """Where it listens, best guess first: own addresses and those its neighbours see it at."""
    neighbours: tuple[Neighbour, ...]
    suites: tuple[int, ...]
    """AEAD suites for sessions, fastest on that machine first."""
    claims: Mapping[PeerName, Neighbour] = field(init=False, repr=False, compare=False)
    """`neighbours` by name: every route computation looks up many of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "claims", {n.name: n for n in self.neighbours})


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record as it travels. `record` is the decoded `body`."""

    body: bytes
    signature: bytes
    record: PeerRecord
    mark: bytes = field(init=False, repr=False, compare=False)
    """Hash of the body: see Held."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", blake2s(self.body, digest_size=MARK_BYTES).digest())


def encode_record(record: PeerRecord) -> bytes:
    """The canonical body of a record, ready to be signed."""
    return pack(
        [
            RECORD_FORMAT,
            record.identity,
            record.static,
            record.certificate,
            record.uid,
            record.order.incarnation,
            record.order.version,
            record.nickname,
            [[e.host, e.port] for e in record.endpoints],
            [
                [n.name, n.cost, n.direct, n.outbound, n.address.host, n.address.port]
                for n in record.neighbours
            ],
            list(record.suites),
        ]
    )


def _endpoint(host: object, port: object) -> Endpoint:
    text = as_text(host, "host", 64)
    try:
        place = endpoint(text, as_int(port, "port", 1, 65535))
    except ValueError as error:
        raise WireError(f"bad endpoint: {error}") from None
    if place.host != text:
        raise WireError(f"an address that is not in canonical form: {text!r}")
    return place


def _neighbour(value: object) -> Neighbour:
    fields = as_list(value, "neighbour", 6)
    if len(fields) != 6:
        raise WireError("a neighbour has 6 fields")
    return Neighbour(
        PeerName(as_bytes(fields[0], "neighbour name", length=NAME_BYTES)),
        as_int(fields[1], "cost", 0, 60_000),
        as_bool(fields[2], "direct"),
        as_bool(fields[3], "outbound"),
        _endpoint(fields[4], fields[5]),
    )


def _pair(value: object) -> Endpoint:
    fields = as_list(value, "endpoint", 2)
    if len(fields) != 2:
        raise WireError("an endpoint has 2 fields")
    return _endpoint(fields[0], fields[1])


def decode_record_untrusted(body: bytes, signature: bytes) -> SignedRecord:
    """Decode a record; WireError if malformed. The signature is *not* checked here."""
    fields = as_list(
        unpack_canonical_untrusted(body, max_bytes=MAX_RECORD_BYTES), "topology record", 32
    )
    # Later versions may append fields: what we don't know is kept (the body is passed on verbatim).
    if len(fields) < 11 or fields[0] != RECORD_FORMAT:
        raise WireError("a topology record of an unknown format")
    record = PeerRecord(
        identity=as_bytes(fields[1], "identity key", length=32),
        static=as_bytes(fields[2], "static key", length=32),
        certificate=as_bytes(fields[3], "certificate", length=64),
        uid=PeerUID(as_int(fields[4], "uid", 1, U64)),
        order=RecordVersion(
            as_int(fields[5], "incarnation", 0, U63), as_int(fields[6], "version", 0, U63)
        ),
        nickname=as_text(fields[7], "nickname", MAX_NICKNAME),
        endpoints=tuple(_pair(e) for e in as_list(fields[8], "endpoints", MAX_ENDPOINTS)),
        neighbours=tuple(_neighbour(n) for n in as_list(fields[9], "neighbours", MAX_NEIGHBOURS)),
        suites=tuple(as_int(s, "suite", 1, 255) for s in as_list(fields[10], "suites", 16)),
    )
    return SignedRecord(body, as_bytes(signature, "signature", length=SIGNATURE_BYTES), record)


# --- gossip of the channel `topology`: one of these per gossip message -----------------------


class Held(NamedTuple):
    """Which record of a peer somebody holds."""

    name: PeerName
    order: RecordVersion
    mark: bytes
    """Hash of the body: an owner could sign two records of the same order."""


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
    """A hash per bucket of names: answer to a Digest that differs."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """All the sender holds in some buckets: answer to Buckets that differ."""

    buckets: bytes
    held: tuple[Held, ...]
    wanted: tuple[PeerName, ...] = ()
    """Peers whose records the sender asks for."""


TopologyGossip = Records | Digest | Buckets | Summary

DIGEST_BYTES = 16
BUCKET_HASH_BYTES = 8
BUCKETS = 64


def encode_gossip(message: TopologyGossip) -> bytes:
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
    """26 bytes each, back to back: this is what a large network says most."""
    return b"".join(_HELD.pack(h.name, *h.order, h.mark) for h in held)


def _unpack_held(packed: bytes) -> tuple[Held, ...]:
    if len(packed) % _HELD.size:
        raise WireError(f"{len(packed)} bytes are no list of held records")
    held = tuple(
        Held(PeerName(name), RecordVersion(incarnation, version), mark)
        for name, incarnation, version, mark in _HELD.iter_unpack(packed)
    )
    if any(max(h.order) > U63 for h in held):
        raise WireError("a held record's version is too large")
    return held


def _unpack_names(packed: bytes) -> tuple[PeerName, ...]:
    if len(packed) % NAME_BYTES:
        raise WireError(f"{len(packed)} bytes are no list of names")
    return tuple(PeerName(packed[at : at + NAME_BYTES]) for at in range(0, len(packed), NAME_BYTES))


def _signed_pair(value: object) -> tuple[bytes, bytes]:
    fields = as_list(value, "signed record", 2)
    if len(fields) != 2:
        raise WireError("a signed record has 2 fields")
    return (
        as_bytes(fields[0], "record body", max_length=MAX_RECORD_BYTES),
        as_bytes(fields[1], "signature", length=SIGNATURE_BYTES),
    )


def decode_gossip_untrusted(body: bytes) -> TopologyGossip:
    """Decode a message of the channel `topology`; WireError if malformed."""
    fields: Sequence[object] = as_list(
        unpack_untrusted(body, max_bytes=MAX_GOSSIP_BYTES + 1024), "topology gossip", 8
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
                _unpack_names(as_bytes(wanted, "wanted peers", max_length=4096 * NAME_BYTES)),
            )
    raise WireError("an unknown kind of topology gossip")
