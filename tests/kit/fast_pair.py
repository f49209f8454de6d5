"""Two ends of a fast path in virtual time: a sleeve for statuses, a kernel that can be broken."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

from fastdp.path.paths import (
    FastPathChanged,
    FastPaths,
    ReadCounters,
    SendFastProbe,
    SendFastStatus,
    UsePort,
)
from fastdp.path.reasons import Reason
from fastdp.path.settings import FastSettings
from fastdp.path.values import Direct, FastState
from weave_py.model.fast import DesiredEsp, DesiredVxlan, EspKey, FastHost
from weave_py.model.names import PeerName
from weave_py.wire import fast_probe

MTU = 1376
GOOD, CUT, NARROW, LOSSY = "good", "cut", "narrow", "lossy"
LOSS = 0.3  # of a lossy direction
DATA_EVERY = 0.01  # seconds


class Device:
    """The VXLAN device of one end, as far as it matters."""

    def __init__(self) -> None:
        self.desired: DesiredVxlan | None = None
        self.tx = self.rx = 0


class End:
    """One router, and its kernel, which outlives it."""

    def __init__(self, pair: FastPair, address: str, peer: PeerName) -> None:
        self.pair = pair
        self.address = address
        self.peer = peer
        self.device = Device()
        self.mode = GOOD
        """Of the direction from here."""
        self.traffic = False
        self.is_running = True
        self.far: End
        self.left_at = float("-inf")
        self.changes: list[tuple[float, FastPathChanged]] = []
        self.statuses = self.probes = 0
        self.arrived: list[tuple[float, bool]] = []
        """When which (is it full-sized?) of our probes came through."""
        self.paths = self.make_paths()

    def make_paths(self) -> FastPaths:
        host = FastHost(4789, esp=True)
        return FastPaths(self.pair.random.randbytes, host, MTU, self.pair.settings)

    # --- what the router knows -----------------------------------------------------------

    def start(self) -> None:
        self.is_running = True
        self.permit()
        if self.pair.encrypted:
            self.rekey()

    def permit(self, direct: bool = True) -> None:
        next_hop = Direct(self.address, self.far.address) if direct else None
        self.paths.permit(self.peer, next_hop, self.pair.encrypted, self.pair.now)
        self.pump()

    def rekey(self) -> None:
        """The session's epochs of the pair; the newest one last."""
        ours = [
            EspKey(spi + (self.address < self.far.address), b"k" * 36) for spi in self.pair.epochs
        ]
        far = [
            EspKey(spi + (self.address > self.far.address), b"k" * 36) for spi in self.pair.epochs
        ]
        self.paths.esp_offered(self.peer, DesiredEsp(tuple(ours[-2:]), far[-1]), self.pair.now)
        self.pump()

    def restart(self, adopt: bool) -> None:
        """Another router takes over what the kernel does, or starts over."""
        self.paths = self.make_paths()
        found = self.device.desired
        if adopt and found is not None:
            self.paths.adopt([(self.peer, found)], self.pair.now)
        else:
            self.device = Device()
            self.left_at = self.pair.now
        self.start()

    @property
    def is_fast(self) -> bool:
        path = self.paths.get(self.peer)
        return path is not None and path.state is FastState.FAST

    @property
    def why(self) -> str:
        path = self.paths.get(self.peer)
        return path.why if path else "no path"

    @property
    def state(self) -> str:
        path = self.paths.get(self.peer)
        return path.state if path else "none"

    # --- driving it ----------------------------------------------------------------------

    def pump(self) -> None:
        """Do what the engine wants, and set its alarm."""
        while outputs := self.paths.take_outputs():
            for output in outputs:
                self._do(output)
        due = self.paths.next_deadline()
        if due is not None:
            paths = self.paths
            self.pair.at(max(due.at, self.pair.now), lambda: self._wake(paths))

    def _wake(self, paths: FastPaths) -> None:
        due = paths.next_deadline()
        if self.is_running and paths is self.paths and due is not None and due.at <= self.pair.now:
            paths.advance(self.pair.now)
            self.pump()

    def _do(self, output: object) -> None:
        pair = self.pair
        match output:
            case SendFastStatus(_, body):
                self.statuses += 1
                pair.send_status(self, body)
            case SendFastProbe(_, frame):
                self.probes += 1
                self.transmit(len(frame), frame)
            case ReadCounters(peers):
                for peer in peers:
                    self.paths.counted(peer, self.device.tx, self.device.rx, pair.now)
            case UsePort(desired):
                paths = self.paths
                pair.after(pair.apply_delay, lambda: self._apply(paths, desired.fast))
            case FastPathChanged(old=old):
                if old is FastState.FAST:
                    self.left_at = pair.now
                self.changes.append((pair.now, output))
                if output.new is FastState.FAST and output.why != Reason.ADOPTED and pair.watch:
                    pair.watch(self)

    def _apply(self, paths: FastPaths, desired: DesiredVxlan | None) -> None:
        if paths is not self.paths or not self.is_running:
            return
        assert desired is None or not desired.through or desired.remote is not None
        old = self.device.desired
        if desired is None or old is None or (old.vni, old.ipv6) != (desired.vni, desired.ipv6):
            self.device = Device()
        self.device.desired = desired
        if desired is None:
            return
        if desired.remote is not None and desired.remote.esp is not None:
            for key in desired.remote.esp.inbound:
                paths.esp_installed(self.peer, key.spi, self.pair.now)
        paths.device_ready(self.peer, desired, self.pair.now)
        self.pump()

    # --- the kernel ----------------------------------------------------------------------

    def send_data(self, size: int) -> None:
        """A container sends a frame."""
        desired = self.device.desired
        if desired is not None and desired.through:
            self.transmit(size, None)

    def transmit(self, size: int, probe: bytes | None) -> None:
        device, pair = self.device, self.pair
        if device.desired is None or device.desired.remote is None:
            return
        remote = device.desired.remote
        if pair.encrypted and (remote.esp is None or remote.esp.outbound is None):
            return
        device.tx += 1
        lost = self.mode == CUT or (self.mode == NARROW and size > 1000)
        if lost or (self.mode == LOSSY and pair.random.random() < LOSS):
            return
        spi = remote.esp.outbound.spi if remote.esp and remote.esp.outbound else 0
        vni = remote.vni
        pair.after(pair.kernel_delay, lambda: self.far.arrive(vni, spi, probe))

    def arrive(self, vni: int, spi: int, probe: bytes | None) -> None:
        desired = self.device.desired
        if desired is None or desired.vni != vni:
            return
        if self.pair.encrypted:
            inbound = desired.remote.esp.inbound if desired.remote and desired.remote.esp else ()
            if spi not in [key.spi for key in inbound]:
                return
        self.device.rx += 1
        if probe is not None:
            self.far.arrived.append((self.pair.now, len(probe) > fast_probe.SMALL_BYTES))
            if self.is_running:
                self.paths.receive_probe_untrusted(probe, self.pair.now)
                self.pump()


