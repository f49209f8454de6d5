"""Can a service believe who sent a message, and that it was sent to us, now, once?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import identity, record
from weave_py.mesh.authentic_unicasts import AuthenticUnicasts
from weave_py.mesh.service import Authentic
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.service_unicast import MAX_MESSAGE, decode_unicast_untrusted, encode_unicast
from weave_py.wire.topology import PeerRecord

A, B, C = 1, 2, 3


def name(number: int) -> PeerName:
    return identity(number).name


class World:
    """Three peers that know each other's records."""

    def __init__(self) -> None:
        self.records: dict[PeerName, PeerRecord] = {name(n): record(n) for n in (A, B, C)}
        self.of = {n: self.made(n, 10 + n) for n in (A, B, C)}

    def made(self, number: int, uid: int) -> AuthenticUnicasts:
        return AuthenticUnicasts(identity(number), PeerUID(uid), self.records.get)

    def sealed(self, message: bytes = b"hello", channel: str = "test") -> bytes:
        body = self.of[A].seal(channel, name(B), message)
        assert body is not None
        return body

    def opened(self, body: bytes, channel: str = "test", source: int = A) -> Authentic:
        return self.of[B].open_untrusted(channel, name(source), body)


def test_it_arrives_once() -> None:
    world = World()
    body = world.sealed()
    assert world.opened(body) == Authentic(name(A), b"hello")
    with pytest.raises(PeerError, match="before"):
        world.opened(body)


def test_messages_may_overtake_each_other() -> None:
    world = World()
    bodies = [world.sealed(b"%d" % n) for n in range(20)]
    said = [world.opened(body).body for body in reversed(bodies)]
    assert said == [b"%d" % n for n in reversed(range(20))]


def test_it_is_from_whom_it_says_in_its_channel_to_its_receiver() -> None:
    world = World()
    body = world.sealed()
    with pytest.raises(PeerError):
        world.opened(body, source=C)
    with pytest.raises(PeerError):
        world.opened(body, channel="other")
    with pytest.raises(PeerError):
        world.of[C].open_untrusted("test", name(A), body)
    assert world.opened(body).body == b"hello"


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_no_bit_can_be_changed(data: st.DataObject) -> None:
    world = World()
    body = bytearray(world.sealed())
    bit = data.draw(st.integers(0, 8 * len(body) - 1))
    body[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PeerError):
        world.opened(bytes(body))


def test_neither_end_hears_what_was_said_to_an_earlier_incarnation() -> None:
    world = World()
    body = world.sealed()
    world.of[B] = world.made(B, 99)
    with pytest.raises(PeerError, match="verify"):
        world.opened(body)
    world.of[A] = world.made(A, 77)
    with pytest.raises(PeerError, match="incarnation"):
        world.opened(world.sealed())


def test_who_is_not_known_is_neither_heard_nor_told() -> None:
    world = World()
    body = world.sealed()
    del world.records[name(A)], world.records[name(B)]
    with pytest.raises(PeerError, match="not known"):
        world.opened(body)
    assert world.of[A].seal("test", name(B), b"x") is None


def test_who_was_forgotten_and_is_back_cannot_be_replayed() -> None:
    world = World()
    old, late = world.sealed(b"old"), world.sealed(b"late")
    world.opened(late)
    world.of[B].forget([name(A)])
    for body in (old, late):
        with pytest.raises(PeerError, match="before"):
            world.opened(body)
    assert world.opened(world.sealed(b"new")).body == b"new"


def test_a_forged_number_does_not_move_the_window() -> None:
    world = World()
    came = decode_unicast_untrusted(world.sealed())
    with pytest.raises(PeerError):
        world.opened(encode_unicast(came._replace(number=1 << 60)))
    assert world.opened(world.sealed(b"next")).body == b"next"


def test_too_long_a_message_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="at most"):
        World().sealed(bytes(MAX_MESSAGE + 1))
