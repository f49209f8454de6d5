"""Does a control connection notice what it must, in time, and survive what it should?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import handshake, hello, identity, place
from weave_py.mesh.connection import (
    Connection,
    ConnectionEnded,
    ConnectionEvent,
    ConnectionSettings,
    HandshakeCompleted,
    MessageReceived,
    State,
)
from weave_py.mesh.control_keys import ControlKeys
from weave_py.mesh.handshake import ALERT_PASSWORD, ALERTS, WRONG_PASSWORD
from weave_py.model.close_codes import CloseCode
from weave_py.model.load import LocalLoad
from weave_py.wire.messages import (
    ControlMessage,
    Goodbye,
    Gossip,
    Ping,
    Pong,
    Unicast,
    encode_message,
)
from weave_py.wire.packing import pack
from weave_py.wire.stream import alert, frame

SETTINGS = ConnectionSettings()
START = 100.0


@dataclass
class Pair:
    """Two ends of a connection and a clock. Bytes cross at once; `events` is what each reported."""

    a: Connection
    b: Connection
    now: float = START
    events_a: list[ConnectionEvent] = field(default_factory=list)
    events_b: list[ConnectionEvent] = field(default_factory=list)

    def deliver(self) -> None:
        while True:
            to_b, to_a = self.a.take_bytes(), self.b.take_bytes()
            if not to_a and not to_b:
                break
            self.b.receive_untrusted(to_b, self.now)
            self.a.receive_untrusted(to_a, self.now)
        self.events_a += self.a.take_events()
        self.events_b += self.b.take_events()

    def run(self, seconds: float) -> None:
        """Wake both at their deadlines, for a while."""
        end = self.now + seconds
        while True:
            due = [d.at for d in (self.a.next_deadline(), self.b.next_deadline()) if d is not None]
            at = max(min(due, default=end), self.now)
            if at >= end:
                break
            self.now = at
            self.a.advance(at)
            self.b.advance(at)
            self.deliver()
        self.now = end


def unopened(secret_a: str | None = None, secret_b: str | None = None) -> Pair:
    return Pair(
        Connection(handshake(1, initiator=True, secret=secret_a, remote=place(2)), place(2), START),
        Connection(
            handshake(2, initiator=False, secret=secret_b, remote=place(1)), place(1), START
        ),
    )


def opened() -> Pair:
    pair = unopened()
    pair.deliver()
    assert pair.a.state is pair.b.state is State.OPEN
    pair.events_a.clear()
    pair.events_b.clear()
    return pair


def drained(connection: Connection) -> list[ConnectionEvent]:
    connection.take_bytes()
    return connection.take_events()


def the_end(events: list[ConnectionEvent]) -> ConnectionEnded:
    (event,) = events
    assert isinstance(event, ConnectionEnded)
    assert "\n" not in event.reason
    return event


# --- opening ---------------------------------------------------------------------------------


def test_both_sides_report_who_is_there() -> None:
    pair = unopened()
    pair.deliver()
    assert pair.events_a == [HandshakeCompleted(hello(2), place(1))]
    assert pair.events_b == [HandshakeCompleted(hello(1), None)]
    assert pair.a.hello == hello(2)
    assert pair.a.hash == pair.b.hash != b""
    assert pair.a.outbound
    assert not pair.b.outbound


def test_messages_right_behind_the_handshake_are_not_lost() -> None:
    pair = unopened()
    a, b = pair.a, pair.b
    b.receive_untrusted(a.take_bytes(), START)
    a.receive_untrusted(b.take_bytes(), START)
    b.receive_untrusted(a.take_bytes(), START)
    a.receive_untrusted(b.take_bytes(), START)
    b.receive_untrusted(a.take_bytes(), START)
    b.send(Gossip("topology", b"first"))
    a.receive_untrusted(b.take_bytes(), START)
    assert a.take_events() == [
        HandshakeCompleted(hello(2), place(1)),
        MessageReceived(Gossip("topology", b"first")),
    ]


def test_wrong_password_is_the_reason_on_both_sides() -> None:
    pair = unopened("right", "wrong")
    pair.deliver()
    assert the_end(pair.events_b) == ConnectionEnded(WRONG_PASSWORD)
    assert the_end(pair.events_a) == ConnectionEnded(ALERTS[ALERT_PASSWORD])


def test_no_answer_to_the_handshake() -> None:
    pair = unopened()
    deadline = pair.a.next_deadline()
    assert deadline is not None
    assert deadline.at == START + SETTINGS.handshake_timeout
    pair.a.advance(deadline.at - 0.01)
    assert pair.a.state is State.HANDSHAKE
    pair.a.advance(deadline.at)
    assert "is a weave-py router listening there?" in the_end(pair.a.take_events()).reason
    assert pair.a.next_deadline() is None


def test_bytes_now_and_then_do_not_prolong_the_handshake() -> None:
    pair = unopened()
    for second, value in enumerate(pair.a.take_bytes()[:5]):
        pair.b.receive_untrusted(bytes((value,)), START + second)
        pair.b.advance(START + second)
        assert pair.b.state is State.HANDSHAKE
    pair.b.advance(START + SETTINGS.handshake_timeout)
    assert pair.b.state is State.CLOSED


def test_a_stream_that_ends_early_says_when() -> None:
    pair = unopened()
    pair.a.stream_ended("connection reset by peer")
    assert the_end(pair.a.take_events()).reason == "connection reset by peer during the handshake"
    pair = opened()
    pair.a.stream_ended("connection reset by peer")
    end = the_end(pair.a.take_events())
    assert end == ConnectionEnded("connection reset by peer")
    assert not end.is_silent


def test_another_program_is_recognised() -> None:
    pair = unopened()
    pair.a.receive_untrusted(b"SSH-2.0-OpenSSH_9.2\r\n", START)
    assert "does not speak weave-py" in the_end(pair.a.take_events()).reason


# --- living ----------------------------------------------------------------------------------


def test_an_idle_connection_lives_for_ever() -> None:
    pair = opened()
    pair.run(600)
    assert pair.a.state is pair.b.state is State.OPEN
    assert pair.events_a == pair.events_b == []


def test_heartbeats_are_as_frequent_as_promised() -> None:
    pair = opened()
    pings = 0
    for _ in range(10):
        deadline = pair.a.next_deadline()
        assert deadline is not None
        assert deadline.at <= pair.now + SETTINGS.heartbeat
        pair.now = deadline.at
        pair.a.advance(pair.now)
        sent = pair.a.take_bytes()
        pings += bool(sent)
        pair.b.receive_untrusted(sent, pair.now)
        pair.deliver()
    assert pings == 10
    assert pair.now == pytest.approx(START + 9 * SETTINGS.heartbeat)


def with_many_peers() -> tuple[Pair, LocalLoad]:
    """An open pair, of which the side that called looks after a hundred links."""
    load = LocalLoad()
    load.links = 100
    calling = handshake(1, initiator=True, remote=place(2))
    called = handshake(2, initiator=False, remote=place(1))
    pair = Pair(
        Connection(calling, place(2), START, load=load), Connection(called, place(1), START)
    )
    pair.deliver()
    return pair, load


def pings_within(pair: Pair, seconds: float) -> tuple[int, int]:
    """How many times the side that called, and the other one, spoke unasked."""
    by_a = by_b = 0
    end = pair.now + seconds
    while True:
        due = [d.at for d in (pair.a.next_deadline(), pair.b.next_deadline()) if d is not None]
        pair.now = max(min(due), pair.now)
        if pair.now >= end:
            return by_a, by_b
        pair.a.advance(pair.now)
        pair.b.advance(pair.now)
        to_b, to_a = pair.a.take_bytes(), pair.b.take_bytes()
        by_a, by_b = by_a + bool(to_b), by_b + bool(to_a)
        pair.b.receive_untrusted(to_b, pair.now)
        pair.a.receive_untrusted(to_a, pair.now)
        pair.deliver()


def test_who_has_many_peers_pings_each_more_rarely_and_the_other_does_not_make_up_for_it() -> None:
    pair, _ = with_many_peers()
    by_a, by_b = pings_within(pair, 60)
    assert by_a == pytest.approx(60 / SETTINGS.slow_heartbeat, abs=2)
    assert by_b <= 6  # now and then one to measure the round trip
    assert pair.a.state is pair.b.state is State.OPEN


def test_but_not_while_it_is_late_itself() -> None:
    pair, load = with_many_peers()
    pings_within(pair, 5)
    load.late(2.0, pair.now)
    by_a, _ = pings_within(pair, 8)
    assert by_a >= 7


def test_nor_while_answers_come_now_sooner_and_now_later() -> None:
    """As they do where segments get lost: then there should be more than one in time."""
    pair, _ = with_many_peers()
    pings_within(pair, 5)
    for late in (0.4, 0.0, 0.4):
        deadline = pair.a.next_deadline()
        assert deadline is not None
        pair.a.advance(deadline.at)
        pair.b.receive_untrusted(pair.a.take_bytes(), deadline.at + late)
        pair.a.receive_untrusted(pair.b.take_bytes(), deadline.at + late)
        pair.now = deadline.at + late
    by_a, _ = pings_within(pair, 4)
    assert by_a >= 3
    pings_within(pair, 30)  # all as usual again
    by_a, _ = pings_within(pair, 60)
    assert by_a == pytest.approx(60 / SETTINGS.slow_heartbeat, abs=2)


def test_the_round_trip_is_measured_at_once_and_smoothed() -> None:
    pair = opened()
    a, b = pair.a, pair.b
    for number, rtt in enumerate((0.08, 0.16)):
        at = START + number
        a.advance(at)
        b.receive_untrusted(a.take_bytes(), at + rtt / 2)
        a.receive_untrusted(b.take_bytes(), at + rtt)
    assert a.rtt == pytest.approx(0.08 + 0.08 / 8)
    assert b.rtt is None


def test_a_late_pong_does_not_count() -> None:
    pair = opened()
    pair.a.advance(START)
    first = pair.a.take_bytes()
    pair.a.advance(START + 1)
    pair.b.receive_untrusted(first, START + 1)
    pair.a.receive_untrusted(pair.b.take_bytes(), START + 1.5)
    assert pair.a.rtt is None


def test_silence_of_three_seconds_is_death() -> None:
    pair = opened()
    at = START
    while pair.a.state is State.OPEN:
        deadline = pair.a.next_deadline()
        assert deadline is not None
        at = max(deadline.at, at)
        pair.a.advance(at)
    assert at == START + SETTINGS.dead_after == START + 3
    end = the_end(drained(pair.a))
    assert end == ConnectionEnded("nothing heard for 3 s")
    assert end.is_silent


def test_any_message_is_a_sign_of_life() -> None:
    pair = opened()
    for step in range(1, 10):
        at = START + step
        pair.b.send(Gossip("topology", b"x"))
        pair.a.receive_untrusted(pair.b.take_bytes(), at)
        pair.a.advance(at)
    assert pair.a.state is State.OPEN


@pytest.mark.parametrize("stood_still", [1.5, 10, 3600])
def test_who_stood_still_does_not_blame_others(stood_still: float) -> None:
    pair = opened()
    pair.run(5)
    pair.now += stood_still
    pair.a.advance(pair.now)
    assert pair.a.state is State.OPEN
    pair.b.receive_untrusted(pair.a.take_bytes(), pair.now)
    pair.deliver()
    pair.run(10)
    assert pair.a.state is State.OPEN


def test_but_soon_does_if_nothing_comes() -> None:
    pair = opened()
    pair.a.advance(START + 100)
    assert pair.a.state is State.OPEN
    at = START + 100
    while pair.a.state is State.OPEN:
        deadline = pair.a.next_deadline()
        assert deadline is not None
        at = max(deadline.at, at)
        pair.a.advance(at)
    assert at <= START + 100 + SETTINGS.dead_after


# --- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        Gossip("topology", b"body"),
        Gossip("", b""),
        Unicast("session", identity(1).name, identity(2).name, 32, b"x" * 65000),
    ],
)
def test_messages_arrive_whole(message: Gossip | Unicast) -> None:
    pair = opened()
    pair.a.send(message)
    pair.deliver()
    assert pair.events_b == [MessageReceived(message)]


def test_messages_arrive_byte_by_byte_and_in_order() -> None:
    pair = opened()
    sent = [Gossip("topology", bytes([n])) for n in range(5)]
    for message in sent:
        pair.a.send(message)
    for value in pair.a.take_bytes():
        pair.b.receive_untrusted(bytes((value,)), START)
    assert pair.b.take_events() == [MessageReceived(message) for message in sent]


def sealer(pair: Pair) -> ControlKeys:
    """What `a` seals with, to say what `a` never would."""
    keys = pair.a._keys
    assert keys is not None
    return keys


def say(pair: Pair, plaintext: bytes) -> None:
    pair.b.receive_untrusted(frame(sealer(pair).seal(plaintext)), START)


@pytest.mark.parametrize("tag", [8, 9, 1000, 2**64 - 1])
def test_unknown_messages_are_passed_over(tag: int) -> None:
    pair = opened()
    say(pair, pack([tag, "from", b"the future"]))
    say(pair, encode_message(Gossip("topology", b"known")))
    assert pair.b.take_events() == [MessageReceived(Gossip("topology", b"known"))]


@pytest.mark.parametrize(
    "plaintext",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="not msgpack"),
        pytest.param(pack([]), id="no tag"),
        pytest.param(pack([0]), id="tag 0"),
        pytest.param(pack(["ping", 1]), id="a word for a tag"),
        pytest.param(pack([1]), id="no number"),
        pytest.param(pack([1, -1]), id="bad number"),
        pytest.param(pack([5, "session", b"short", b"n" * 6, 1, b""]), id="short name"),
    ],
)
def test_a_malformed_message_ends_the_connection(plaintext: bytes) -> None:
    pair = opened()
    say(pair, plaintext)
    assert not the_end(pair.b.take_events()).planned
    assert pair.b.take_bytes() == b""
    say(pair, encode_message(Ping(1)))
    assert drained(pair.b) == []


@pytest.mark.parametrize("spoil", [lambda s: s[:-1] + bytes([s[-1] ^ 1]), lambda s: s[2:4] + s])
def test_an_altered_stream_ends_the_connection(spoil: Callable[[bytes], bytes]) -> None:
    pair = opened()
    pair.a.send(Gossip("topology", b"x" * 10))
    pair.b.receive_untrusted(spoil(pair.a.take_bytes()).ljust(0x10002, b"\0"), START)
    the_end(pair.b.take_events())


def test_a_message_said_twice_ends_the_connection() -> None:
    pair = opened()
    pair.a.send(Gossip("topology", b"once"))
    sent = pair.a.take_bytes()
    pair.b.receive_untrusted(sent + sent, START)
    first, last = pair.b.take_events()
    assert first == MessageReceived(Gossip("topology", b"once"))
    assert isinstance(last, ConnectionEnded)


def test_our_own_words_thrown_back_end_the_connection() -> None:
    pair = opened()
    pair.a.send(Gossip("topology", b"echo"))
    pair.a.receive_untrusted(pair.a.take_bytes(), START)
    the_end(pair.a.take_events())


def test_an_alert_in_the_open_state_ends_the_connection() -> None:
    pair = opened()
    pair.a.receive_untrusted(alert(5), START)
    assert the_end(pair.a.take_events()).reason == "the peer closed with alert 5"


# --- goodbye ---------------------------------------------------------------------------------


def test_goodbye_is_planned_on_both_sides() -> None:
    pair = opened()
    pair.a.close("leaving the network", CloseCode.LEAVING)
    pair.deliver()
    assert pair.events_a == [
        ConnectionEnded("leaving the network", planned=True, code=CloseCode.LEAVING)
    ]
    assert pair.events_b == [
        ConnectionEnded(
            "the peer said goodbye: leaving the network", planned=True, code=CloseCode.LEAVING
        )
    ]


def test_what_was_queued_before_goodbye_still_arrives_and_nothing_after() -> None:
    pair = opened()
    pair.a.send(Gossip("topology", b"last"))
    pair.a.close("x" * 1000, CloseCode.UNSPECIFIED)
    pair.a.send(Gossip("topology", b"too late"))
    pair.a.close("again", CloseCode.UNSPECIFIED)
    pair.deliver()
    assert pair.events_b == [
        MessageReceived(Gossip("topology", b"last")),
        ConnectionEnded("the peer said goodbye: " + "x" * 200, planned=True),
    ]
    assert len(pair.events_a) == 1


def test_messages_behind_a_goodbye_are_not_read() -> None:
    pair = opened()
    cipher = sealer(pair)
    sent: list[ControlMessage] = [Goodbye("bye"), Gossip("topology", b"late")]
    chunk = b"".join(frame(cipher.seal(encode_message(message))) for message in sent)
    pair.b.receive_untrusted(chunk, START)
    assert the_end(pair.b.take_events()).planned


def test_closing_during_the_handshake_says_nothing() -> None:
    pair = unopened()
    pair.a.take_bytes()
    pair.a.close("no more", CloseCode.UNSPECIFIED)
    assert pair.a.take_bytes() == b""
    assert the_end(pair.a.take_events()).planned


def test_a_closed_connection_is_quiet() -> None:
    pair = opened()
    pair.a.close("x", CloseCode.UNSPECIFIED)
    drained(pair.a)
    pair.a.receive_untrusted(b"anything", START)
    pair.a.advance(START + 1000)
    pair.a.stream_ended("reset")
    pair.a.send(Pong(1))
    assert drained(pair.a) == []
    assert pair.a.next_deadline() is None
    assert "CLOSED" in repr(pair.a)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.binary(max_size=40)), max_size=6), st.booleans()
)
@settings(deadline=None)
def test_no_bytes_make_it_raise(script: list[tuple[str, bytes]], is_open: bool) -> None:
    pair = opened() if is_open else unopened()
    for who, data in script:
        side = pair.a if who == "a" else pair.b
        side.receive_untrusted(data, START)
        ends = [e for e in side.take_events() if isinstance(e, ConnectionEnded)]
        assert (side.state is State.CLOSED) >= bool(ends)
        assert len(ends) <= 1
