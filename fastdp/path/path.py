"""What do the two ends of a fast path tell each other, and when? The engine of one peer's path.

Each end sends probes through the kernel, and statuses through the sleeve that say which of the
other's probes and how many of its packets arrived. What follows from a status is decided in
`machine` (and there by `evidence`); when messages leave, in `status_timer`; what the device carries
data, in `usage`. Tell it what happened, take `take_outputs`, look at `wish`.
"""

from __future__ import annotations

from collections.abc import Callable

from fastdp.path.machine import PathMachine
from fastdp.path.probe_receiver import ProbeReceiver
from fastdp.path.prober import Prober
from fastdp.path.reasons import Reason
from fastdp.path.settings import FastSettings
from fastdp.path.status_timer import StatusTimer
from fastdp.path.usage import Usage
from fastdp.path.values import FastState, PathOutput, Permission, SendProbe, SendStatus
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.fast import DesiredEsp, DesiredVxlan, FastStatus
from weave_py.model.load import LocalLoad
from weave_py.wire import fast_status


class FastPath:
    """Engine of the fast path to one peer."""

    def __init__(
        self,
        vni: int,
        mtu: int,
        token_bytes: Callable[[int], bytes],
        now: float,
        settings: FastSettings | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`vni`: where we receive from this peer, and from no other. `mtu`: inner, bytes.
        `load`: the router's own."""
        s = self._settings = settings or FastSettings()
        self._load = load or LocalLoad()
        self.incarnation = int.from_bytes(token_bytes(4), "little") or 1
        self.usage = Usage(s)
        self._mtu = mtu
        self.receiver = ProbeReceiver(token_bytes(fast_status.COOKIE_BYTES))
        self._machine = PathMachine(vni, s)
        self._evidence = self._machine.evidence
        self._statuses = StatusTimer(s, now)
        self._prober = Prober(self._evidence, self.incarnation, mtu, s, self._load, now)
        self._past_incarnation = 0
        self._heard_at = self._settled_at = self._past_until = float("-inf")
        self._number = 0
        self._outputs: list[PathOutput] = []

    # --- in ------------------------------------------------------------------------------

    def adopt(self, desired: DesiredVxlan) -> None:
        """The kernel already does this: our predecessor's work. Before anything else is told."""
        self._machine.adopt(desired)

    def permit(self, permission: Permission, now: float) -> None:
        """Tell again whenever it may have changed."""
        if permission != self._machine.permission:
            self._machine.permission = permission
            self._settle(now)

    def receive_status_untrusted(self, body: bytes | memoryview, now: float) -> None:
        """The peer's status came, in its session. WireError if it is malformed."""
        status, old = fast_status.decode_untrusted(body), self.peer
        if status.incarnation == self._past_incarnation and now < self._past_until:
            return
        is_new_incarnation = old is None or status.incarnation != old.incarnation
        if old is not None and not is_new_incarnation and status.number <= old.number:
            return
        self._machine.peer = status
        self._heard_at = now
        if old is None or is_new_incarnation:
            if old is not None:
                self._past_incarnation, self._past_until = (
                    old.incarnation,
                    now + self._settings.overtaken,
                )
            self.receiver.restart()
            self._machine.peer_restarted()
            self._prober.timer.hurry(now)
        elif old.mtu != status.mtu:
            self._machine.full_size_changed()
        self._statuses.heard(status.number, is_new_incarnation, now)
        self._machine.keys.peer_has(status.spi, now)
        if status.heard_incarnation == self.incarnation:
            follows = old is not None and status.number == old.number + 1
            if self._evidence.report(status, follows, now) and not self._evidence.is_proven:
                self._prober.timer.answered(now)
            self._machine.judge(now)
        else:
            self._statuses.reply(now)
        self._settle(now)

    def receive_probe_untrusted(self, frame: bytes | memoryview, now: float) -> None:
        """A frame with a probe's ethertype came in on the peer's device. Containers can send such
        frames, too, so those that are none are only counted."""
        incarnation = self.peer.incarnation if self.peer else 0
        s = self._settings
        silence = min(s.hear_again * self._load.scale_factor, s.longest_hear_again)
        is_news = now >= self.receiver.heard_at + silence
        is_probe = self.receiver.receive_untrusted(frame, incarnation, now)
        self.usage.probes_in = self.receiver.authentic
        if is_probe:
            self._statuses.acknowledge(now)
            if is_news:
                self._prober.timer.hurry(now)
            self._settle(now)

    def counted(self, tx: int, rx: int, now: float) -> bool:
        """The packet counters of the peer's device were read (see `sample_every`). Whether that
        may have changed anything."""
        before = self.usage.data
        if self.usage.counted(tx, rx, now) and self._is_lively(now):
            self._prober.touched(now)
        self._evidence.transmitted(tx, now)
        if self.usage.data == before and not self.usage.in_use(now):
            return False  # so it is nearly always, for nearly all peers
        self._settle(now)
        return True

    def device_ready(self, desired: DesiredVxlan, now: float) -> None:
        """The kernel now does what this wish says. Saying it again costs nothing."""
        machine = self._machine
        if desired == machine.applied and not machine.failure:
            return
        was_ready = machine.is_ready
        machine.applied, machine.failure = desired, ""
        if machine.is_ready and not was_ready:
            self._prober.timer.hurry(now)
        self._settle(now)

    def device_failed(self, reason: str, now: float) -> None:
        """The kernel refused the device, or it is broken; it may become ready later."""
        self._machine.failure = reason or "the kernel gave no reason"
        self._machine.applied = None
        self._settle(now)

    def use_vni(self, vni: int, now: float) -> None:
        """Receive under another one."""
        self._machine.receive_under(vni)
        self._settle(now)

    def esp_offered(self, desired: DesiredEsp, now: float) -> None:
        """The session's keys: inbound oldest first, and the newest outbound one, agreed or not."""
        self._machine.keys.offered(desired)
        self._settle(now)

    def esp_installed(self, spi: int, now: float) -> None:
        """This inbound key is in our kernel."""
        self._machine.keys.installed(spi)
        self._settle(now)

    def woken(self, now: float) -> None:
        """Frames flow on the sleeve: a good time to try again."""
        self.usage.woken(now)
        self._prober.touched(now)
        self._settle(now)

    def left(self, now: float) -> None:
        """The peer said goodbye, and took its end of the path away."""
        self._machine.peer = None
        self._machine.absent = Reason.PEER_LEFT
        self._settle(now)

    def advance(self, now: float) -> None:
        self._machine.keys.advance(now)
        self._settle(now)

    # --- out -----------------------------------------------------------------------------

    def take_outputs(self) -> list[PathOutput]:
        taken, self._outputs = self._outputs, []
        return taken

    @property
    def state(self) -> FastState:
        return self._machine.state

    @property
    def why(self) -> str:
        """Reason code (fastdp.path.reasons)."""
        is_hopeless = self._machine.why == Reason.PROVING and self._prober.timer.is_unanswered
        return Reason.UNANSWERED if is_hopeless else self._machine.why

    @property
    def failure(self) -> str:  # what the kernel said, if the reason is `device-failed`
        return self._machine.failure

    @property
    def peer(self) -> FastStatus | None:
        """What it said last."""
        return self._machine.peer

    @property
    def vni(self) -> int:
        return self._machine.vni

    @property
    def desired(self) -> DesiredVxlan | None:
        """What the kernel should do; None: the TAP is the port."""
        return self._machine.desired

    def sample_every(self, now: float) -> float | None:
        """How often the device's counters should be read, seconds; None: not at all."""
        if self._machine.applied is None or not self._is_carrying:
            return None
        is_quick = self._is_busy(now) or self._statuses.is_echoing(now)
        s = self._settings
        if is_quick:
            return s.sample_in_use
        return min(s.sample_idle * self._load.scale_factor, s.longest_sample_idle)

    @property
    def is_orphan(self) -> bool:
        """Whether it was adopted, and nothing was heard of its peer since."""
        return self._machine.permission is None

    def next_deadline(self) -> Deadline | None:
        now = self._settled_at
        due = [self._machine.next_deadline(now)]
        if not self.is_orphan:
            due.append(Deadline(self._statuses.due, "fast path status"))
        if self._can_probe:
            due.append(Deadline(self._probe_at, "fast path probe"))
            doubt = self._evidence.doubt_at()
            if doubt is not None and doubt > now and self._evidence.is_proven:
                due.append(Deadline(doubt, "fast path probe unanswered"))
        return earliest(due)

    # --- inside --------------------------------------------------------------------------

    @property
    def _is_carrying(self) -> bool:
        """Whether either end's frames take the kernel."""
        return self.state is FastState.FAST or (self.peer is not None and self.peer.using)

    @property
    def _can_probe(self) -> bool:
        return self.peer is not None and self.peer.able and self._machine.is_ready

    @property
    def _probe_at(self) -> float:
        return max(self._prober.timer.due, self._machine.mtu.until)

    def _is_lively(self, now: float) -> bool:
        s = self._settings
        return now < self._heard_at + min(s.lively * self._load.scale_factor, s.longest_lively)

    def _is_busy(self, now: float) -> bool:
        """Whether the peer and we should tell each other everything, often."""
        if not self._is_lively(now) or not self._is_carrying:
            return False
        return self.usage.in_use(now) or self._prober.is_doubtful(now)

    def _settle(self, now: float) -> None:
        """After any change: decide, then send what is due."""
        self._settled_at = now
        if self._machine.decide(now):
            self._prober.timer.hurry(now)
        self._outputs += self._machine.changes
        self._machine.changes.clear()
        self._probe(now)
        self._report(now)

    def _probe(self, now: float) -> None:
        peer = self.peer
        if peer is None or not self._can_probe or now < self._machine.mtu.until:
            return
        in_use = self.state is FastState.FAST and self.usage.in_use(now)
        frames = self._prober.frames(peer, self._is_lively(now), in_use, now)
        self.usage.probes_out += len(frames)
        self._outputs += [SendProbe(frame) for frame in frames]

    def _report(self, now: float) -> None:
        """Send a status, if one is due."""
        if self.is_orphan:
            return
        status = self._status(now)
        if self._statuses.is_due(status, self._status_pace(now), now):
            self._number = status.number
            self._outputs.append(SendStatus(fast_status.encode(status)))

    def _status_pace(self, now: float) -> float | None:
        s = self._settings
        if self._is_busy(now):
            return s.status_in_use
        if self._statuses.is_echoing(now):
            return s.status_echo
        if self.peer is None:
            return None
        if self.state is FastState.OFF:
            return s.status_off
        return min(s.status_idle * self._load.scale_factor, s.longest_status_idle)

    def _status(self, now: float) -> FastStatus:
        machine = self._machine
        host = machine.permission.host if machine.permission else None
        return FastStatus(
            incarnation=self.incarnation,
            number=self._number + 1,
            able=machine.is_able,
            using=self.state is FastState.FAST,
            proven=machine.is_proven(now),
            udp_port=host.udp_port if host else 0,
            vni=machine.vni,
            mtu=self._mtu,
            cookie=self.receiver.cookie,
            heard_incarnation=self.peer.incarnation if self.peer else 0,
            small_seen=self.receiver.small_seen,
            full_seen=self.receiver.full_seen,
            received=self.usage.received,
            spi=machine.keys.spi,
            why="" if self.state is FastState.FAST else self.why,
        )
