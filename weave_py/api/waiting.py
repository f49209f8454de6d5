"""How does a handler wait for what the engine answers later?

The route says `Limits(ends_with_caller=True)`: then a caller that hangs up ends the handler, and
with it the question.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import trio

from weave_py.api.response import Refusal, text


class Asker(Protocol):
    """Hands out tickets (runtime.replies.Replies)."""

    async def ask(
        self, begin: Callable[[int], object], cancel: Callable[[int], object]
    ) -> object: ...


async def wait_for_reply(
    asker: Asker,
    begin: Callable[[int], object],
    cancel: Callable[[int], object],
    *,
    seconds: float,
    reason: Callable[[], str],
) -> object:
    """The engine's reply to what `begin` tells it. Refusal (503) with the `reason`, as it is
    then, if that takes longer than `seconds` (less than the route's own limit).

    `cancel` tells the engine that nobody waits any more: the time is up, or the caller hung up.
    """
    why = ""

    def give_up(ticket: int) -> None:
        nonlocal why
        why = reason()  # (before the engine forgets what we wait for)
        cancel(ticket)

    with trio.move_on_after(seconds):
        return await asker.ask(begin, give_up)
    raise Refusal(text(HTTPStatus.SERVICE_UNAVAILABLE, why or reason()))
