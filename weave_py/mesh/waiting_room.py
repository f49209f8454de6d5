"""Who makes room when more are at the handshake than there are places?

Of a source the oldest makes room for its next: whoever shares an address with somebody who keeps
many connections open gets in all the same, for an honest handshake takes much less time than it
takes to fill the source's places. So it is with all strangers together. Known peers have places of
their own, which no stranger gets.
"""

from __future__ import annotations


class WaitingRoom:
    """Numbers of incoming streams that have not proved anything yet, by source."""

    def __init__(self, places: int, known_places: int, per_source: int) -> None:
        self._places = {False: places, True: known_places}
        self._per_source = per_source
        self._all: dict[bool, dict[int, None]] = {False: {}, True: {}}
        self._by_source: dict[tuple[str, bool], dict[int, None]] = {}
        self._who: dict[int, tuple[str, bool]] = {}

    def __len__(self) -> int:
        return len(self._who)

    def enter(self, number: int, source: str, is_known: bool) -> int | None:
        """A new one; returns the number of who makes room for it and is here no more."""
        same, alike = self._by_source.get((source, is_known), {}), self._all[is_known]
        oldest = None
        if len(same) >= self._per_source:
            oldest = next(iter(same))
        elif len(alike) >= self._places[is_known]:
            oldest = next(iter(alike))
        if oldest is not None:
            self.leave(oldest)
        self._who[number] = (source, is_known)
        alike[number] = None
        self._by_source.setdefault((source, is_known), {})[number] = None
        return oldest

    def leave(self, number: int) -> None:
        """It has proved who it is, or is gone. (Nothing happens to who is not here.)"""
        who = self._who.pop(number, None)
        if who is None:
            return
        del self._all[who[1]][number]
        same = self._by_source[who]
        del same[number]
        if not same:
            del self._by_source[who]
