"""Do both sides of duplicate connections keep the same one, whatever the order of events?"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import hello, identity, membership, place, tokens
from weave_py.mesh.connection import Connection, State
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.router.settings import EngineSettings

NOW = 50.0
SETTINGS = EngineSettings()


def router(
    number: int,
    uid: int | None = None,
    settings: EngineSettings | None = None,
    token_bytes: Callable[[int], bytes] | None = None,
) -> Neighbours:
    return Neighbours(
        identity(number),
        membership(None),
        hello(number, uid),
        token_bytes or tokens(number),
        settings or SETTINGS,
    )


def connection_of(stream: Stream) -> Connection:
    assert stream.connection is not None
    return stream.connection


def connect(caller: Neighbours, callee: Neighbours, number: int = 1) -> tuple[Stream, Stream]:
    """A connection with its handshake done, before either side has settled it."""
    outgoing = caller.dialling(f"target{number}", NOW)
    caller.open(outgoing, place(2), True, NOW)
    incoming = callee.accept(Endpoint(f"10.9.{number}.1", 40_000), NOW)
    a, b = connection_of(outgoing), connection_of(incoming)
    while (to_b := a.take_bytes()) + (to_a := b.take_bytes()):
        b.receive_untrusted(to_b, NOW)
        a.receive_untrusted(to_a, NOW)
    assert a.state is b.state is State.OPEN
    return outgoing, incoming


def resolve_duplicate(neighbours: Neighbours, stream: Stream) -> Stream | None:
    """As the engine does: the loser is removed."""
    hello_received = connection_of(stream).hello
    assert hello_received is not None
    loser = neighbours.resolve_duplicate(stream, hello_received)
    if loser is not None:
        assert not neighbours.remove(loser), "it does not count any more"
    return loser


def kept(neighbours: Neighbours, peer: PeerName) -> bytes:
    stream = neighbours.of(peer)
    assert stream is not None
    return connection_of(stream).hash


NAME_1, NAME_2 = identity(1).name, identity(2).name
LOWER, HIGHER = (1, 2) if NAME_1 < NAME_2 else (2, 1)


@given(
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_both_sides_keep_the_same_one(who_calls: list[bool], random: Random, seed: int) -> None:
    """Any number of connections, called by either, finished in any order on each side."""
    a = router(1, token_bytes=tokens(seed))
    b = router(2, token_bytes=tokens(seed + 1))
    pairs = []
    for number, by_a in enumerate(who_calls):
        ours, theirs = connect(*((a, b) if by_a else (b, a)), number)
        pairs.append((ours, theirs) if by_a else (theirs, ours))
    for side, streams in ((a, [p[0] for p in pairs]), (b, [p[1] for p in pairs])):
        random.shuffle(streams)
        losers = [
            loser for stream in streams if (loser := resolve_duplicate(side, stream)) is not None
        ]
        assert len(losers) == len(pairs) - 1
        assert len(side) == 1
        assert len(list(side)) == 1
    assert kept(a, NAME_2) == kept(b, NAME_1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_call_of_the_lower_named_stays(order: tuple[int, int]) -> None:
    lower, higher = router(LOWER), router(HIGHER)
    pairs = [connect(lower, higher, 1), connect(higher, lower, 2)]
    streams_of_higher = [pairs[0][1], pairs[1][0]]
    for index in order:
        resolve_duplicate(higher, streams_of_higher[index])
    stream = higher.of(identity(LOWER).name)
    assert stream is streams_of_higher[0]
    assert not connection_of(streams_of_higher[0]).outbound


def test_of_two_calls_of_one_side_the_lower_hash_stays() -> None:
    a, b = router(1), router(2)
    streams = [connect(a, b, number)[0] for number in range(5)]
    for stream in streams:
        resolve_duplicate(a, stream)
    assert kept(a, NAME_2) == min(connection_of(stream).hash for stream in streams)


@pytest.mark.parametrize("caller_is_lower", [True, False])
def test_a_peer_that_has_restarted_wins_against_its_earlier_life(caller_is_lower: bool) -> None:
    """Its old connection is dead, whether we have noticed or not."""
    numbers = (LOWER, HIGHER) if caller_is_lower else (HIGHER, LOWER)
    staying = router(numbers[0])
    before = router(numbers[1], uid=100)
    old, _ = connect(staying, before, 1)
    assert resolve_duplicate(staying, old) is None
    after = router(numbers[1], uid=200, token_bytes=tokens(77))
    fresh, theirs = connect(staying, after, 2)
    incoming = connect(after, staying, 3)[1]
    assert resolve_duplicate(staying, fresh) is old
    assert resolve_duplicate(after, theirs) is None
    assert kept(staying, identity(numbers[1]).name) == kept(after, identity(numbers[0]).name)
    resolve_duplicate(staying, incoming)
    stream = staying.of(identity(numbers[1]).name)
    assert stream is not None
    hello_kept = connection_of(stream).hello
    assert hello_kept is not None
    assert hello_kept.uid == PeerUID(200)


def test_bookkeeping() -> None:
    a, b = router(1), router(2)
    dialled = a.dialling("somewhere", NOW)
    assert dialled.connection is None
    assert dialled.target == "somewhere"
    ours, _ = connect(a, b)
    assert a.get(ours.number) is ours
    assert len(a) == 0, "not before it is settled"
    resolve_duplicate(a, ours)
    assert a.names() == {NAME_2}
    assert list(a.established()) == [(NAME_2, ours, ours.connection)]
    assert ours.peer == NAME_2
    assert a.remove(ours)
    assert not a.remove(ours)
    assert a.of(NAME_2) is None
    assert list(a) == [dialled]
    assert a.dialling("elsewhere", NOW).number > ours.number, "numbers are not used again"


# --- accepting -------------------------------------------------------------------------------


def at_the_door(neighbours: Neighbours) -> list[Stream]:
    return [s for s in neighbours if connection_of(s).state is State.HANDSHAKE]


def test_strangers_at_the_handshake_are_bounded() -> None:
    limited = router(1, settings=EngineSettings(max_handshakes=5, max_handshakes_per_source=3))
    accepted = [limited.accept(Endpoint("10.0.0.1", port), NOW) for port in range(1, 6)]
    assert limited.evicted == accepted[:2], "its source's oldest makes room, nobody is refused"
    others = [limited.accept(Endpoint(f"10.0.0.{n}", 1), NOW) for n in range(2, 6)]
    assert limited.evicted == accepted[:4]
    assert at_the_door(limited) == [accepted[4], *others]


def test_an_ipv6_network_counts_as_one_source() -> None:
    limited = router(1, settings=EngineSettings(max_handshakes_per_source=2))
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    accepted = [limited.accept(Endpoint(host, 1), NOW) for host in hosts]
    assert limited.evicted == accepted[:1]


def test_who_is_done_makes_place() -> None:
    limited = router(1, settings=EngineSettings(max_handshakes=1, max_handshakes_per_source=1))
    first = limited.accept(Endpoint("10.0.0.1", 1), NOW)
    connection_of(first).advance(NOW + SETTINGS.connection.handshake_timeout)
    assert connection_of(first).state is State.CLOSED
    limited.remove(first)
    limited.accept(Endpoint("10.0.0.1", 3), NOW)
    assert limited.evicted == []


def test_our_own_calls_and_finished_handshakes_do_not_count() -> None:
    a = router(1, settings=EngineSettings(max_handshakes=1, max_handshakes_per_source=1))
    b = router(2)
    outgoing = a.dialling("x", NOW)
    a.open(outgoing, place(2), True, NOW)
    incoming = connect(b, a)[1]
    resolve_duplicate(a, incoming)
    a.accept(Endpoint("10.0.0.1", 1), NOW)
    assert a.evicted == []


def test_a_known_peers_places_are_not_for_strangers() -> None:
    """F8: nor the other way round."""
    a = router(1, settings=EngineSettings(max_handshakes=2, max_known_handshakes=1))
    a.admission.know(["10.0.0.1"])
    known = a.accept(Endpoint("10.0.0.1", 1), NOW)
    strangers = [a.accept(Endpoint(f"10.0.1.{n}", 1), NOW) for n in range(3)]
    assert a.evicted == strangers[:1]
    a.accept(Endpoint("10.0.0.1", 2), NOW)
    assert a.evicted == [strangers[0], known]
