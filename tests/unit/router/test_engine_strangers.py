"""What do strangers cost a router, what do they learn, and who pays for it? (F8, F14, F16, t66)"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.kit.builders import neighbour, place, signed_record
from tests.kit.callers import SECRET, WELCOMED, Called, Caller, Silent
from weave_py.crypto import cpace, noise
from weave_py.mesh.admission import ANSWERS, KNOWN_PROOFS, PROOFS
from weave_py.mesh.handshake import ALERT_PASSWORD, ALERTS
from weave_py.model.names import parse_target
from weave_py.router.topology_channel import TOPOLOGY
from weave_py.wire.gossip import Records, encode_gossip
from weave_py.wire.messages import Gossip
from weave_py.wire.preface import preface

REFUSED = ALERTS[ALERT_PASSWORD]
SHARED = "198.51.100.9"
"""An address that an honest router shares with whoever makes trouble."""


def v4_network(number: int) -> str:
    return f"10.{number >> 8 & 255}.{number & 255}.1"


def guess(called: Called, host: str, seed: int) -> bool:
    """Whether a wrong password was looked at."""
    caller = Caller(3, "a guess", seed)
    called.join(caller, host)
    return caller.outcome == REFUSED


# --- F8, t66: who pays -----------------------------------------------------------------------


@pytest.mark.parametrize("per_second", [2, 5, 20, 200])
def test_silent_connections_keep_nobody_out(per_second: int) -> None:
    """F8, t66: a load balancer's check, or a container behind the host's NAT, connects and closes
    from the address that a router has, too. It was let in 2 times of 47, or never."""
    called, dice = Called(), Random(2)
    outcomes: list[str] = []
    next_call = called.now + 1
    for _ in range(20 * per_second):
        called.hang_up(called.call(Silent(), SHARED, 1000 + dice.randrange(50_000)))
        if called.now >= next_call:
            next_call = called.now + dice.uniform(0.5, 1.5)
            outcomes.append(called.join(Caller(seed=len(outcomes)), SHARED))
        called.pass_time(1 / per_second)
    assert len(outcomes) > 10
    assert set(outcomes) == {WELCOMED}


def test_who_keeps_all_the_sources_places_keeps_nobody_out() -> None:
    """F8: the same, but the silent connections are kept open."""
    called = Called()
    for number in range(100):
        called.call(Silent(), SHARED, 1000 + number)
    assert called.join(Caller(), SHARED) == WELCOMED
    assert len(list(called.engine.neighbours)) <= called.engine.settings.max_handshakes_per_source


@pytest.mark.parametrize(
    "host_of",
    [
        pytest.param(lambda _: SHARED, id="one address"),
        pytest.param(lambda i: f"2001:db8:0:{i:x}::1", id="one IPv6 /48"),
        pytest.param(lambda i: v4_network(i % 50), id="50 networks"),
        pytest.param(lambda i: v4_network(i % 10_000), id="10,000 networks"),
    ],
)
def test_guesses_are_bounded_however_many_networks(host_of: Callable[[int], str]) -> None:
    """F8, T9: an IPv6 /48 could make 2,000 guesses a second."""
    called = Called()
    seconds, per_second = 20, 60
    looked_at = 0
    for number in range(seconds * per_second):
        looked_at += guess(called, host_of(number), number)
        called.pass_time(1 / per_second)
    assert 0 < looked_at <= PROOFS.total.burst + PROOFS.total.per_second * seconds
    assert PROOFS.total.per_second + KNOWN_PROOFS.total.per_second <= 10
    if host_of(0) == host_of(1):
        assert looked_at <= PROOFS.source.burst + PROOFS.source.per_second * seconds


@pytest.mark.parametrize("networks", [50, 10_000])
def test_a_known_router_behind_a_guessers_address(networks: int) -> None:
    """F8, T9: neither the other guesses from its address nor those of all networks keep out a
    router that has been a member there."""
    called, dice = Called(), Random(3)
    assert called.join(Caller(), SHARED) == WELCOMED, "so it is known"
    outcomes = []
    for number in range(20 * 40):
        host = SHARED if number % 2 else v4_network(number % networks)
        guess(called, host, number)
        called.pass_time(1 / 40)
        if dice.random() < 1 / 40:
            outcomes.append(called.join(Caller(seed=number), SHARED))
    assert len(outcomes) > 10
    assert set(outcomes) == {WELCOMED}


def test_a_new_router_behind_a_guessers_address_needs_some_calls() -> None:
    """F8: nothing tells it from the guesser; it competes for its source's looks, fairly."""
    called = Called()
    for number in range(30 * 5):
        guess(called, SHARED, number)
        called.pass_time(1 / 5)
        if number % 3 == 0 and called.join(Caller(seed=number), SHARED) == WELCOMED:
            return
    raise AssertionError("30 s were not enough")


