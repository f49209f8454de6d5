"""One whole simulation: start, rest, single changes, trouble, and what must hold in the end.

What is real: all engines (handshakes, gossip, topology, routes, sessions, paths) with real
cryptography. What is not: wires, TCP and time; frames are counted, not switched. In networks above
`FULL_DATA_PLANE` peers only neighbours and drawn pairs have data paths: a thousand peers would be a
million sessions in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from weave_py.config.options import CONN_LIMIT
from weave_py.router.settings import EngineSettings
from weave_py.sim import drills
from weave_py.sim.churn import Churn
from weave_py.sim.host import Logged, SimHost
from weave_py.sim.invariants import sound
from weave_py.sim.network import Network
from weave_py.sim.trace import Sink, Trace
from weave_py.sim.underlay import Wire

FULL_DATA_PLANE = 64
STARTING = 1.0  # seconds in which all peers are started
PATIENCE = 60.0  # seconds until all must agree after the start, and after trouble
CALM = 20.0  # seconds after which nothing is left to say: also superfluous connections are ended
REST = 10.0  # seconds of a network at rest that are measured: everybody sends one digest
AFTER_CHANGE = 8.0  # seconds in which the consequences of one change are over
CHANGES = 3  # of each kind: what one costs depends on whose favourite the newcomer is
PARTITION = 8.0
BROADCASTERS = 12
STEP = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds."""

    peers: int
    seed: int = 1
    seeds: int = 3
    """Peers that all others are told of at the start."""
    churn: float = 1.0
    """Events per second, on average."""
    duration: float = 30.0
    """Of the trouble; 0: none."""
    partition: bool = True
    """Whether the network is cut in two once meanwhile."""
    loss: float = 0.0
    latency: float = 0.01
    conn_limit: int = CONN_LIMIT.default
    pairs: int = 20
    """Drawn at random, which have to get direct paths."""


@dataclass(slots=True)
class Figures:
    """What came of it. Bytes and messages are per peer; control: on TCP, data: datagrams."""

    peers: int
    seed: int
    converged_after_start: float | None = None
    start_bytes: float = 0.0
    start_messages: float = 0.0
    neighbours_mean: float = 0.0
    neighbours_most: int = 0
    hops_most: int = 0
    idle_control_bytes: float = 0.0
    idle_control_messages: float = 0.0
    idle_data_bytes: float = 0.0
    change_bytes: float = 0.0
    change_messages: float = 0.0
    change_agreed: float = 0.0
    """Seconds until all agree about one change, at worst of those tried."""
    events: int = 0
    converged_after_trouble: float | None = None
    strangers: int = 0
    """Of the drawn pairs: those without a control connection."""
    virtual_seconds: float = 0.0
    run: str = ""
    """A hash over everything that was sent, and when."""
    violations: list[str] = field(default_factory=list)


