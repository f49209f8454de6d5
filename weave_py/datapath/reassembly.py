"""What becomes of datagrams that do not come in whole trains? Records put together piece by piece.

One segment that is lost is made good if the record's parity came (datapath.parity). Not at once,
though, when it is just the next to come: a train may be taken from the socket in two halves.

Nothing here is authenticated yet, so memory is bounded, in bytes that have come, whatever a header
claims: all sessions of a router share one pool, of which each may take a share; in either the
oldest record makes room. A forged segment can spoil the record it claims to belong to, as losing
it would.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from weave_py.datapath.parity import parity

MAX_PENDING = 16  # a session's records come one after the other: more than a few are lost ones
LATEST = 64  # records on, nothing of a record is expected any more
POOL_BYTES = 16 * 1024 * 1024
SHARE_BYTES = 2 * 1024 * 1024  # of a session: as much as MAX_PENDING records of the longest take
RECORD_COST = (
    600  # bytes that a record takes besides its pieces, and each piece besides its payload
)
PIECE_COST = 120  # … and each piece besides its payload


class _Pending:
    __slots__ = (
        "came",
        "cost",
        "counter",
        "flags",
        "length",
        "missing",
        "owner",
        "parity",
        "pieces",
    )

    def __init__(self, owner: Reassembly, counter: int, length: int) -> None:
        self.owner = owner
        self.counter = counter
        self.length = length
        self.missing = length
        self.came = 0  # bit mask of segment indexes
        self.flags = 0
        self.parity = b""
        self.pieces: dict[int, bytes] = {}  # by where in the record they belong
        self.cost = RECORD_COST

    def complete(self) -> bytes | bytearray | None:
        """The record, with the segment that is missing worked out; None if it is not just one, or
        there is no parity."""
        body = len(self.parity)
        if not body:
            return None
        count = (self.length + body - 1) // body
        absent = ~self.came & ((1 << count) - 1)
        if not absent or absent & (absent - 1):
            return None
        at = (absent.bit_length() - 1) * body  # the buffer is zero there
        buffer = self._laid_out()
        size = min(body, self.length - at)
        value = parity(buffer, body) ^ int.from_bytes(self.parity, "little")
        buffer[at : at + size] = value.to_bytes(body, "little")[:size]
        return buffer

    def whole(self) -> bytes | bytearray:
        """The record of which enough bytes have come."""
        starts = list(self.pieces)
        # (Pieces that overlap, and leave a gap as large, make no record either way.)
        if not self.missing and starts == sorted(starts):
            return b"".join(self.pieces.values())
        return self._laid_out()

    def _laid_out(self) -> bytearray:
        buffer = bytearray(self.length)
        for at, piece in self.pieces.items():
            buffer[at : at + len(piece)] = piece
        return buffer


class PiecePool:
    """The memory of all sessions' incomplete records."""

    __slots__ = ("_waiting", "held", "most")

    def __init__(self, most: int = POOL_BYTES) -> None:
        self.most = most
        self._waiting: OrderedDict[_Pending, None] = OrderedDict()
        self.held = 0
        """Bytes."""

    def add(self, pending: _Pending) -> None:
        self._waiting[pending] = None
        self.held += pending.cost
        self.make_room()

    def make_room(self) -> None:
        """The records that have waited longest go, if more is held than may be."""
        while self.held > self.most:
            oldest = next(iter(self._waiting))
            oldest.owner.give_up(oldest.counter)

    def remove(self, pending: _Pending) -> None:
        del self._waiting[pending]
        self.held -= pending.cost


class Reassembly:
    """Records of one session of which some datagrams have come."""

    __slots__ = ("_held", "_pending", "_pool", "given_up", "repaired")

    def __init__(self, pool: PiecePool) -> None:
        self._pool = pool
        self._pending: dict[int, _Pending] = {}
        self._held = 0
        self.given_up = 0
        """Records that were pushed out before they were complete."""
        self.repaired = 0
        """Records of which a segment was worked out."""

    def __len__(self) -> int:
        """Records that still wait for datagrams."""
        return len(self._pending)

    def add_untrusted(
        self, counter: int, index: int, is_last: bool, length: int, payload: memoryview, flags: int
    ) -> bytes | bytearray | None:
        """A segment of the record `counter`, `length` bytes in all; the record once complete."""
        size = len(payload)
        at = length - size if is_last else index * size
        if not 0 <= at <= length - size or not size:
            return None
        pending = self._of(counter, length)
        bit = 1 << index
        if pending.came & bit or pending.length != length:
            return None
        pending.came |= bit
        pending.flags = flags
        pending.pieces[at] = bytes(payload)
        pending.missing -= size
        if pending.missing <= 0:
            self._remove(counter)
            return pending.whole()
        if is_last and (whole := pending.complete()) is not None:
            self._remove(counter)
            self.repaired += 1
            return whole
        cost = size + PIECE_COST
        pending.cost += cost
        self._held += cost
        pool = self._pool
        pool.held += cost
        if pool.held > pool.most or self._held > SHARE_BYTES:
            self._make_room()
        return None

    def add_parity_untrusted(self, counter: int, length: int, payload: memoryview) -> None:
        """The parity of the record `counter`."""
        pending = self._of(counter, length)
        if pending.length == length and not pending.parity:
            pending.parity = bytes(payload)
            cost = len(payload) + PIECE_COST
            pending.cost += cost
            self._held += cost
            self._pool.held += cost
            self._make_room()

    def completed_before(self, counter: int) -> Iterator[tuple[int, int, bytes | bytearray]]:
        """Records before `counter` that miss nothing but what their parity makes good, as (flags,
        counter, record): what has not come by now does not come."""
        for earlier in [c for c in self._pending if c < counter]:
            pending = self._pending[earlier]
            if earlier < counter - LATEST:
                self.give_up(earlier)
            elif pending.came and (whole := pending.complete()) is not None:
                self._remove(earlier)
                self.repaired += 1
                yield pending.flags, earlier, whole

    def discard(self, counter: int) -> None:
        """The record came whole after all."""
        if self._pending and counter in self._pending:
            self._remove(counter)

    def give_up(self, counter: int) -> None:
        """What has come of this record is thrown away."""
        self._remove(counter)
        self.given_up += 1

    def close(self) -> int:
        """The session is over; how many records have never become complete."""
        for counter in list(self._pending):
            self.give_up(counter)
        return self.given_up

    def _of(self, counter: int, length: int) -> _Pending:
        pending = self._pending.get(counter)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                self.give_up(next(iter(self._pending)))
            pending = self._pending[counter] = _Pending(self, counter, length)
            self._held += pending.cost
            self._pool.add(pending)
        return pending

    def _make_room(self) -> None:
        self._pool.make_room()
        while self._held > SHARE_BYTES:
            self.give_up(next(iter(self._pending)))

    def _remove(self, counter: int) -> None:
        pending = self._pending.pop(counter)
        self._held -= pending.cost
        self._pool.remove(pending)
