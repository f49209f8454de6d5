"""When is the next status due? The pace of what one end of a path tells the other."""

from __future__ import annotations

from collections import deque

from fastdp.path.settings import FastSettings
from weave_py.model.deadlines import after
from weave_py.model.fast import FastStatus


class StatusTimer:
    """A change is told at once; between changes the pace is what the path's use asks for."""

    def __init__(self, settings: FastSettings, now: float) -> None:
        self._due = now
        self._settings = settings
        self._last = float("-inf")
        self._is_patient = True
        """Whether being late is no reason (any more) to wait."""
        self._wait_until = float("-inf")
        self._heard: deque[tuple[float, int]] = deque(maxlen=settings.echo_steps + 1)
        self._unheard = -1
        self._told: tuple[object, ...] = ()

    @property
    def due(self) -> float:
        return max(self._due, self._wait_until)

    def acknowledge(self, now: float) -> None:
        """A probe came."""
        self._due = min(self._due, now + self._settings.status_ack)

    def reply(self, now: float) -> None:
        """The peer has not heard of us yet."""
        self._due = min(self._due, max(now, self._last + self._settings.status_reply))

    def heard(self, number: int, is_new_incarnation: bool, now: float) -> None:
        if is_new_incarnation:
            self._heard.clear()
        self._heard.append((now, number))
        self._unheard = -1

    def is_echoing(self, now: float) -> bool:
        """Whether the peer sends as many statuses as only one in use does."""
        if not self._heard:
            return False
        (first_at, first), (_, last) = self._heard[0], self._heard[-1]
        s = self._settings
        return now - first_at <= s.echo_within + s.status_in_use and last - first >= s.echo_steps

    def is_due(self, status: FastStatus, pace: float | None, now: float) -> bool:
        """Whether to send this status now. `pace`: seconds after the last one in which the next
        follows, if nothing special happens; None: nobody ever answered."""
        news = _news(status)
        self._due = now if news != self._told else min(self._due, self._after(pace))
        if now < self.due:
            return False
        if not self._is_patient and now > self._due + self._settings.late:
            self._is_patient = True
            self._wait_until = now + self._settings.first_read
            return False
        self._told = news
        self._last = now
        self._is_patient = False
        self._unheard = min(self._unheard + 1, len(self._settings.unheard) - 1)
        self._due = self._after(pace)
        return True

    def _after(self, pace: float | None) -> float:
        return after(self._last, self._settings.unheard[self._unheard] if pace is None else pace)


def _news(status: FastStatus) -> tuple[object, ...]:
    """What is told at once when it changes."""
    return (
        status.able,
        status.using,
        status.proven,
        status.udp_port,
        status.vni,
        status.heard_incarnation,
        status.spi,
        status.why,
    )
