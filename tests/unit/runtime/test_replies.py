"""Tickets: every question is answered or taken back, once, and nothing is left behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from weave_py.runtime.replies import Replies, TooManyWait


class Engine:
    """Remembers who asks."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.cancelled: list[int] = []


async def test_a_reply_goes_to_whom_it_is_for() -> None:
    replies, engine, got = Replies(), Engine(), dict[int, object]()

    async def ask(number: int) -> None:
        got[number] = await replies.ask(engine.asked.append, engine.cancelled.append)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
        for number, ticket in reversed(list(enumerate(engine.asked))):
            replies.reply(ticket, number)
    assert got == {0: 0, 1: 1, 2: 2}
    assert engine.cancelled == []
    assert len(replies) == 0


async def test_the_engine_may_answer_at_once() -> None:
    replies, engine = Replies(), Engine()
    value = await replies.ask(lambda ticket: replies.reply(ticket, "x"), engine.cancelled.append)
    assert (value, engine.cancelled) == ("x", [])


async def test_who_gives_up_takes_his_question_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replies, engine = Replies(), Engine()
    with trio.move_on_after(5):
        await replies.ask(engine.asked.append, engine.cancelled.append)
    assert engine.cancelled == engine.asked
    assert len(replies) == 0
    replies.reply(engine.asked[0], "too late")


async def test_a_question_that_cannot_be_asked_leaves_nothing() -> None:
    replies = Replies()

    def begin(ticket: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await replies.ask(begin, lambda ticket: None)
    assert len(replies) == 0


async def test_no_more_than_there_is_room_for(autojump_clock: trio.testing.MockClock) -> None:
    replies, engine = Replies(limit=1), Engine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replies.ask, engine.asked.append, engine.cancelled.append)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TooManyWait), trio.fail_after(5):
            await replies.ask(engine.asked.append, engine.cancelled.append)
        assert len(engine.asked) == 1
        nursery.cancel_scope.cancel()
    assert engine.cancelled == engine.asked


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["ask", "reply", "give up"]))))
def test_each_question_ends_once(steps: list[tuple[int, str]]) -> None:
    """Any order of asking, answering and giving up, several of them in one turn of the loop."""
    replies, engine = Replies(), Engine()
    answered: list[object] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            answered.append(await replies.ask(engine.asked.append, engine.cancelled.append))

    async def main() -> None:
        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            for number, what in steps:
                if what == "ask":
                    scopes.append(trio.CancelScope())
                    nursery.start_soon(ask, scopes[-1])
                    await trio.testing.wait_all_tasks_blocked()
                elif what == "reply" and number < len(engine.asked):
                    replies.reply(engine.asked[number], engine.asked[number])
                elif what == "give up" and number < len(scopes):
                    scopes[number].cancel()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert len(replies) == 0
    assert len(set(engine.asked)) == len(engine.asked)
    assert len(set(engine.cancelled)) == len(engine.cancelled)
    assert not set(engine.cancelled) & set(answered)
