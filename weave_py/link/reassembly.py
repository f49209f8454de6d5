"""What becomes of datagrams that do not come in whole trains? Records put together piece by piece.

Nothing here is authenticated yet, so memory is bounded: a few records per session, the oldest
making room. A forged segment can spoil the record it claims to belong to, as losing it would.
"""

from __future__ import annotations

MAX_PENDING = 16  # a session's records come one after the other: more than a few are lost ones


class _Pending:
    __slots__ = ("buffer", "came", "missing")

    def __init__(self, length: int) -> None:
        self.buffer = bytearray(length)
        self.missing = length
        self.came = 0  # bit mask of segment indexes


class Reassembly:
    """Records of one session of which some datagrams have come."""

    __slots__ = ("_pending", "given_up")

    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}
        self.given_up = 0
        """Records that were pushed out before they were complete."""

    def __len__(self) -> int:
        """Records that still wait for datagrams."""
        return len(self._pending)

    def add_untrusted(
        self, counter: int, index: int, is_last: bool, length: int, payload: memoryview
    ) -> bytearray | None:
        """A segment of the record `counter`, `length` bytes in all; the record once complete."""
        size = len(payload)
        at = length - size if is_last else index * size
        if not 0 <= at <= length - size or not size:
            return None
        pending = self._pending.get(counter)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                del self._pending[next(iter(self._pending))]
                self.given_up += 1
            pending = self._pending[counter] = _Pending(length)
        bit = 1 << index
        if pending.came & bit or len(pending.buffer) != length:
            return None
        pending.came |= bit
        pending.buffer[at : at + size] = payload
        pending.missing -= size
        if pending.missing > 0:
            return None
        del self._pending[counter]
        return pending.buffer
