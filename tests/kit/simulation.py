"""Does a whole network of routers do what it should? `weave_py.sim`, and what tests ask of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from weave_py.crypto.membership import Membership
from weave_py.link.link import Link
from weave_py.model.names import PeerName
from weave_py.router.settings import EngineSettings
from weave_py.sim.flow import Flow
from weave_py.sim.host import SimHost
from weave_py.sim.network import Network
from weave_py.sim.underlay import Wire
from weave_py.wire.messages import Unicast

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


class Simulation(Network):
    """A network with what tests need besides; `run_until` waits for a fact, or fails."""

    def __init__(
        self,
        seed: int = 0,
        password: str | None = None,
        settings: EngineSettings | None = None,
        default: Wire | None = None,
    ) -> None:
        membership = None if password is None else members_of(password)
        super().__init__(seed, membership, settings, default)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, at {self.now:.3f}"]
        for host in self.hosts:
            lines.append(self._describe(host))
            recent = host.log[-4 if len(self.hosts) < 10 else -1 :]
            lines += [f"    {e.at:.3f} {e.event} {e.fields}" for e in recent]
        return "\n".join(lines)

    def _describe(self, host: SimHost) -> str:
        engine = host.engine
        ways = {link.peer: link.egress.next_hop for link in engine.links}
        paths = [
            f"{self.nick(peer)} {next_hop.text if next_hop else 'none'}"
            for peer, next_hop in ways.items()
        ]
        neighbours = sorted(self.nick(name) for name in engine.neighbours.names())
        incarnation = "" if host.alive else " (dead)"
        if len(self.hosts) < 10:
            return f"{engine.nickname}{incarnation}: neighbours {neighbours}, paths {paths}"
        up = sum(next_hop is not None for next_hop in ways.values())
        return (
            f"{engine.nickname}{incarnation}: {len(neighbours)} neighbours, {up}/{len(paths)} paths"
        )

    def run_until(self, fact: Callable[[], bool], within: float, step: float = 0.05) -> float:
        """Pass time until `fact()`; returns how long it took, or fails."""
        start = self.now
        while not fact():
            assert self.now - start < within, f"not within {within} s: {self}"
            self.run(step)
        return self.now - start

    def flow(self, source: SimHost, to: SimHost, every: float = 0.1) -> Flow:
        """Send data from now on."""
        return Flow(self.underlay, source, to, every)

    def unicast(self, source: SimHost, destination: PeerName, body: bytes, hop_limit: int) -> None:
        """Put a message for a peer into the mesh, on a channel that nobody listens to."""
        message = Unicast("simulation", source.name, destination, hop_limit, body)
        source.engine.send_unicast(message)
        source.carry_out()

    def check_no_leaks(self, sparse: bool = False) -> None:
        """In a network at rest everybody holds what it needs and nothing else: one port, link and
        session per peer, one stream per neighbour, known to both its ends."""
        names = {host.name for host in self.alive}
        for host in self.alive:
            engine, peers = host.engine, names - {host.name}
            assert {link.peer for link in engine.links} == peers, f"{host} links: {self}"
            assert host.egresses.keys() == peers, f"{host} ports: {self}"
            assert set(engine.topology.peers()) == peers, f"{host} records: {self}"
            keys = {key for link in engine.links for key in self._keys(link)}
            assert host.ingresses.keys() == keys, f"{host} keys: {self}"
            streams = {s.number for s in engine.neighbours if s.connection is not None}
            calls = {s.target for s in engine.neighbours if s.connection is None}
            lost = {key for key, a in engine.targets._attempts.items() if a.forgotten}
            assert calls <= {*engine.targets.configured, *lost}, f"{host} calls: {self}"
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
        return [incarnation.index for incarnation in epochs if incarnation is not None]
