"""When does an engine want to be woken, and why?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Deadline(NamedTuple):
    """An absolute time on the clock given to the engine (seconds), with the reason for it."""

    at: float
    why: str


def earliest(deadlines: Iterable[Deadline | None]) -> Deadline | None:
    """The first of several deadlines to come; None if there is none."""
    return min((d for d in deadlines if d is not None), default=None)
