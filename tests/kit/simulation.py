"""Does a whole network of routers do what it should? N engines in one process, in virtual time.

The very engines of the router run here; only the shell is replaced (`sim_host`), and the network
(`underlay`). Everything is decided by the seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import pytest

from tests.kit.sim_host import SimHost
from tests.kit.underlay import Underlay, Wire
from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.link.link import Link
from weave_py.link.outlet import Way
from weave_py.model.names import PeerName, PeerUID, parse_target
from weave_py.router.engine import Engine
from weave_py.router.settings import EngineSettings
from weave_py.wire.messages import Unicast

PORT = 6783
SUITES = (1, 2)
RENEWAL = 16.0  # seconds that a renewal of keys may take, until the old ones are thrown away


def over_seeds(quick: int, slow: int = 0) -> pytest.MarkDecorator:
    """Run a test with the seeds 1 … quick, and with `slow` more of them when there is time."""
    more = [
        pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick + 1, quick + slow + 1)
    ]
    return pytest.mark.parametrize("seed", [*range(1, quick + 1), *more])


@cache
def members_of(password: str) -> Membership:
    """Strengthening a password takes long."""
    return Membership.from_password(password)


class Flow:
    """Numbered data records from one host to another, at regular times."""

    def __init__(self, simulation: Simulation, source: SimHost, to: SimHost, every: float) -> None:
        self.sent: dict[bytes, float] = {}
        self.refused: list[float] = []
        """When there was no way."""
        self._simulation = simulation
        self._source = source
        self._to = to
        self._every = every
        self._is_running = True
        self._label = simulation.dice.randbytes(8)
        self._tick()

    def stop(self) -> None:
        self._is_running = False

    def _tick(self) -> None:
        if not self._is_running or not self._source.alive:
            return
        now = self._simulation.now
        if now >= self._source.frozen_until:
            payload = self._label + len(self.sent).to_bytes(4, "big") + bytes(80)
            if self._source.send_data(self._to.name, payload):
                self.sent[payload] = now
            else:
                self.refused.append(now)
        self._simulation.underlay.later(self._every, self._tick)

    @property
    def arrived(self) -> list[float]:
        """When data arrived, in order."""
        return [a.at for a in self._to.arrivals if a.payload.startswith(self._label)]

    @property
    def lost(self) -> list[float]:
        """When the data was sent that never arrived."""
        there = {a.payload for a in self._to.arrivals}
        return [at for payload, at in self.sent.items() if payload not in there]

    def longest_gap(self, since: float = 0.0) -> float:
        """Seconds without an arrival, at worst, since then and until now."""
        times = [at for at in self.arrived if at >= since]
        marks = [max(since, min(self.sent.values(), default=since)), *times, self._simulation.now]
        return max(b - a for a, b in itertools.pairwise(marks))


class Simulation:
    """Hosts on a network. `run(seconds)` passes virtual time; `run_until` waits for a fact."""

    def __init__(
        self,
        seed: int = 0,
        password: str | None = None,
        settings: EngineSettings | None = None,
        default: Wire | None = None,
    ) -> None:
        self.seed = seed
        self.underlay = Underlay(seed, default or Wire())
        self.dice = self.underlay.dice
        self.hosts: list[SimHost] = []
        self._settings = settings or EngineSettings()
        self._membership = Membership.open_network() if password is None else members_of(password)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, at {self.now:.3f}"]
        for host in self.hosts:
            lines.append(self._describe(host))
            recent = host.log[-4 if len(self.hosts) < 10 else -1 :]
            lines += [f"    {e.at:.3f} {e.event} {e.fields}" for e in recent]
        return "\n".join(lines)

    def _describe(self, host: SimHost) -> str:
        engine = host.engine
        ways = {link.peer: link.outlet.way for link in engine.links}
        paths = [f"{self.nick(peer)} {way.text if way else 'none'}" for peer, way in ways.items()]
        neighbours = sorted(self.nick(name) for name in engine.neighbours.names())
        life = "" if host.alive else " (dead)"
        if len(self.hosts) < 10:
            return f"{engine.nickname}{life}: neighbours {neighbours}, paths {paths}"
        up = sum(way is not None for way in ways.values())
        return f"{engine.nickname}{life}: {len(neighbours)} neighbours, {up}/{len(paths)} paths"

    @property
    def now(self) -> float:
        return self.underlay.now

    @property
    def alive(self) -> list[SimHost]:
        return [host for host in self.hosts if host.alive]

    @property
    def messages(self) -> int:
        """Writes to streams so far."""
        return self.underlay.messages

    @property
    def trace(self) -> str:
        """A hash over everything that was sent, and when."""
        return self.underlay.trace.hexdigest()

    def nick(self, name: PeerName) -> str:
        return next((h.engine.nickname for h in self.hosts if h.name == name), "?")

    # --- building ------------------------------------------------------------------------

    def add(
        self,
        *targets: SimHost | str,
        settings: EngineSettings | None = None,
        membership: Membership | None = None,
        identity: Identity | None = None,
        epoch: int = 1,
        address: str | None = None,
    ) -> SimHost:
        """Start a router that calls these."""
        number = len(self.hosts) + 1
        where = address or f"10.0.{number // 250}.{number % 250 + 1}"
        engine = Engine(
            identity or Identity.create(self.dice.randbytes),
            membership or self._membership,
            uid=PeerUID(self.dice.getrandbits(63) + 1),
            epoch=epoch,
            nickname=f"h{number}",
            port=PORT,
            suites=SUITES,
            token_bytes=self.dice.randbytes,
            now=self.now,
            settings=settings or self._settings,
        )
        host = SimHost(where, engine, self.underlay)
        self.hosts.append(host)
        self.underlay.register(host)
        engine.set_local_addresses([where], self.now)
        self.call(host, *targets)
        return host

    def mesh(self, count: int) -> list[SimHost]:
        """Hosts that are all launched with the first one as their target."""
        first = self.add()
        return [first, *(self.add(first) for _ in range(count - 1))]

    def chain(self, count: int) -> list[SimHost]:
        """Hosts of which only those next to each other can talk."""
        hosts: list[SimHost] = []
        for _ in range(count):
            host = self.add()
            for other in hosts[:-1]:
                self.cut(host, other)
            if hosts:
                self.call(host, hosts[-1])
            hosts.append(host)
        return hosts

    def call(self, host: SimHost, *targets: SimHost | str) -> None:
        texts = [t.address if isinstance(t, SimHost) else t for t in targets]
        host.engine.connect([parse_target(text) for text in texts], self.now)
        host.carry_out()

    def restart(self, host: SimHost, *targets: SimHost, epoch: int = 2) -> SimHost:
        """A new process with the same identity, at the same address; `host` must be dead."""
        assert not host.alive
        identity = self.identity_of(host)
        return self.add(*targets, identity=identity, epoch=epoch, address=host.address)

    @staticmethod
    def identity_of(host: SimHost) -> Identity:
        return host.engine.ourself._identity

    # --- faults --------------------------------------------------------------------------

    def wire(self, a: SimHost, b: SimHost) -> Wire:
        """The wire between two hosts, to be changed at will."""
        return self.underlay.wire(a.address, b.address)

    def cut(self, a: SimHost, b: SimHost) -> None:
        self.wire(a, b).up = False

    def mend(self, a: SimHost, b: SimHost) -> None:
        self.wire(a, b).up = True

    def partition(self, one: Iterable[SimHost], other: Sequence[SimHost], up: bool = False) -> None:
        """Cut (or mend) all wires between two groups."""
        for a in one:
            for b in other:
                self.wire(a, b).up = up

    def kill(self, host: SimHost) -> None:
        """SIGKILL: its kernel closes the streams."""
        host.shut()

    def vanish(self, host: SimHost) -> None:
        """The power goes: nothing more is heard."""
        host.shut(powered=False)

    def leave(self, host: SimHost) -> None:
        """SIGTERM."""
        host.engine.stop(self.now)
        host.carry_out()
        host.shut()

    def freeze(self, host: SimHost, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later: what happens meanwhile, it hears of then."""
        host.frozen_until = self.now + seconds

    # --- running -------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        self.underlay.run(seconds)

    def run_until(self, fact: Callable[[], bool], within: float, step: float = 0.05) -> float:
        """Pass time until `fact()`; returns how long it took, or fails."""
        start = self.now
        while not fact():
            assert self.now - start < within, f"not within {within} s: {self}"
            self.run(step)
        return self.now - start

    def flow(self, source: SimHost, to: SimHost, every: float = 0.1) -> Flow:
        """Send data from now on."""
        return Flow(self, source, to, every)

    def unicast(self, source: SimHost, destination: PeerName, body: bytes, hop_limit: int) -> None:
        """Put a message for a peer into the mesh, on a channel that nobody listens to."""
        message = Unicast("simulation", source.name, destination, hop_limit, body)
        source.engine._send_unicast(message)
        source.carry_out()

    # --- facts ---------------------------------------------------------------------------

    def is_converged(self, group: Sequence[SimHost] | None = None) -> bool:
        """Everybody in the group (by default all alive) reaches exactly the others, and holds the
        latest record of each."""
        hosts = self.alive if group is None else group
        wanted = {h.name: (h.engine.uid, h.engine.ourself.record.order) for h in hosts}
        for host in hosts:
            topology = host.engine.topology
            if topology.routes.hops.keys() != wanted.keys():
                return False
            for name, (uid, order) in wanted.items():
                record = topology.record(name)
                if record is None or (record.uid, record.order) != (uid, order):
                    return False
        return True

    def all_reachable(self) -> bool:
        """Everybody alive has routes to exactly the others alive."""
        names = {host.name for host in self.alive}
        return all(host.engine.topology.routes.hops.keys() == names for host in self.alive)

    def all_paths(self, kind: str | None = None, group: Sequence[SimHost] | None = None) -> bool:
        """Everybody can send to everybody else (by paths of this kind)."""
        hosts = self.alive if group is None else group
        return all(
            (way := a.way_to(b)) is not None and kind in (None, way.kind)
            for a in hosts
            for b in hosts
            if a is not b
        )

    def is_whole(self, group: Sequence[SimHost] | None = None) -> bool:
        """Converged, and paths between all."""
        return self.is_converged(group) and self.all_paths(group=group)

    def is_full_mesh(self) -> bool:
        """Whole, with control connections and direct paths between all."""
        others = len(self.alive) - 1
        neighbours = all(len(h.engine.neighbours) == others for h in self.alive)
        return neighbours and self.is_converged() and self.all_paths("direct")

    def knows(self, host: SimHost, peer: SimHost) -> bool:
        """Whether the peer is in the host's topology, reachable or not."""
        return host.engine.topology.record(peer.name) is not None

    def ways(self) -> dict[tuple[str, str], Way | None]:
        """Everybody's way to everybody else."""
        return {
            (a.address, b.address): a.way_to(b)
            for a in self.alive
            for b in self.alive
            if a is not b
        }

    def check_no_leaks(self, sparse: bool = False) -> None:
        """In a network at rest everybody holds what it needs and nothing else: one port, link and
        session per peer, one stream per neighbour, known to both its ends."""
        names = {host.name for host in self.alive}
        for host in self.alive:
            engine, peers = host.engine, names - {host.name}
            assert {link.peer for link in engine.links} == peers, f"{host} links: {self}"
            assert host.outlets.keys() == peers, f"{host} ports: {self}"
            assert set(engine.topology.peers()) == peers, f"{host} records: {self}"
            keys = {key for link in engine.links for key in self._keys(link)}
            assert host.openers.keys() == keys, f"{host} keys: {self}"
            streams = {s.number for s in engine.neighbours if s.connection is not None}
            calls = {s.target for s in engine.neighbours if s.connection is None}
            assert calls <= set(engine.targets.configured), f"{host} calls: {self}"
            assert host.streams.keys() == streams, f"{host} streams: {self}"
            assert len(streams) == len(engine.neighbours), f"{host} streams of nobody: {self}"
            assert sparse or engine.neighbours.names() == peers, f"{host} neighbours: {self}"
            ends = host.streams.values()
            assert all(end.is_open and end.other.is_open for end in ends), f"{host} ends: {self}"

    def _keys(self, link: Link) -> list[int]:
        """Indexes of a session's epochs at rest: the current one and, around a renewal, for some
        seconds the one before or the next."""
        session = link.session
        assert session.current is not None
        if session._previous is not None:
            assert session.current.born_at > self.now - RENEWAL
        if session._next is not None:
            assert session._next.born_at > self.now - RENEWAL
        epochs = [session.current, session._previous, session._next]
        return [epoch.index for epoch in epochs if epoch is not None]
