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


class Call:
    """A connection between two engines, whose bytes a test carries."""

    def __init__(self, caller: Engine, callee: Engine) -> None:
        self.caller, self.callee = caller, callee
        caller.connect([parse_target("192.0.2.2")], NOW)
        dials = [output for output in caller.take_outputs() if isinstance(output, Dial)]
        self.at_caller = dials[0].connection
        number = callee.accepted(place(1), NOW)
        assert number is not None
        self.at_callee = number
        caller.dialled(self.at_caller, place(2), NOW)

    def carry(self, now: float) -> None:
        """What either has to say to the other."""
        for _ in range(10):
            for one, number, other, its in (
                (self.caller, self.at_caller, self.callee, self.at_callee),
                (self.callee, self.at_callee, self.caller, self.at_caller),
            ):
                for output in one.take_outputs():
                    if isinstance(output, SendBytes) and output.connection == number:
                        other.received(its, output.data, now)


def test_an_earlier_life_that_does_not_answer_keeps_its_place_until_its_connection_ends() -> None:
    """(t06) What does not answer may only be slow."""
    us, before, after = engine(1, 1), engine(2, 2), engine(2, 3)
    old = Call(before, us)
    old.carry(NOW)
    fresh = Call(after, us)
    fresh.carry(NOW)
    assert us.stream_to(before.name) == old.at_callee
    us.stream_ended(old.at_callee, "connection reset by peer", NOW + 1)
    assert us.stream_to(before.name) == fresh.at_callee


def test_an_earlier_life_that_answers_keeps_its_place() -> None:
    """(t06)"""
    us, before, after = engine(1, 1), engine(2, 2), engine(2, 3)
    old = Call(before, us)
    old.carry(NOW)
    fresh = Call(after, us)
    for _ in range(3):  # the handshake; what is for the old one is on its way
        for output in after.take_outputs():
            if isinstance(output, SendBytes):
                us.received(fresh.at_callee, output.data, NOW)
        asked = us.take_outputs()
        for output in asked:
            if isinstance(output, SendBytes):
                is_old = output.connection == old.at_callee
                one, number = (before, old.at_caller) if is_old else (after, fresh.at_caller)
                one.received(number, output.data, NOW)
    old.carry(NOW)
    fresh.carry(NOW)
    assert us.stream_to(before.name) == old.at_callee
    assert us.neighbours.get(fresh.at_callee) is None
    (view,) = after.targets.unconnected()
    assert view.error == FAREWELLS[CloseCode.CLONED]


def test_few_may_wait_and_not_for_ever() -> None:
    """(t06)"""
    us, before = engine(1, 1), engine(2, 2)
    old = Call(before, us)
    old.carry(NOW)
    calls = [Call(engine(2, 10 + n), us) for n in range(MAX_WAITING + 1)]
    for call in calls:
        call.carry(NOW)
    waiting = [call for call in calls if us.neighbours.get(call.at_callee)]
    assert len(waiting) == MAX_WAITING
    us._rivals.take_doubted(before.name)
    settled = list(us._rivals.take_settled(NOW + PATIENCE))
    assert len(settled) == MAX_WAITING
    assert not any(is_let_in for _, is_let_in in settled)
