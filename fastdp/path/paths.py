"""Which fast paths does this router have? One per peer, their VNIs, timers and desired ports.

The engine that the router composes with its links; its outputs name the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fastdp.path.counter_schedule import CounterSchedule
from fastdp.path.path import FastPath
from fastdp.path.settings import FastSettings
from fastdp.path.values import Changed, Direct, FastState, Permission, SendProbe, SendStatus
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.fast import MAX_VNI, DesiredEsp, DesiredPort, DesiredVxlan, FastHost
from weave_py.model.load import LocalLoad
from weave_py.model.names import PeerName
from weave_py.wire import fast_probe

FIRST_VNI = 4096  # below are those that people number their own networks with


@dataclass(frozen=True, slots=True)
class SendFastStatus:
    """Send this body to the peer as a control record, on whatever way works; drop it if none
    does."""

    peer: PeerName
    body: bytes


@dataclass(frozen=True, slots=True)
class SendFastProbe:
    """Send this frame out of the peer's VXLAN device (not through the bridge)."""

    peer: PeerName
    frame: bytes


@dataclass(frozen=True, slots=True)
class ReadCounters:
    """Read the packet counters of these peers' VXLAN devices, and tell FastPaths.counted."""

    peers: tuple[PeerName, ...]


@dataclass(frozen=True, slots=True)
class UsePort:
    """This is wished for the peer's port from now on."""

    desired: DesiredPort


@dataclass(frozen=True, slots=True)
class FastPathChanged:
    """Worth a line in the log."""

    peer: PeerName
    old: FastState
    new: FastState
    why: str


@dataclass(frozen=True, slots=True)
class FastPathForgotten:
    """An adopted path is given up, because its peer never appeared: its port goes, too."""

    peer: PeerName


PathsOutput = (
    SendFastStatus | SendFastProbe | ReadCounters | UsePort | FastPathChanged | FastPathForgotten
)