def test_who_guesses_as_a_known_peer_has_no_more_guesses() -> None:
    """F8: static keys are no secret. Known peers' looks are bounded, too."""
    called = Called()
    hosts = [f"203.0.113.{n}" for n in range(20)]
    for number, host in enumerate(hosts):
        assert called.join(Caller(10 + number, seed=number), host) == WELCOMED
    looked_at = 0
    for turn in range(20):
        for number, host in enumerate(hosts):
            caller = Caller(10 + number, "a guess", 1000 * turn + number)
            looked_at += called.join(caller, host) == REFUSED
        called.pass_time(1)
    assert looked_at <= KNOWN_PROOFS.total.burst + 20 * KNOWN_PROOFS.total.per_second


def test_strangers_cannot_push_out_a_known_router() -> None:
    """F8: 300 connections came within an honest handshake of 50 ms, pushed it out of its place,
    and it was booked as a failure."""
    called = Called()
    assert called.join(Caller(), SHARED) == WELCOMED
    for attempt in range(12):
        number = called.call(Silent(), SHARED, 50_000 + attempt)
        assert number is not None
        for other in range(300):
            called.call(Silent(), f"2001:db8:{attempt:x}:{other:x}::1")
        called.pass_time(0.05)
        assert called.is_at_door(number)
        called.hang_up(number)


@pytest.mark.parametrize("how", ["in its record", "as a target"])
def test_a_peer_is_known_before_it_has_called(how: str) -> None:
    """F8: addresses in signed records, and those that we call ourselves."""
    called = Called()
    host = place(3).host
    if how == "as a target":
        called.engine.connect([parse_target(host)], called.now)
    else:
        neighbour_of_its = called.call(Caller(2), SHARED)
        assert neighbour_of_its is not None
        told = (signed_record(2, [neighbour(1), neighbour(3)]), signed_record(3, [neighbour(2)]))
        pairs = tuple((record.body, record.signature) for record in told)
        called.say(neighbour_of_its, Gossip(TOPOLOGY, encode_gossip(Records(pairs))))
        called.pass_time(1.0)
    number = called.call(Silent(), host)
    for other in range(300):
        called.call(Silent(), v4_network(other))
    assert number is not None
    assert called.is_at_door(number)


def test_who_was_pushed_out_pays_nothing() -> None:
    """F8: a stranger that made room is let in when the flood is over."""
    called = Called()
    for attempt in range(20):
        number = called.call(Silent(), SHARED)
        for other in range(300):
            called.call(Silent(), f"2001:db8:{attempt:x}:{other:x}::1")
        assert number is not None
        assert not called.is_at_door(number)
    assert called.join(Caller(), SHARED) == WELCOMED


# --- F14: what it costs ----------------------------------------------------------------------


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As many entries as there were scalar multiplications with others' points."""
    done: list[int] = []
    for module in (noise, cpace):
        real = module.shared_secret_untrusted

        def counted(*arguments: object, real: Callable[..., bytes] = real) -> bytes:
            done.append(1)
            return real(*arguments)

        monkeypatch.setattr(module, "shared_secret_untrusted", counted)
    return done