class FastPair:
    """Both ends, the clock and what lies between."""

    def __init__(
        self, seed: int = 1, encrypted: bool = False, settings: FastSettings | None = None
    ) -> None:
        self.random = random.Random(seed)
        self.settings = settings
        self.encrypted = encrypted
        self.now = 100.0
        self.kernel_delay = 0.0005
        self.apply_delay = 0.005
        self.status_delay = 0.001
        self.status_jitter = 0.0
        self.status_loss = 0.0
        self.epochs = [1000]
        self.watch: Callable[[End], None] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.a = End(self, "192.0.2.1", PeerName(b"peer-b"))
        self.b = End(self, "192.0.2.2", PeerName(b"peer-a"))
        self.a.far, self.b.far = self.b, self.a
        self.ends = (self.a, self.b)

    def start(self) -> None:
        for end in self.ends:
            end.start()
        self._traffic()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def after(self, delay: float, do: Callable[[], None]) -> None:
        self.at(self.now + delay, do)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = until

    def run_until(self, fact: Callable[[], bool], within: float) -> float:
        """Seconds it took; AssertionError if it never came true."""
        began = self.now
        while not fact():
            assert self.now < began + within, self.describe()
            self.run(0.005)
        return self.now - began

    def both_fast(self) -> bool:
        return self.a.is_fast and self.b.is_fast

    def neither_fast(self) -> bool:
        return not self.a.is_fast and not self.b.is_fast

    def describe(self) -> str:
        return " | ".join(
            f"{end.state} ({end.why}), path from here {end.mode}, was "
            + ", ".join(f"{at:.3f} {c.new} {c.why}" for at, c in end.changes[-6:])
            for end in self.ends
        )

    def send_status(self, end: End, body: bytes) -> None:
        if self.random.random() < self.status_loss:
            return
        delay = self.status_delay + self.status_jitter * self.random.random()

        def arrive() -> None:
            if end.far.is_running:
                end.far.paths.receive_status_untrusted(end.far.peer, body, self.now)
                end.far.pump()

        self.after(delay, arrive)

    def rekey(self) -> None:
        """The session has a new epoch."""
        self.epochs.append(self.epochs[-1] + 10)
        for end in self.ends:
            end.rekey()

    def _traffic(self) -> None:
        for end in self.ends:
            if end.traffic:
                end.send_data(self.random.choice((100, 1390)))
        self.after(DATA_EVERY, self._traffic)
