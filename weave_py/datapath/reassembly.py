"""What becomes of datagrams that do not come in whole trains? Records put together piece by piece.

One segment that is lost is made good if the record's parity came (datapath.parity). Not at once,
though, when it is just the next to come: a train may be taken from the socket in two halves.

Nothing here is authenticated yet, so memory is bounded: a few records per session, the oldest
making room. A forged segment can spoil the record it claims to belong to, as losing it would.
"""

from __future__ import annotations

from collections.abc import Iterator

from weave_py.datapath.parity import parity

MAX_PENDING = 16  # a session's records come one after the other: more than a few are lost ones
LATEST = 64  # records on, nothing of a record is expected any more


class _Pending:
    __slots__ = ("buffer", "came", "flags", "missing", "parity")

    def __init__(self, length: int) -> None:
        self.buffer = bytearray(length)
        self.missing = length
        self.came = 0  # bit mask of segment indexes
        self.flags = 0
        self.parity = b""

    def complete(self) -> bool:
        """Work out the segment that is missing; False if it is not just one, or without parity."""
        body = len(self.parity)
        if not body:
            return False
        count = (len(self.buffer) + body - 1) // body
        absent = ~self.came & ((1 << count) - 1)
        if not absent or absent & (absent - 1):
            return False
        at = (absent.bit_length() - 1) * body  # the buffer is zero there
        size = min(body, len(self.buffer) - at)
        value = parity(self.buffer, body) ^ int.from_bytes(self.parity, "little")
        self.buffer[at : at + size] = value.to_bytes(body, "little")[:size]
        return True


class Reassembly:
    """Records of one session of which some datagrams have come."""

    __slots__ = ("_pending", "given_up", "repaired")

    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}
        self.given_up = 0
        """Records that were pushed out before they were complete."""
        self.repaired = 0
        """Records of which a segment was worked out."""

    def __len__(self) -> int:
        """Records that still wait for datagrams."""
        return len(self._pending)

    def add_untrusted(
        self, counter: int, index: int, is_last: bool, length: int, payload: memoryview, flags: int
    ) -> bytearray | None:
        """A segment of the record `counter`, `length` bytes in all; the record once complete."""
        size = len(payload)
        at = length - size if is_last else index * size
        if not 0 <= at <= length - size or not size:
            return None
        pending = self._of(counter, length)
        bit = 1 << index
        if pending.came & bit or len(pending.buffer) != length:
            return None
        pending.came |= bit
        pending.flags = flags
        pending.buffer[at : at + size] = payload
        pending.missing -= size
        if pending.missing > 0:
            if not is_last or not pending.complete():
                return None
            self.repaired += 1
        del self._pending[counter]
        return pending.buffer

    def add_parity_untrusted(self, counter: int, length: int, payload: memoryview) -> None:
        """The parity of the record `counter`."""
        pending = self._of(counter, length)
        if len(pending.buffer) == length:
            pending.parity = bytes(payload)

    def completed_before(self, counter: int) -> Iterator[tuple[int, int, bytearray]]:
        """Records before `counter` that miss nothing but what their parity makes good, as (flags,
        counter, record): what has not come by now does not come."""
        for earlier in [c for c in self._pending if c < counter]:
            pending = self._pending[earlier]
            if earlier < counter - LATEST:
                del self._pending[earlier]
                self.given_up += 1
            elif pending.came and pending.complete():
                del self._pending[earlier]
                self.repaired += 1
                yield pending.flags, earlier, pending.buffer

    def discard(self, counter: int) -> None:
        """The record came whole after all."""
        if self._pending:
            self._pending.pop(counter, None)

    def _of(self, counter: int, length: int) -> _Pending:
        pending = self._pending.get(counter)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                del self._pending[next(iter(self._pending))]
                self.given_up += 1
            pending = self._pending[counter] = _Pending(length)
        return pending