def drawn(called: Called, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As many entries as private keys are made from now on."""
    keys: list[int] = []
    real = called.engine.neighbours._token_bytes

    def token_bytes(count: int) -> bytes:
        keys.append(count)
        return real(count)

    monkeypatch.setattr(called.engine.neighbours, "_token_bytes", token_bytes)
    return keys


@pytest.mark.parametrize(
    "words",
    [b"", b"GET / HTTP/1.1\r\n\r\n", preface(), preface() + b"\x00"],
    ids=["nothing", "another protocol", "a preface", "a preface and a bit"],
)
def test_no_key_is_used_before_the_first_message(
    words: bytes, exchanges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14: each of these made a CPace share and an ephemeral key."""
    called = Called()
    keys = drawn(called, monkeypatch)
    for number in range(20):
        called.hang_up(called.call(Silent(words), v4_network(number)))
    assert exchanges == []
    assert keys == []


def test_work_for_strangers_is_bounded_a_second(
    exchanges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14, R19: 1,000 first messages a second from as many addresses kept 89 % of a core busy."""
    called = Called()
    keys = drawn(called, monkeypatch)
    stranger = Caller(3, "a guess")
    first = stranger.answer(preface())
    exchanges.clear()
    seconds = 5
    for number in range(1000 * seconds):
        called.hang_up(called.call(Silent(first), v4_network(number)))
        called.pass_time(0.001)
    answers = ANSWERS.total.burst + ANSWERS.total.per_second * seconds
    assert len(exchanges) <= 4 * answers
    assert len(keys) <= 2 * answers
    assert len(exchanges) > answers, "strangers are answered, though"


def test_known_routers_are_answered_while_strangers_flood() -> None:
    """F14: their budget is their own."""
    called = Called()
    assert called.join(Caller(), SHARED) == WELCOMED
    first = Caller(3, "a guess").answer(preface())
    for number in range(2000):
        called.hang_up(called.call(Silent(first), v4_network(number)))
        called.pass_time(0.001)
        if number % 100 == 99:
            assert called.join(Caller(seed=number), SHARED) == WELCOMED


def test_a_thousand_honest_routers_start_at_once() -> None:
    """F14: who proves that it belongs here pays nothing, so there is nothing to run out of."""
    called = Called()
    for number in range(1000):
        assert called.join(Caller(seed=number), v4_network(number)) == WELCOMED
        called.pass_time(0.001)


def test_many_honest_routers_behind_one_address_start_at_once() -> None:
    called = Called()
    for number in range(100):
        assert called.join(Caller(seed=number), SHARED) == WELCOMED


# --- F16: what they learn --------------------------------------------------------------------


def test_a_stranger_is_told_nothing_but_a_key() -> None:
    """F16: who dialled without the password learned nickname (a host's name), UID and port."""
    called = Called()
    caller = Caller(3, "a guess")
    heard: list[bytes] = []
    real = noise.Handshake.read_message_untrusted

    def spy(self: noise.Handshake, message: bytes) -> bytes:
        payload = real(self, message)
        heard.append(payload)
        return payload

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise.Handshake, "read_message_untrusted", spy)
        called.join(caller, SHARED)
    assert caller.outcome == REFUSED
    assert caller.handshake.theirs is None
    assert heard, "the stranger's end read message 2"
    assert not any(b"peer1" in payload for payload in heard)


# --- the log ---------------------------------------------------------------------------------


def test_a_health_check_makes_a_line_now_and_then() -> None:
    """t66: 123 lines a minute."""
    called = Called()
    called.log.clear()
    for _ in range(5 * 120):
        called.hang_up(called.call(Silent(), SHARED))
        called.pass_time(0.2)
    assert 2 <= len(called.log) <= 3
    assert {line.level for line in called.log} == {10}
    assert sum(int(str(line.fields["count"])) for line in called.log) > 250


def test_who_errs_is_named_once_a_minute() -> None:
    called = Called()
    called.log.clear()
    for number in range(90):
        guess(called, SHARED, number)
        guess(called, "203.0.113.5", number)
        called.pass_time(1.0)
    errors = [line for line in called.log if "wrong password" in str(line.fields.get("error"))]
    assert len(errors) == 4
    assert {line.level for line in errors} == {30}
    assert int(str(errors[-1].fields["earlier"])) > 50
    assert SECRET not in str(called.log)


def test_a_flood_makes_no_flood_of_lines() -> None:
    """F14: 10,000 sources that go away, or are turned away, are not named one by one."""
    called = Called()
    called.log.clear()
    first = Caller(3, "a guess").answer(preface())
    for number in range(1000):
        called.hang_up(called.call(Silent(first), v4_network(number)))
        called.pass_time(0.001)
    assert len(called.log) == 2
