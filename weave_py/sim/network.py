"""How does one build a network of simulated routers, break it, and ask what holds?

The very engines of the router run here; only the shell is replaced (`host`, `packets`), and the
network below (`underlay`). Everything is decided by the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from weave_py.crypto.identity import Identity
from weave_py.crypto.membership import Membership
from weave_py.link.egress import NextHop
from weave_py.mesh.service import Service
from weave_py.model.names import DEFAULT_PORT, PeerName, PeerUID, parse_target
from weave_py.model.underlay import OwnAddress
from weave_py.router.engine import Engine
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import Logged, SimHost
from weave_py.sim.record_verifier import SharedVerifier
from weave_py.sim.underlay import Underlay, Wire

SUITES = (1, 2)


class Network:
    """Hosts on an underlay. `run(seconds)` passes virtual time."""

    def __init__(
        self,
        seed: int = 0,
        membership: Membership | None = None,
        settings: EngineSettings | None = None,
        default: Wire | None = None,
        listener: Callable[[SimHost, Logged], None] | None = None,
        services: Callable[[], Sequence[Service]] = tuple,
    ) -> None:
        """`listener` is told what routers log (which they otherwise keep). `services` makes those
        of one router."""
        self.seed = seed
        self.underlay = Underlay(seed, default or Wire())
        self.dice = self.underlay.dice
        self.hosts: list[SimHost] = []
        self._settings = settings or EngineSettings()
        self._membership = membership or Membership.open_network()
        self._verifier = SharedVerifier()
        self._listener = listener
        self._services = services

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
        incarnation: int = 1,
        address: str | None = None,
        states: Mapping[str, object] | None = None,
        runs_services: bool = True,
    ) -> SimHost:
        """Start a router that calls these. `states`: what is on its disk. Without `runs_services`
        it only carries their channels."""
        number = len(self.hosts) + 1
        services = self._services()
        where = address or f"10.0.{number // 250}.{number % 250 + 1}"
        engine = Engine(
            identity or Identity.create(self.dice.randbytes),
            membership or self._membership,
            uid=PeerUID(self.dice.getrandbits(63) + 1),
            incarnation=incarnation,
            nickname=f"h{number}",
            port=DEFAULT_PORT,
            suites=SUITES,
            token_bytes=self.dice.randbytes,
            now=self.now,
            settings=settings or self._settings,
            verifier=self._verifier,
            services=services if runs_services else (),
            carried=[service.name for service in services],
            states=states,
        )
        host = SimHost(where, engine, self.underlay, self._listener)
        self.hosts.append(host)
        self.underlay.register(host)
        engine.set_local_addresses([OwnAddress(where)], self.now)
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

    def restart(self, host: SimHost, *targets: SimHost, incarnation: int = 2) -> SimHost:
        """A new process with the same identity, at the same address; `host` must be dead."""
        assert not host.alive
        return self.add(
            *targets,
            identity=self.identity_of(host),
            incarnation=incarnation,
            address=host.address,
            states=host.kept,
        )

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
            (next_hop := a.way_to(b)) is not None and kind in (None, next_hop.kind)
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

    def ways(self) -> dict[tuple[str, str], NextHop | None]:
        """Everybody's way to everybody else."""
        return {
            (a.address, b.address): a.way_to(b)
            for a in self.alive
            for b in self.alive
            if a is not b
        }
