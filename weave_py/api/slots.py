"""How many clients of the control API are there at a time, and who makes room for whom?

Whoever has been at its request longest makes room for a new one: a real request is there within a
moment, so that somebody who opens connections and dawdles only displaces himself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Slots:
    """So many connections at a time."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._reading: dict[trio.CancelScope, None] = {}  # the longest at it comes first

    @contextmanager
    def taken(self) -> Iterator[bool]:
        """A place while the context lasts; False if all are taken by requests being answered."""
        if self._free <= 0 and self._reading:
            oldest = next(iter(self._reading))
            del self._reading[oldest]
            oldest.cancel()  # it gives its place back as soon as it is scheduled
        elif self._free <= 0:
            yield False
            return
        self._free -= 1
        try:
            yield True
        finally:
            self._free += 1

    @contextmanager
    def reading(self) -> Iterator[trio.CancelScope]:
        """While the context lasts the request is being read, and may be displaced: `cancelled`
        by its scope."""
        with trio.CancelScope() as scope:
            self._reading[scope] = None
            try:
                yield scope
            finally:
                self._reading.pop(scope, None)
