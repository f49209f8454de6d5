"""Does another router run with our identity? What a copied state directory looks like from inside.

A neighbour that is connected with the other one refuses us and says so (router.rivals), the other
one itself does when we meet, and a record of ours may come that we did not make.
"""

from __future__ import annotations

from collections.abc import Mapping

from weave_py.model.effects import WARNING, Effect, LogEvent

CLONED = (
    "another router runs with our identity: was the state directory copied? "
    "Run 'weave-py reset' on one of the two"
)
COMPLAIN_EVERY = 60.0  # seconds


class DuplicateIdentity:
    """Remembers what was said already."""

    def __init__(self) -> None:
        self._complained_at = float("-inf")

    def complaint(self, about: Mapping[str, object], now: float) -> list[Effect]:
        """To say so, now and then: every neighbour, and every record that comes, could tell us, and
        one line says it."""
        if now < self._complained_at + COMPLAIN_EVERY:
            return []
        self._complained_at = now
        return [LogEvent(WARNING, CLONED, about)]
