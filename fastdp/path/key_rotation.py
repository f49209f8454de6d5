"""Which ESP keys should the kernel hold for a path? Rotation, make before break.

The session makes a new epoch, and with it keys, every few minutes. Inbound keys are put into the
kernel at once, and our status names the newest one that is there; so the peer knows what it may
send under, and we learn the same from its status. Old inbound keys stay until the peer could have
changed over. If its router is gone nobody tells us anything: then all stays as it is.
"""

from __future__ import annotations

from fastdp.path.settings import FastSettings
from weave_py.model.deadlines import Deadline
from weave_py.model.fast import DesiredEsp, EspKey


class KeyRotation:
    """Engine of one path's keys."""

    def __init__(self, settings: FastSettings) -> None:
        self.outbound: EspKey | None = None
        """Agreed: the peer has it in its kernel."""
        self.peer_spi = 0
        self._settings = settings
        self._offered = DesiredEsp((), None)
        self._inbound: dict[int, EspKey] = {}
        """All that are wanted in the kernel, oldest first."""
        self._in_kernel: set[int] = set()
        self._retire_at: float | None = None

    @property
    def desired(self) -> DesiredEsp:
        return DesiredEsp(tuple(self._inbound.values()), self.outbound)

    @property
    def spi(self) -> int:
        """The newest inbound key in our kernel; 0: none."""
        return next((spi for spi in reversed(self._inbound) if spi in self._in_kernel), 0)

    # --- in ------------------------------------------------------------------------------

    def adopt(self, desired: DesiredEsp) -> None:
        """These are in the kernel, from before our time."""
        self._inbound = {key.spi: key for key in desired.inbound}
        self._in_kernel = set(self._inbound)
        self.outbound = desired.outbound

    def offered(self, desired: DesiredEsp) -> None:
        """The session has these keys now, inbound oldest first; outbound the newest, whether the
        peer has it in its kernel or not."""
        if desired == self._offered:
            return
        self._offered = desired
        for key in desired.inbound:
            if key.spi not in self._inbound:
                self._inbound[key.spi] = key
                self._retire_at = None
        while len(self._inbound) > self._settings.keep_keys:
            self._drop(next(iter(self._inbound)))
        self._agree()

    def installed(self, spi: int) -> None:
        """An inbound key is in our kernel."""
        if spi in self._inbound:
            self._in_kernel.add(spi)

    def peer_has(self, spi: int, now: float) -> None:
        """A status of the peer came: this inbound key is its newest."""
        self.peer_spi = spi
        self._agree()
        if self._retire_at is None and self._is_replaced:
            self._retire_at = now + self._settings.keep_key

    def peer_restarted(self) -> None:
        """What was agreed with its predecessor is void."""
        self.outbound = None
        self._agree()

    def advance(self, now: float) -> None:
        if self._retire_at is not None and now >= self._retire_at:
            self._retire_at = None
            current = {key.spi for key in self._offered.inbound}
            for spi in [spi for spi in self._inbound if spi not in current]:
                self._drop(spi)

    def next_deadline(self) -> Deadline | None:
        return None if self._retire_at is None else Deadline(self._retire_at, "retire ESP keys")

    # --- inside --------------------------------------------------------------------------

    @property
    def _is_replaced(self) -> bool:
        """Whether the newest key is in the kernel, and there are some that the session forgot."""
        current = [key.spi for key in self._offered.inbound]
        if not current or current[-1] not in self._in_kernel:
            return False
        return any(spi not in current for spi in self._inbound)

    def _agree(self) -> None:
        newest = self._offered.outbound
        if newest is not None and newest.spi == self.peer_spi:
            self.outbound = newest

    def _drop(self, spi: int) -> None:
        del self._inbound[spi]
        self._in_kernel.discard(spi)
