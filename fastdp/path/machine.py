"""Which state is the path in, why, and what does it want of the kernel? The state machine.

    off ──▶ probing ──▶ fast ──▶ degraded ──▶ fast …      (`reasons` says why it is where it is)

off       there is no fast path, or it may not be used: the sleeve carries the frames
probing   the kernel has one, and both ends send probes through it
fast      both directions were proven: the kernel carries our frames
degraded  it was left, is proven anew, and then held down for a while

Each end decides for its own direction, but goes fast only when both are proven, and leaves when
the peer says that its direction is not any more. Only evidence, an order or a peer that moved
makes a path leave `fast`; that nothing is heard does not.
"""

from __future__ import annotations

from dataclasses import replace

from fastdp.path.evidence import Evidence
from fastdp.path.hold_down import HoldDown, MtuPause
from fastdp.path.key_rotation import KeyRotation
from fastdp.path.reasons import NEVER, Reason, peer_reason
from fastdp.path.settings import FastSettings
from fastdp.path.values import Changed, FastState, Permission, obstacle, unreachable
from weave_py.model.deadlines import Deadline, earliest
from weave_py.model.fast import DesiredVxlan, FastRemote, FastStatus


class PathMachine:
    """Engine. Set what is known (the public attributes), then `decide`."""

    def __init__(self, vni: int, settings: FastSettings) -> None:
        self.vni = vni
        self.state = FastState.OFF
        self.why: str = Reason.PEER_SILENT
        self.permission: Permission | None = None
        self.peer: FastStatus | None = None
        self.absent = Reason.PEER_SILENT
        """Why there is no status of the peer, if there is none."""
        self.applied: DesiredVxlan | None = None
        """What the kernel does."""
        self.failure = ""
        """What it said when it refused that."""
        self.evidence = Evidence(settings)
        self.keys = KeyRotation(settings)
        self.mtu = MtuPause(settings)
        """While it lasts there is no use in probing."""
        self.changes: list[Changed] = []
        self._settings = settings
        self._encrypted = False
        self._has_port = False
        self._ipv6: bool | None = None
        self._remote: FastRemote | None = None
        """What is being proven or used, without its keys."""
        self._differs_since: float | None = None
        self._hold_down = HoldDown(settings)
        self._fell = ""
        self._is_fresh = False

    # --- in ------------------------------------------------------------------------------

    def adopt(self, desired: DesiredVxlan) -> None:
        """The kernel does this already."""
        self.applied = desired
        self._has_port = True
        self._ipv6 = desired.ipv6
        if desired.remote is None:
            return
        self._encrypted = desired.remote.esp is not None
        if desired.remote.esp is not None:
            self.keys.adopt(desired.remote.esp)
        if desired.through:
            # Sealed by keys that we do not know, if at all: they stay until others are agreed.
            self._remote = replace(desired.remote, esp=None)
            self.evidence.adopt()
            self._become(FastState.FAST, Reason.ADOPTED)

    def peer_restarted(self) -> None:
        """A new incarnation of the peer: it has not seen our probes. Its kernel may be as was."""
        if self.state is FastState.FAST:
            self.evidence.void()
        else:
            self.keys.peer_restarted()
            self._begin()

    def judge(self, now: float) -> None:
        """A status has just been put to the evidence: what does it say?"""
        is_fast = self.state is FastState.FAST
        verdict = self.evidence.verdict(is_fast, now)
        if verdict is not Reason.NONE and is_fast:
            self._fall(verdict, now)
        elif verdict is not Reason.NONE:
            self.evidence.restart()
            if verdict is Reason.MTU:
                self.mtu.narrow(now)

    def receive_under(self, vni: int) -> None:
        """Another one: the kernel refused the last."""
        self.vni = vni
        self.applied, self.failure = None, ""
        self._begin()

    def full_size_changed(self) -> None:
        """What was found out about full-sized frames is void."""
        self.mtu.void()
        if self.state is not FastState.FAST:
            self._begin()

    def decide(self, now: float) -> bool:
        """Draw the conclusions. Whether there is something new to prove, so: probe at once."""
        if self.state is FastState.FAST:
            self._stay_or_leave(now)
        if self.state is not FastState.FAST:
            self._aim()
            off = self._off_because()
            waiting = off or self._waiting_for(now)
            if off:
                self._become(FastState.OFF, off)
            elif waiting:
                self._become(FastState.DEGRADED if self._fell else FastState.PROBING, waiting)
            else:
                self._fell = ""
                self.mtu.passed()
                self._differs_since = None
                self.evidence.forget_reports()
                self._become(FastState.FAST, Reason.NONE)
        elif self.peer is not None:
            self.why = Reason.NONE
        self._note_port()
        is_fresh, self._is_fresh = self._is_fresh, False
        return is_fresh

    # --- out -----------------------------------------------------------------------------

    @property
    def desired(self) -> DesiredVxlan | None:
        if not self._has_port or self._ipv6 is None:
            return None
        remote = self._remote
        if remote is not None and self._encrypted:
            remote = replace(remote, esp=self.keys.desired)
        return DesiredVxlan(self.vni, self._ipv6, remote, self.state is FastState.FAST)

    @property
    def is_able(self) -> bool:
        """Whether this end could and may."""
        return self.state is FastState.FAST or not self._own_reason()

    def is_proven(self, now: float) -> bool:
        """Whether this end would use it, if the other end's direction is proven, too."""
        if self.state is FastState.FAST:
            return True
        return self.is_ready and self.evidence.is_proven and not self._hold_down.holds(now)

    @property
    def is_ready(self) -> bool:
        """Whether the kernel does what is to be proven, so that probes take the right way."""
        applied = self.applied
        if applied is None or applied.remote is None or self._remote is None:
            return False
        if (applied.vni, applied.ipv6) != (self.vni, self._ipv6):
            return False
        if replace(applied.remote, esp=None) != self._remote:
            return False
        if not self._encrypted:
            return applied.remote.esp is None
        esp, ours = applied.remote.esp, self.keys.outbound
        if ours is None or esp is None or esp.outbound is None:
            return False
        # What is proven stays so while one key follows another.
        return esp.outbound == ours or self.evidence.is_proven

    def next_deadline(self, now: float) -> Deadline | None:
        due = [self.keys.next_deadline()]
        is_fast = self.state is FastState.FAST
        if is_fast and self._differs_since is not None:
            follow = self._differs_since + self._settings.follow_after
            due.append(Deadline(follow, "follow the sleeve"))
        elif not is_fast and self._hold_down.holds(now):
            due.append(Deadline(self._hold_down.until, "end of hold-down"))
        return earliest(due)

    # --- staying and leaving -------------------------------------------------------------

    def _stay_or_leave(self, now: float) -> None:
        if self.failure:
            self._fall(Reason.DEVICE_FAILED, now)
            return
        if reason := self._order_to_leave() or self._peer_to_leave():
            self._leave(reason)
        elif self._direct_remote() in (None, self._remote):
            self._differs_since = None
        elif self._differs_since is None:
            self._differs_since = now
        elif now >= self._differs_since + self._settings.follow_after:
            self._leave(Reason.PATH_CHANGED)

    def _order_to_leave(self) -> str:
        permission = self.permission
        if permission is None:
            return ""
        if not permission.host.udp_port:
            return permission.host.why or Reason.DISABLED
        if permission.encrypted != self._encrypted:
            return Reason.POLICY
        return Reason.NONE

    def _peer_to_leave(self) -> str:
        peer, used = self.peer, self._remote
        if peer is None:
            return self.absent if self.absent is Reason.PEER_LEFT else ""
        if not peer.able:
            return peer_reason(peer.why)
        if used is not None and (used.udp_port, used.vni) != (peer.udp_port, peer.vni):
            return Reason.PEER_MOVED
        return "" if peer.proven else peer_reason(peer.why)

    def _leave(self, reason: str) -> None:
        """Back to the sleeve at once."""
        moved = reason in (Reason.PEER_MOVED, Reason.PATH_CHANGED, Reason.POLICY)
        if reason == Reason.PEER_MOVED:
            self.keys.peer_restarted()
        self._fell = "" if moved else reason
        self._become(FastState.PROBING if moved else FastState.DEGRADED, reason)
        self._begin()

    def _fall(self, reason: Reason, now: float) -> None:
        """It broke: leave it, and do not come back too soon."""
        self._hold_down.fell(now)
        self._leave(reason)

    # --- getting there -------------------------------------------------------------------

    def _begin(self) -> None:
        self.evidence.restart()
        self._is_fresh = True

    def _aim(self) -> None:
        """What is to be proven now?"""
        remote = self._direct_remote()
        permission = self.permission
        encrypted = permission.encrypted if permission else self._encrypted
        if remote == self._remote and encrypted == self._encrypted:
            return
        if remote is not None:
            self.mtu.void()
        self._remote, self._encrypted = remote, encrypted
        self._begin()

    def _direct_remote(self) -> FastRemote | None:
        """Where the peer is, as the sleeve and the peer itself say now."""
        permission, peer = self.permission, self.peer
        if permission is None or peer is None or not peer.able:
            return None
        direct = permission.direct
        if direct is None or unreachable(direct) or not permission.host.udp_port:
            return None
        return FastRemote(direct.local, direct.host, peer.udp_port, peer.vni)

    def _own_reason(self) -> str:
        return obstacle(self.permission) or (Reason.DEVICE_FAILED if self.failure else Reason.NONE)

    def _off_because(self) -> str:
        if own := self._own_reason():
            return own
        if self.peer is None:
            return self.absent
        return "" if self.peer.able else peer_reason(self.peer.why)

    def _waiting_for(self, now: float) -> str:
        if self._encrypted and self.keys.outbound is None:
            return Reason.ESP_KEYS
        if not self.is_ready:
            return Reason.DEVICE
        if not self.evidence.is_proven:
            return Reason.MTU if now < self.mtu.until else self._fell or Reason.PROVING
        if self._hold_down.holds(now):
            return Reason.HOLD_DOWN
        if self.peer is not None and not self.peer.proven:
            return peer_reason(self.peer.why)
        return Reason.NONE

    def _note_port(self) -> None:
        """Whether the port is a VXLAN device, and of which family: it stays one through all that
        may pass, since changing it costs frames."""
        permission, peer = self.permission, self.peer
        if permission is None:
            return
        peer_never = peer is not None and not peer.able and peer.why in NEVER
        if not permission.host.udp_port or peer_never:
            self._has_port = False
        elif not self._off_because():
            self._has_port = True
        if self._remote is not None:
            self._ipv6 = ":" in self._remote.host

    def _become(self, state: FastState, why: str) -> None:
        if state is not self.state:
            self.changes.append(Changed(self.state, state, why))
        self.state, self.why = state, why
