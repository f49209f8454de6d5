"""How do two simulated routers get kernels that carry frames? In as few words as that needs.

Wishes come true at once; probes cross from device to device unless the way is cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network

from fastdp.path.paths import (
    FastPathChanged,
    FastPathForgotten,
    ReadCounters,
    SendFastProbe,
    UsePort,
)
from tests.kit.simulation import Simulation
from weave_py.model.fast import Carried, DesiredVxlan, FastHost, PortsOutcome
from weave_py.model.names import PeerName
from weave_py.router.outputs import Output
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost

HOST = FastHost(4789, esp=True)


@dataclass(slots=True)
class Kernel:
    """Of one host."""

    host: SimHost
    desired_ports: dict[PeerName, DesiredVxlan | None] = field(default_factory=dict)
    sent: Counter[PeerName] = field(default_factory=Counter)
    received: Counter[PeerName] = field(default_factory=Counter)
    changes: list[FastPathChanged] = field(default_factory=list)
    forgotten: list[PeerName] = field(default_factory=list)
    cut: bool = False
    """What leaves it does not arrive."""


class FastSimulation(Simulation):
    """Its hosts have kernels."""

    def __init__(
        self,
        password: str | None = None,
        host: FastHost | None = HOST,
        trusted: tuple[IPv4Network | IPv6Network, ...] = (),
    ) -> None:
        settings = EngineSettings(fast_host=host, trusted_subnets=trusted)
        super().__init__(password=password, settings=settings)
        self.kernels: dict[PeerName, Kernel] = {}

    def start(self, *targets: SimHost, mtu: int = 1376) -> SimHost:
        """A router with a kernel. `mtu`: the inner one."""
        host = self.add(*targets, settings=replace(self._settings, mtu=mtu))
        kernel = self.kernels[host.name] = Kernel(host)
        do = host._do

        def do_more(output: Output) -> None:
            do(output)
            self._do(kernel, output)

        host._do = do_more  # type: ignore[method-assign]
        return host

    def pair(self) -> tuple[SimHost, SimHost]:
        a = self.start()
        return a, self.start(a)

    def _do(self, kernel: Kernel, output: Output) -> None:
        engine = kernel.host.engine
        match output:
            case UsePort(desired):
                kernel.desired_ports[desired.peer] = desired.fast
                if desired.fast is None:
                    return
                esp = desired.fast.remote.esp if desired.fast.remote else None
                newest = esp.inbound[-1:] if esp else ()
                outcome = PortsOutcome(
                    ready=((desired.peer, desired.fast),),
                    installed=tuple((desired.peer, key.spi) for key in newest),
                )
                self._later(kernel, lambda now: engine.fast_ports_changed(outcome, now))
            case SendFastProbe(peer, frame):
                kernel.sent[peer] += 1
                far = self.kernels.get(peer)
                if far is not None and not kernel.cut and far.host.alive:
                    far.received[kernel.host.name] += 1
                    self._later(far, lambda now: far.host.engine.fast_probes_received([frame], now))
            case ReadCounters(peers):
                counts = {p: Carried(kernel.sent[p], kernel.received[p], 0, 0) for p in peers}
                self._later(kernel, lambda now: engine.fast_counted(counts, now))
            case FastPathChanged():
                kernel.changes.append(output)
            case FastPathForgotten(peer):
                kernel.forgotten.append(peer)

    def _later(self, kernel: Kernel, action: Callable[[float], object]) -> None:
        def act() -> None:
            if kernel.host.alive:
                action(self.now)
                kernel.host.carry_out()

        self.underlay.later(0.001, act)

    def is_fast(self, host: SimHost, peer: SimHost) -> bool:
        desired = self.kernels[host.name].desired_ports.get(peer.name)
        return desired is not None and desired.through