class FastPaths:
    """All fast paths by peer."""

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        host: FastHost,
        mtu: int,
        settings: FastSettings | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`mtu`: inner, bytes. `load`: the router's own."""
        self._load = load
        self._token_bytes = token_bytes
        self._host = host
        self._mtu = mtu
        self._settings = settings or FastSettings()
        self._paths: dict[PeerName, FastPath] = {}
        self._permissions: dict[PeerName, Permission] = {}
        self._orphans: TimerQueue[PeerName] = TimerQueue()
        """Adopted paths without a peer so far, and until when they may wait for it."""
        self._desired: dict[PeerName, DesiredVxlan | None] = {}
        self._due: TimerQueue[PeerName] = TimerQueue()
        """As of each path's last change (as in router.links)."""
        self._incarnations: dict[int, dict[PeerName, None]] = {}
        """Whose probes name which incarnation. (One may claim another's: the tag tells.)"""
        self._incarnation_of: dict[PeerName, int] = {}
        self._schedule = CounterSchedule()
        self._outputs: list[PathsOutput] = []

    def __iter__(self) -> Iterator[tuple[PeerName, FastPath]]:
        return iter(self._paths.items())

    def get(self, peer: PeerName) -> FastPath | None:
        return self._paths.get(peer)

    @property
    def desired_ports(self) -> list[DesiredPort]:
        """Of all peers, whole."""
        return [DesiredPort(peer, desired) for peer, desired in self._desired.items()]

    # --- in ------------------------------------------------------------------------------

    def adopt(self, found: Iterable[tuple[PeerName, DesiredVxlan]], now: float) -> None:
        """The kernel does this, from before our time. To be told before anything else."""
        for peer, desired in found:
            path = self._paths[peer] = self._make(desired.vni, now)
            path.adopt(desired)
            self._wait_for(peer, now)
            self._desired[peer] = path.desired
            self._drain(peer, path, now)

    def permit(self, peer: PeerName, direct: Direct | None, encrypted: bool, now: float) -> None:
        """What the sleeve knows of the peer; makes its path at need. Telling it again is cheap.

        `direct`: the best way is straight. `encrypted`: plain VXLAN to it is forbidden.
        """
        permission = Permission(self._host, direct, encrypted)
        if self._permissions.get(peer) == permission:
            return
        self._permissions[peer] = permission
        self._orphans.set(peer, None)
        path = self._paths.get(peer)
        if path is None:
            path = self._paths[peer] = self._make(self._new_vni(), now)
        path.permit(permission, now)
        self._drain(peer, path, now)

    def set_host(self, host: FastHost, now: float) -> None:
        """What this host can do has been found out, or has changed."""
        self._host = host
        for peer, permission in list(self._permissions.items()):
            self.permit(peer, permission.direct, permission.encrypted, now)

    def receive_status_untrusted(
        self, peer: PeerName, body: bytes | memoryview, now: float
    ) -> None:
        """A control record that is a status (wire.fast_status). WireError if malformed."""
        if path := self._paths.get(peer):
            try:
                path.receive_status_untrusted(body, now)
            finally:
                self._drain(peer, path, now)

    def receive_probe_untrusted(self, frame: bytes | memoryview, now: float) -> None:
        """A frame with a probe's ethertype came in on a VXLAN device of ours. Whose it is shows
        by the incarnation it names; that it is theirs, by its tag."""
        for peer in tuple(self._incarnations.get(fast_probe.life_of_untrusted(frame), ())):
            path = self._paths[peer]
            path.receive_probe_untrusted(frame, now)
            self._drain(peer, path, now)

    def counted(self, peer: PeerName, tx: int, rx: int, now: float) -> None:
        """Packets that the peer's VXLAN device has sent and received so far."""
        path = self._paths.get(peer)
        if path is not None and path.counted(tx, rx, now):
            self._drain(peer, path, now)

    def device_ready(self, peer: PeerName, desired: DesiredVxlan, now: float) -> None:
        """The kernel does what this wish of the peer's says. Telling it again is cheap."""
        if path := self._paths.get(peer):
            path.device_ready(desired, now)
            self._drain(peer, path, now)

    def device_failed(self, peer: PeerName, reason: str, now: float) -> None:
        """The kernel refused it, or the device is broken."""
        if path := self._paths.get(peer):
            path.device_failed(reason, now)
            self._drain(peer, path, now)

    def vni_taken(self, peer: PeerName, now: float) -> None:
        """Somebody else's device has the VNI under which we would receive from this peer."""
        if path := self._paths.get(peer):
            path.use_vni(self._new_vni(), now)
            self._drain(peer, path, now)

    def esp_offered(self, peer: PeerName, desired: DesiredEsp, now: float) -> None:
        """The keys of all epochs of the session that are opened, oldest first, and the outbound
        key of the newest epoch, whether the peer is ready for it or not."""
        if path := self._paths.get(peer):
            path.esp_offered(desired, now)
            self._drain(peer, path, now)

    def esp_installed(self, peer: PeerName, spi: int, now: float) -> None:
        """This inbound key of the peer's is in our kernel."""
        if path := self._paths.get(peer):
            path.esp_installed(spi, now)
            self._drain(peer, path, now)

    def woken(self, peer: PeerName, now: float) -> None:
        """Frames flow on the sleeve after a pause."""
        if path := self._paths.get(peer):
            path.woken(now)
            self._drain(peer, path, now)

    def peer_left(self, peer: PeerName, now: float) -> None:
        """It said goodbye, and its kernel no longer receives: leave at once."""
        if path := self._paths.get(peer):
            path.left(now)
            self._drain(peer, path, now)

    def forget(self, peer: PeerName) -> None:
        """The peer's port is removed."""
        self._note_incarnation(peer, 0)
        self._paths.pop(peer, None)
        self._permissions.pop(peer, None)
        self._desired.pop(peer, None)
        self._schedule.forget(peer)
        self._orphans.set(peer, None)
        self._due.set(peer, None)

    def advance(self, now: float) -> None:
        if due := self._schedule.take_due(now):
            self._outputs.append(ReadCounters(due))
        for peer in self._due.take_due(now):
            path = self._paths[peer]
            path.advance(now)
            self._drain(peer, path, now)
        for peer in self._orphans.take_due(now):
            if self._paths[peer].usage.is_alive(now):
                self._wait_for(peer, now)
            else:
                self.forget(peer)
                self._outputs.append(FastPathForgotten(peer))

    # --- out -----------------------------------------------------------------------------

    def take_outputs(self) -> list[PathsOutput]:
        taken, self._outputs = self._outputs, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return earliest((self._due.first(), self._schedule.next_deadline(), self._orphans.first()))

    # --- inside --------------------------------------------------------------------------

    def _make(self, vni: int, now: float) -> FastPath:
        return FastPath(vni, self._mtu, self._token_bytes, now, self._settings, self._load)

    def _new_vni(self) -> int:
        taken = {path.vni for path in self._paths.values()}
        while True:
            vni = int.from_bytes(self._token_bytes(3), "little")
            if FIRST_VNI <= vni <= MAX_VNI and vni not in taken:
                return vni

    def _wait_for(self, peer: PeerName, now: float) -> None:
        until = now + self._settings.orphan_after
        self._orphans.set(peer, Deadline(until, "adopted path without a peer"))

    def _note_incarnation(self, peer: PeerName, incarnation: int) -> None:
        """0: none."""
        old = self._incarnation_of.pop(peer, 0)
        if old:
            self._incarnations[old].pop(peer)
            if not self._incarnations[old]:
                del self._incarnations[old]
        if incarnation:
            self._incarnation_of[peer] = incarnation
            self._incarnations.setdefault(incarnation, {})[peer] = None

    def _drain(self, peer: PeerName, path: FastPath, now: float) -> None:
        desired = path.desired
        if peer not in self._desired or desired != self._desired[peer]:
            self._desired[peer] = desired
            self._outputs.append(UsePort(DesiredPort(peer, desired)))
        for output in path.take_outputs():
            match output:
                case SendStatus(body):
                    self._outputs.append(SendFastStatus(peer, body))
                case SendProbe(frame):
                    self._outputs.append(SendFastProbe(peer, frame))
                case Changed(old, new, why):
                    self._outputs.append(FastPathChanged(peer, old, new, why))
        incarnation = path.peer.incarnation if path.peer is not None else 0
        if incarnation != self._incarnation_of.get(peer, 0):
            self._note_incarnation(peer, incarnation)
        self._schedule.set(peer, path.sample_every(now))
        self._due.set(peer, path.next_deadline())
