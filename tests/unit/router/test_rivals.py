"""Is another life of a peer let in when the earlier one has ended, and only then?"""

from __future__ import annotations

from tests.kit.builders import identity, membership, place, tokens
from weave_py.model.close_codes import CloseCode
from weave_py.model.names import PeerUID, parse_target
from weave_py.router.connections import FAREWELLS
from weave_py.router.engine import Engine
from weave_py.router.outputs import Dial, SendBytes
from weave_py.router.rivals import MAX_WAITING, PATIENCE

NOW = 10.0


def engine(number: int, uid: int) -> Engine:
    return Engine(
        identity(number),
        membership(None),
        uid=PeerUID(uid),
        incarnation=1,
        nickname=f"peer{uid}",
        port=6783,
        suites=[1],
        token_bytes=tokens(uid),
        now=NOW,
    )


class Calls:
    """Connections of us, whose bytes a test carries."""

    def __init__(self, us: Engine) -> None:
        self.us = us
        self._lines: dict[int, tuple[Engine, int]] = {}
        self.mute: set[int] = set()
        """Whose bytes get lost."""

    def call(self, caller: Engine) -> int:
        """The number of the connection at ours, once all has been said."""
        caller.connect([parse_target("192.0.2.2")], NOW)
        (dial,) = [output for output in caller.take_outputs() if isinstance(output, Dial)]
        number = self.us.accepted(place(1), NOW)
        assert number is not None
        self._lines[number] = caller, dial.connection
        caller.dialled(dial.connection, place(2), NOW)
        self.carry(NOW)
        return number

    def carry(self, now: float) -> None:
        """What all have to say."""
        for _ in range(10):
            for number, (caller, _) in self._lines.items():
                for output in caller.take_outputs():
                    if isinstance(output, SendBytes) and number not in self.mute:
                        self.us.received(number, output.data, now)
            for output in self.us.take_outputs():
                if isinstance(output, SendBytes):
                    caller, its = self._lines[output.connection]
                    caller.received(its, output.data, now)


def test_an_earlier_life_that_does_not_answer_keeps_its_place_until_its_connection_ends() -> None:
    """(t06) What does not answer may only be slow."""
    us, before, after = engine(1, 1), engine(2, 2), engine(2, 3)
    calls = Calls(us)
    old = calls.call(before)
    calls.mute.add(old)
    fresh = calls.call(after)
    assert us.stream_to(before.name) == old
    assert us.neighbours.get(fresh) is not None
    us.stream_ended(old, "connection reset by peer", NOW + 1)
    assert us.stream_to(before.name) == fresh


def test_an_earlier_life_that_answers_keeps_its_place() -> None:
    """(t06)"""
    us, before, after = engine(1, 1), engine(2, 2), engine(2, 3)
    calls = Calls(us)
    old, fresh = calls.call(before), calls.call(after)
    assert us.stream_to(before.name) == old
    assert us.neighbours.get(fresh) is None
    (view,) = after.targets.unconnected()
    assert view.error == FAREWELLS[CloseCode.CLONED]


def test_few_may_wait_and_not_for_ever() -> None:
    """(t06)"""
    us, before = engine(1, 1), engine(2, 2)
    calls = Calls(us)
    old = calls.call(before)
    calls.mute.add(old)
    fresh = [calls.call(engine(2, 10 + number)) for number in range(MAX_WAITING + 1)]
    assert [us.neighbours.get(number) is not None for number in fresh] == [True] * MAX_WAITING + [
        False
    ]
    settled = list(us._rivals.take_settled(NOW + PATIENCE))
    assert len(settled) == MAX_WAITING
    assert not any(is_let_in for _, is_let_in in settled)