class Scenario:
    """Runs it, phase by phase. `say` gets lines for whoever waits."""

    def __init__(
        self, options: Options, say: Callable[[str], None], sink: Sink | None = None
    ) -> None:
        self._options = options
        self._say = say
        wire = Wire(latency=options.latency, loss=options.loss, stream_loss=options.loss)
        full = options.peers <= FULL_DATA_PLANE
        settings = EngineSettings(conn_limit=options.conn_limit)
        if not full:
            settings = EngineSettings(conn_limit=options.conn_limit, eager_links=0)
        self._network = Network(options.seed, None, settings, wire, self._logged)
        self._start = self._network.now
        self.trace = Trace(self._start, sink)
        self.figures = Figures(options.peers, options.seed)

    def run(self) -> Figures:
        """All phases. If one fails the later ones are not tried."""
        for phase in (self._begin, self._rest, self._change, self._trouble, self._drill):
            phase()
            if self.figures.violations:
                break
        self.figures.virtual_seconds = self._network.now - self._start
        self.figures.run = self._network.trace[:16]
        return self.figures

    # --- phases --------------------------------------------------------------------------

    def _begin(self) -> None:
        network, peers = self._network, self._options.peers
        self._seeds: list[SimHost] = []
        for _ in range(min(self._options.seeds, peers)):
            self._seeds.append(network.add(*self._seeds))
        for number in range(len(self._seeds), peers):
            network.underlay.later(STARTING * number / peers, self._start_one)
        network.run(STARTING)
        took = self._converge()
        self.figures.converged_after_start = took
        self.figures.start_bytes = network.underlay.stream_bytes / peers
        self.figures.start_messages = network.messages / peers
        if took is not None:
            self._say(f"all {peers} agree {took:.2f} s after the last one was started")

    def _start_one(self) -> None:
        self._network.add(*self._seeds)

    def _rest(self) -> None:
        network, figures = self._network, self.figures
        network.run(CALM)
        degrees = [len(host.engine.neighbours) for host in network.alive]
        figures.neighbours_mean = sum(degrees) / len(degrees)
        figures.neighbours_most = max(degrees)
        hops = [max(h.engine.topology.routes.hops.values()) for h in network.alive]
        figures.hops_most = max(hops)
        data = network.underlay.datagram_bytes
        control, messages = self._sent()
        network.run(REST)
        later, more = self._sent()
        figures.idle_control_bytes = (later - control) / REST
        figures.idle_control_messages = (more - messages) / REST
        figures.idle_data_bytes = (network.underlay.datagram_bytes - data) / REST / len(degrees)
        figures.violations += sound(network, self._options.conn_limit)
        self._say(
            f"at rest: {figures.idle_control_bytes:.0f} bytes a second and peer on "
            f"{figures.neighbours_mean:.1f} control connections"
        )

    def _change(self) -> None:
        """A few leave, join and die, one at a time: what does each cost?"""
        network, figures = self._network, self.figures
        churn = self._churn()
        costs: list[tuple[float, float]] = []
        for change in CHANGES * (churn.leave, churn.join, churn.die):
            control, messages = self._sent()
            since = network.now
            if change() is None:
                continue
            agreed = self._converge()
            if agreed is None:
                return
            figures.change_agreed = max(figures.change_agreed, agreed)
            network.run(since + AFTER_CHANGE - network.now)
            later, more = self._sent()
            idle = AFTER_CHANGE * figures.idle_control_bytes
            idle_messages = AFTER_CHANGE * figures.idle_control_messages
            costs.append((later - control - idle, more - messages - idle_messages))
        if costs:
            figures.change_bytes = sum(cost for cost, _ in costs) / len(costs)
            figures.change_messages = sum(cost for _, cost in costs) / len(costs)
        self._say(f"one change: {figures.change_bytes:.0f} bytes a peer")

    def _trouble(self) -> None:
        options, network = self._options, self._network
        if not options.duration or not options.churn:
            return
        churn, dice = self._churn(), network.dice
        end = network.now + options.duration
        divide_at = network.now + options.duration / 2 if options.partition else end
        halves = None
        while network.now < end:
            network.run(min(dice.expovariate(options.churn), end - network.now))
            if halves is None and network.now >= divide_at:
                halves = churn.divide()
                network.run(PARTITION)
                churn.unite(halves)
            churn.once()
        churn.calm()
        self.figures.events = churn.events
        took = self._converge()
        self.figures.converged_after_trouble = took
        if took is not None:
            self._say(f"{churn.events} events; all agree {took:.2f} s after the last one")
            network.run(CALM)
            self.figures.violations += sound(network, options.conn_limit)

    def _drill(self) -> None:
        """Frames of our own: direct paths, broadcasts, loops."""
        options, network, figures = self._options, self._network, self.figures
        found, figures.strangers = drills.directness(network, options.pairs)
        figures.violations += found
        alive = network.alive
        group = network.dice.sample(alive, min(BROADCASTERS, len(alive)))
        figures.violations += drills.broadcast(network, group, options.loss > 0)
        figures.violations += drills.loops(network, options.loss > 0)

    # --- inside --------------------------------------------------------------------------

    def _logged(self, host: SimHost, entry: Logged) -> None:
        self.trace.logged(host, entry)

    def _churn(self) -> Churn:
        network = self._network
        return Churn(network, self._seeds, lambda what: self.trace.did(network.now, what))

    def _sent(self) -> tuple[float, float]:
        """(Bytes, messages) on control connections, per peer alive."""
        network, count = self._network, len(self._network.alive)
        return network.underlay.stream_bytes / count, network.messages / count

    def _converge(self) -> float | None:
        """Seconds until all agree, or None and a violation."""
        network, start = self._network, self._network.now
        while not network.is_converged():
            if network.now - start > PATIENCE:
                self.figures.violations += sound(network, self._options.conn_limit)
                self.figures.violations.append(f"no agreement within {PATIENCE:g} s")
                return None
            network.run(STEP)
        return network.now - start
