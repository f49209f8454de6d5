"""Which of the peer's probes came through the kernel? What our statuses acknowledge."""

from __future__ import annotations

from weave_py.model.errors import WireError
from weave_py.wire import fast_probe


class ProbeReceiver:
    """Of one peer. Only probes of its present incarnation count."""

    def __init__(self, cookie: bytes) -> None:
        self.cookie = cookie
        """Whoever knows it may send us probes."""
        self.small_seen = 0
        self.full_seen = 0
        self.strange = 0
        """Frames that claimed to be probes of the peer and were not: containers can send those."""
        self.authentic = 0
        self.heard_at = float("-inf")

    def restart(self) -> None:
        """A new incarnation of the peer: it counts from one."""
        self.small_seen = self.full_seen = 0

    def receive_untrusted(self, frame: bytes | memoryview, incarnation: int, now: float) -> bool:
        """Whether the frame is a probe from this incarnation of the peer."""
        try:
            probe = fast_probe.decode_untrusted(frame, self.cookie)
        except WireError:
            self.strange += 1
            return False
        self.authentic += 1
        if probe.incarnation != incarnation:
            return False
        if probe.is_full:
            self.full_seen = max(self.full_seen, probe.number)
        else:
            self.small_seen = max(self.small_seen, probe.number)
        self.heard_at = now
        return True
