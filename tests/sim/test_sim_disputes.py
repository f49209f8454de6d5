"""Two keys under one name, each in a half of the network: do the halves become one? (F19.)"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.short_names import short_names, twins
from tests.kit.simulation import Simulation, over_seeds
from weave_py.mesh.disputes import WHY
from weave_py.model.effects import WARNING
from weave_py.router.connections import OUR_NAME_IS_LOST
from weave_py.sim.host import SimHost


@pytest.fixture(autouse=True)
def _short_names() -> Iterator[None]:
    with short_names():
        yield


@over_seeds(3, slow=5)
def test_halves_that_took_different_keys_refuse_both(seed: int) -> None:
    simulation = Simulation(seed)
    one, other = twins(seed)
    left, right = ([simulation.add() for _ in range(3)] for _ in range(2))
    first, second = simulation.add(identity=one), simulation.add(identity=other)
    simulation.partition([*left, first], [*right, second])
    for half, twin in ((left, first), (right, second)):
        for host in (*half[1:], twin):
            simulation.call(host, half[0])
    simulation.run_until(
        lambda: simulation.is_whole([*left, first]) and simulation.is_whole([*right, second]), 10
    )
    simulation.run(5)
    honest = [*left, *right]
    for host in honest:
        assert host.engine.topology.record(one.name) is not None
    met = simulation.now
    simulation.partition([*left, first], [*right, second], up=True)
    simulation.call(left[1], right[1])
    seconds = simulation.run_until(lambda: all(refuses(host, first) for host in honest), within=5)
    print(f"refused by all after {seconds:.2f} s")
    simulation.run(60)
    assert len({host.engine.topology.digest() for host in honest}) == 1
    for host in honest:
        near = {peer.name for peer in honest if peer is not host}
        assert host.engine.neighbours.names() == near
        assert {link.peer for link in host.engine.links} == near
        told = [e for e in host.events("peer refused", since=met) if "one" in e.fields]
        assert [(entry.level, entry.fields["error"]) for entry in told] == [(WARNING, WHY)]
    for twin in (first, second):
        assert not twin.engine.neighbours.names()
        ends = twin.events("connection ended", since=met)
        lost = twin.events(OUR_NAME_IS_LOST, since=met)
        assert lost or any(WHY in str(entry.fields.get("error")) for entry in ends)
    # (Nor does it go on for ever between those who agree.)
    before = [host.engine.gossip.looked_at for host in honest]
    simulation.run(60)
    assert [host.engine.gossip.looked_at for host in honest] == before


def refuses(host: SimHost, twin: SimHost) -> bool:
    engine = host.engine
    return engine.topology.is_nobodys(twin.name) and engine.neighbours.of(twin.name) is None


@over_seeds(2)
def test_a_peer_with_another_key_comes_back(seed: int) -> None:
    """What the log tells its owner to do."""
    simulation = Simulation(seed)
    one, other = twins(seed)
    hosts = simulation.mesh(3)
    victim = simulation.add(hosts[0], identity=one)
    simulation.run_until(lambda: simulation.is_whole([*hosts, victim]), 10)
    for host in hosts:
        host.engine.topology.take_disputes()
    attacker = simulation.add(hosts[1], identity=other)
    simulation.run(5)
    # It was there first, and nobody takes a connection with another key: so it loses nothing yet.
    assert victim.name in hosts[0].engine.neighbours.names()
    assert attacker.engine.neighbours.names() == set()
