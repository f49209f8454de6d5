"""Was this record seen before?

The sliding window of RFC 6479: a ring of bits, one per counter, of which whole blocks are wiped as
the window moves on, so that nothing is ever shifted.
"""

from __future__ import annotations

WIDTH = 8192
"""How far behind the highest counter a record may arrive and still be taken."""

_BLOCK_SHIFT = 10
_BLOCKS = 16
"""Power of two, at least WIDTH / 1,024 + 1: a block is wiped only once out of the window."""
_BLOCK_BYTES = (1 << _BLOCK_SHIFT) // 8
_RING_MASK = _BLOCKS * _BLOCK_BYTES - 1
_CLEAN = bytes(_BLOCK_BYTES)
_BITS = tuple(1 << bit for bit in range(8))


class ReplayWindow:
    """Remembers which of the last 8,192 counters came, in 2 KiB. Counters are not negative."""

    __slots__ = ("_block", "_highest", "_ring")

    def __init__(self) -> None:
        self._ring = bytearray(_BLOCKS * _BLOCK_BYTES)
        self._highest = -1
        self._block = 0

    def __repr__(self) -> str:
        return f"<ReplayWindow highest={self._highest}>"

    @property
    def highest(self) -> int:
        """The highest counter so far; -1 if none."""
        return self._highest

    def accepts(self, counter: int) -> bool:
        """Whether the counter is new: look before paying for decryption; changes nothing."""
        highest = self._highest
        if counter > highest:
            return True
        if counter <= highest - WIDTH:
            return False
        return not self._ring[counter >> 3 & _RING_MASK] & _BITS[counter & 7]

    def mark(self, counter: int) -> bool:
        """Remember the counter; whether it was new, as `accepts` would have said.

        Only for records that were authenticated: otherwise a forger could move the window past
        every true record.
        """
        ring = self._ring
        index = counter >> 3 & _RING_MASK
        bit = _BITS[counter & 7]
        highest = self._highest
        if counter > highest:
            if counter >> _BLOCK_SHIFT != self._block:
                self._advance(counter >> _BLOCK_SHIFT)
            self._highest = counter
        elif counter <= highest - WIDTH or ring[index] & bit:
            return False
        ring[index] |= bit
        return True

    def _advance(self, block: int) -> None:
        """Wipe what the window's front newly enters: at most the whole ring, once."""
        for entered in range(max(self._block, block - _BLOCKS) + 1, block + 1):
            start = entered % _BLOCKS * _BLOCK_BYTES
            self._ring[start : start + _BLOCK_BYTES] = _CLEAN
        self._block = block
