"""How large a datagram passes this path? Datagram packetization-layer path MTU discovery.

After RFC 8899: probes of candidate sizes, acknowledged by the peer; never a message from the
network is believed. Sizes are UDP payload bytes. The table holds what links really have, so a
search takes a few steps; the first one asks for the common Ethernet, the second for jumbo frames.
"""

from __future__ import annotations

from weave_py.model.deadlines import Deadline

# Payloads that fill links of well-known MTUs (IPv4: MTU − 28, IPv6: MTU − 48).
SIZES = (
    1200,  # BASE_PLPMTU of RFC 8899; passes everything that IPv6 may use
    1232,  # 1280 over IPv6
    1252,  # 1280
    1344,
    1372,  # 1400; 1420 over IPv6
    1392,  # 1420: WireGuard
    1412,  # 1440; 1460 over IPv6
    1432,  # 1460: Google's cloud
    1452,  # 1500 over IPv6
    1464,  # 1492: PPPoE
    1472,  # 1500: Ethernet
    2972,
    4052,
    8152,
    8452,
    8872,  # 8900
    8952,  # 9000 over IPv6
    8972,  # 9000: jumbo frames
)
BASE = SIZES[0]
ETHERNET = SIZES.index(1472)

TRIES = 3  # MAX_PROBES of RFC 8899
RETRY_AFTER = 0.3  # seconds; a probe of a working size is answered long before
RAISE_EVERY = 600.0  # seconds; PMTU_RAISE_TIMER of RFC 8899


class PathMtu:
    """Search over SIZES. `size` is what surely passes; ask `due` for a size to probe."""

    def __init__(self, now: float) -> None:
        self.size = BASE
        self._high = len(SIZES)  # lowest index that failed
        self._low = 0
        self._tries = 0
        self._probe_at = now
        self._requests: int | None = None

    @property
    def is_searching(self) -> bool:
        return self._low + 1 < self._high

    def due(self, now: float) -> int | None:
        """A size to probe now, if any."""
        if now < self._probe_at:
            return None
        if not self.is_searching:  # the raise timer: perhaps the path has become better
            self._high, self._tries = len(SIZES), 0
            if not self.is_searching:
                self._probe_at = now + RAISE_EVERY
                return None
        if self._requests is not None:
            self._tries += 1
            if self._tries >= TRIES:
                self._refuse(self._requests, now)
                if not self.is_searching:
                    return None
        candidate = self._candidate()
        self._requests = candidate
        self._probe_at = now + RETRY_AFTER
        return SIZES[candidate]

    def acknowledged(self, size: int, now: float) -> None:
        """A probe datagram of this size arrived."""
        index = max((i for i, s in enumerate(SIZES) if s <= size), default=0)
        if index > self._low:
            self._low = index
            self.size = SIZES[index]
            self._requests, self._tries = None, 0
            self._high = max(self._high, index + 1)
            self._probe_at = now if self.is_searching else now + RAISE_EVERY

    def refused(self, size: int, now: float) -> None:
        """Our own kernel would not even send it (larger than the interface's MTU)."""
        if self._requests is not None and SIZES[self._requests] == size:
            self._refuse(self._requests, now)

    def black_hole(self, now: float) -> None:
        """`size` does not pass any more though smaller datagrams do: start again from the base.

        `size` itself is asked for again: after mere loss it is back within a round trip.
        """
        self._low, self._high = 0, len(SIZES)
        self.size = BASE
        self._requests, self._tries = None, 0
        self._probe_at = now

    def next_deadline(self) -> Deadline:
        return Deadline(self._probe_at, "path MTU probe")

    def _candidate(self) -> int:
        if self._high > ETHERNET >= self._low + 1 and self._low == 0:
            return ETHERNET
        if self._high == len(SIZES):
            return len(SIZES) - 1
        return (self._low + self._high) // 2

    def _refuse(self, index: int, now: float) -> None:
        self._high = max(index, self._low + 1)
        self._requests, self._tries = None, 0
        self._probe_at = now if self.is_searching else now + RAISE_EVERY
