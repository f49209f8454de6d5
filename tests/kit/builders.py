"""Which peers and records do the tests talk about? Small builders, everything from a number."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import cache

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import DEFAULT_NETWORK, Membership
from weave_py.mesh.handshake import ControlHandshake, Gate, Hello, hello_of
from weave_py.mesh.ourself import RECORD_CONTEXT, Ourself
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.wire.gossip import RecordVersion
from weave_py.wire.topology import Neighbour, PeerRecord, SignedRecord, encode_record

PORT = 6783


def tokens(seed: int = 0) -> Callable[[int], bytes]:
    """A source of "random" bytes that gives the same ones every time."""
    return random.Random(seed).randbytes


@cache
def identity(number: int) -> Identity:
    return Identity.create(tokens(1_000_000 + number))


@cache
def membership(secret: str | None) -> Membership:
    """As from a password, without the expensive part; None: an open network."""
    if secret is None:
        return Membership.open_network()
    return Membership(secret.encode().ljust(32, b"\0"), DEFAULT_NETWORK, is_open=False)


def place(number: int) -> Endpoint:
    return Endpoint(f"192.0.2.{number}", PORT)


def hello(number: int, uid: int | None = None) -> Hello:
    return hello_of(identity(number), PeerUID(uid or 10 + number), f"peer{number}", PORT)


def handshake(
    number: int,
    *,
    initiator: bool,
    secret: str | None = None,
    network: Membership | None = None,
    seed: int | None = None,
    uid: int | None = None,
    remote: Endpoint = place(9),  # noqa: B008 (a value)
    gate: Gate | None = None,
) -> ControlHandshake:
    """One side of a control handshake, of peer `number`."""
    return ControlHandshake(
        initiator=initiator,
        identity=identity(number),
        membership=network or membership(secret),
        ours=hello(number, uid),
        remote=remote,
        token_bytes=tokens(number if seed is None else seed),
        gate=gate,
    )


def neighbour(number: int, cost: int = 1, direct: bool = True, outbound: bool = True) -> Neighbour:
    return Neighbour(identity(number).name, cost, direct, outbound, place(number))


def record(
    number: int, neighbours: Iterable[Neighbour] = (), incarnation: int = 1, version: int = 0
) -> PeerRecord:
    owner = identity(number)
    return PeerRecord(
        identity=owner.public,
        static=owner.static_public,
        certificate=owner.certificate,
        uid=PeerUID(10 + number),
        order=RecordVersion(incarnation, version),
        nickname=f"peer{number}",
        endpoints=(place(number),),
        neighbours=tuple(neighbours),
        suites=(1, 2),
    )


def signed(number: int, unsigned: PeerRecord) -> SignedRecord:
    """The record under the signature of peer `number`, whosoever it is."""
    body = encode_record(unsigned)
    return SignedRecord(body, identity(number).sign(RECORD_CONTEXT, body), unsigned)


def signed_record(
    number: int, neighbours: Iterable[Neighbour] = (), incarnation: int = 1, version: int = 0
) -> SignedRecord:
    return signed(number, record(number, neighbours, incarnation, version))


def ourself(number: int, incarnation: int = 1) -> Ourself:
    return Ourself(identity(number), PeerUID(10 + number), incarnation, f"peer{number}", (1, 2))


def synthetic_name(number: int) -> PeerName:
    """A name without a key behind it, for engines that check none."""
    return PeerName(number.to_bytes(6, "big"))


def claim(neighbours: Iterable[Neighbour]) -> PeerRecord:
    """A record that only claims neighbours: not signed, of nobody in particular."""
    return PeerRecord(b"", b"", b"", PeerUID(1), RecordVersion(1, 1), "", (), tuple(neighbours), ())
