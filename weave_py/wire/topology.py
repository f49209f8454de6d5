"""What does a peer say about itself? Topology records, signed by their owners.

A record travels as `[body, signature]`, both verbatim as the owner made them: nobody re-encodes
it, so nobody can change it. The body is canonical msgpack, a list in this order:

    format 1 · identity key (32) · static key (32) · certificate (64) · uid · incarnation ·
    version · nickname · endpoints [[host, port]…] ·
    neighbours [[name, cost, direct, outbound, host, port]…] · suites [id…]

or, of two keys that have one name (see mesh.disputes), of which none is the owner:

    format 2 · identity key (32) · static key (32) · certificate (64), of each of the two

`incarnation` counts the owner's starts (the word is SWIM's), `version` its changes since:
(incarnation, version) orders records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from weave_py.model.errors import WireError
from weave_py.model.names import MAX_NEIGHBOURS, NAME_BYTES, Endpoint, PeerName, PeerUID, endpoint
from weave_py.wire.gossip import MAX_RECORD_BYTES, SIGNATURE_BYTES, U63, RecordVersion, mark_of
from weave_py.wire.packing import (
    as_bool,
    as_bytes,
    as_int,
    as_list,
    as_text,
    pack,
    unpack_canonical_untrusted,
    unpack_first_untrusted,
)

RECORD_FORMAT = 1
DISPUTE_FORMAT = 2
DISPUTE_SIGNATURE = bytes(SIGNATURE_BYTES)
"""Nobody's: the certificates say it all."""
NOBODY = PeerUID(0)
NEVER = RecordVersion(0, 0)
DISPUTED = RecordVersion(U63, U63)
"""What records of disputes have for an order."""
MAX_ENDPOINTS = 16
MAX_NICKNAME = 255
U64 = (1 << 64) - 1
_GLANCE_BYTES = 192  # what comes before the nickname takes less


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


class Keys(NamedTuple):
    """Who somebody is, as it proves it."""

    identity: bytes
    static: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What its owner says about a peer."""

    identity: bytes
    static: bytes
    certificate: bytes
    uid: PeerUID = NOBODY
    order: RecordVersion = NEVER
    nickname: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    """Where it listens, best guess first: own addresses and those its neighbours see it at."""
    neighbours: tuple[Neighbour, ...] = ()
    suites: tuple[int, ...] = ()
    """AEAD suites for sessions, fastest on that machine first."""
    rival: Keys | None = None
    """The other keys of that name: this is no peer's record then, but that of a dispute."""
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
    """Hash of the body: see wire.gossip.Held."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", mark_of(self.body))

    @property
    def order(self) -> RecordVersion:
        return self.record.order


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


def encode_dispute(first: Keys, second: Keys) -> bytes:
    """The body of the record of a dispute; `first` is the one with the lower identity key."""
    return pack([DISPUTE_FORMAT, *first, *second])


def _keys(fields: list[object]) -> Keys:
    return Keys(
        as_bytes(fields[0], "identity key", length=32),
        as_bytes(fields[1], "static key", length=32),
        as_bytes(fields[2], "certificate", length=64),
    )


def _dispute(fields: list[object], body: bytes) -> SignedRecord:
    if len(fields) != 7:
        raise WireError("a dispute is between two keys")
    record = PeerRecord(*_keys(fields[1:4]), order=DISPUTED, rival=_keys(fields[4:7]))
    return SignedRecord(body, DISPUTE_SIGNATURE, record)


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


class Glance(NamedTuple):
    """What a record says first: whose it is, and which."""

    identity: bytes
    order: RecordVersion
    is_dispute: bool = False


def glance_at_record_untrusted(body: bytes) -> Glance:
    """Whose record this claims to be, at a small part of what decoding it costs; WireError if
    that cannot be told. Whatever decodes says the same then."""
    format_, identity = unpack_first_untrusted(body, 2, look_at=_GLANCE_BYTES)
    if format_ == DISPUTE_FORMAT:
        return Glance(as_bytes(identity, "identity key", length=32), DISPUTED, True)
    fields = unpack_first_untrusted(body, 7, look_at=_GLANCE_BYTES)
    if fields[0] != RECORD_FORMAT:
        raise WireError("a topology record of an unknown format")
    return Glance(
        as_bytes(fields[1], "identity key", length=32),
        RecordVersion(
            as_int(fields[5], "incarnation", 0, U63), as_int(fields[6], "version", 0, U63)
        ),
    )


def decode_record_untrusted(body: bytes, signature: bytes) -> SignedRecord:
    """Decode a record; WireError if malformed. The signature is *not* checked here."""
    fields = as_list(
        unpack_canonical_untrusted(body, max_bytes=MAX_RECORD_BYTES), "topology record", 32
    )
    if fields and fields[0] == DISPUTE_FORMAT:
        return _dispute(fields, body)
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
