"""What is worth a line about those who came and did not get in?

A health check opens and closes a connection every second, for ever: all of these make one line now
and then. Who erred is named, once in a while: it may be a router with another password.
"""

from __future__ import annotations

from weave_py.mesh.admission import source_of
from weave_py.mesh.connection import Connection
from weave_py.mesh.handshake import TOO_MANY
from weave_py.model.effects import DEBUG, WARNING, LogEvent
from weave_py.model.names import Endpoint

SAY_EVERY = 60.0  # seconds: about one source, and about all that just went away
MAX_NAMED = 256  # sources remembered; beyond that the ones named longest ago are forgotten

NOTHING, ERRORS = "connections that came to nothing", "connection ended"


class StrangersLog:
    """Told of each incoming connection that ends before its proof, or is turned away."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}
        """When each source was last named, and how often it has come to nothing since."""
        self._said_nothing_at = float("-inf")
        self._gone = 0

    def ended(self, connection: Connection, reason: str, now: float) -> LogEvent | None:
        """The line, if it is time for one."""
        remote = connection.remote
        if not connection.has_erred:
            return self.came_to_nothing(remote, now)
        if reason == TOO_MANY:
            return self.turned_away(remote, now)
        return self._failed(source_of(remote.host), remote, reason, now)

    def turned_away(self, remote: Endpoint, now: float) -> LogEvent | None:
        """Likewise. For want of time: that says something about us, not about who called."""
        return self._failed("", remote, TOO_MANY, now)

    def _failed(self, key: str, remote: Endpoint, reason: str, now: float) -> LogEvent | None:
        at, count = self._said.pop(key, (float("-inf"), 0))
        if now < at + SAY_EVERY:
            self._said[key] = (at, count + 1)
            return None
        self._said[key] = (now, 0)
        if len(self._said) > MAX_NAMED:
            del self._said[next(iter(self._said))]
        fields = {"connection": f"<-{remote.text}", "error": reason}
        return LogEvent(WARNING, ERRORS, {**fields, "earlier": count} if count else fields)

    def came_to_nothing(self, remote: Endpoint, now: float) -> LogEvent | None:
        """Likewise. It said nothing that was wrong."""
        self._gone += 1
        if now < self._said_nothing_at + SAY_EVERY:
            return None
        self._said_nothing_at = now
        count, self._gone = self._gone, 0
        return LogEvent(DEBUG, NOTHING, {"count": count, "last": f"<-{remote.text}"})
