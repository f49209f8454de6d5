"""Does data get through, on bad wires and over hours?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation, over_seeds
from weave_py.sim.underlay import Wire

TEN_MINUTES = 600.0


def changes_of_way(loss: float, seed: int, seconds: float, in_use: bool) -> int:
    simulation = Simulation(seed, default=Wire(loss=loss))
    hosts = simulation.mesh(3)
    simulation.run_until(simulation.is_full_mesh, within=15)
    simulation.run(10)
    for host in hosts:
        host.watches_ways = True
        host.carry_out()
        host.way_changes.clear()
    flow = simulation.flow(hosts[0], hosts[1], every=0.5) if in_use else None
    simulation.run(seconds)
    if flow is not None:
        assert flow.refused == []
        assert len(flow.lost) < (loss + 0.05) * len(flow.sent)
    assert all(len(host.engine.neighbours) == 2 for host in hosts)
    return sum(len(host.way_changes) for host in hosts)


class TestLoss:
    @pytest.mark.parametrize("in_use", [False, True])
    @over_seeds(2, slow=4)
    def test_at_five_percent_no_path_flaps(self, seed: int, in_use: bool) -> None:
        assert changes_of_way(0.05, seed, TEN_MINUTES, in_use) == 0

    @pytest.mark.parametrize("in_use", [False, True])
    @over_seeds(2, slow=4)
    def test_at_ten_percent_no_path_flaps(self, seed: int, in_use: bool) -> None:
        assert changes_of_way(0.1, seed, TEN_MINUTES, in_use) == 0

    @over_seeds(2, slow=4)
    def test_at_thirty_percent_few_do(self, seed: int) -> None:
        assert changes_of_way(0.3, seed, TEN_MINUTES, True) <= 4

    @over_seeds(2)
    def test_paths_come_up_with_half_of_all_lost(self, seed: int) -> None:
        simulation = Simulation(seed, default=Wire(loss=0.5))
        simulation.mesh(4)
        simulation.run_until(simulation.is_full_mesh, within=10)


class TestKeys:
    @over_seeds(2, slow=2)
    def test_ten_minutes_of_data_lose_nothing_to_the_renewal_of_keys(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b, c = simulation.mesh(3)
        simulation.run_until(simulation.is_full_mesh, within=3)
        simulation.run(1)
        early = [host.counters.datagrams_unknown_session for host in (a, b, c)]
        flows = [
            simulation.flow(one, other)
            for one in (a, b, c)
            for other in (a, b, c)
            if one is not other
        ]
        simulation.run(TEN_MINUTES)
        for flow in flows:
            flow.stop()
        simulation.run(1)
        assert all(flow.lost == [] and flow.refused == [] for flow in flows)
        assert all(len(flow.sent) > 5900 for flow in flows)
        sessions = [link.session for host in (a, b, c) for link in host.engine.links]
        assert len(sessions) == 6
        assert all(5 <= session.handshakes <= 7 for session in sessions)
        assert [host.counters.datagrams_unknown_session for host in (a, b, c)] == early, (
            "datagrams under unknown keys"
        )

    @over_seeds(2)
    def test_over_a_relay_too(self, seed: int) -> None:
        simulation = Simulation(seed)
        a, b, c = simulation.chain(3)
        simulation.run_until(simulation.is_whole, within=5)
        simulation.run(3)
        flows = simulation.flow(a, c), simulation.flow(c, a)
        simulation.run(300)
        for flow in flows:
            flow.stop()
        simulation.run(1)
        assert all(flow.lost == [] and flow.refused == [] for flow in flows)
        assert b.counters.datagrams_relayed >= 6000

    @over_seeds(2)
    def test_on_a_lossy_wire_keys_are_renewed_as_well(self, seed: int) -> None:
        simulation = Simulation(seed, default=Wire(loss=0.2))
        a, b = simulation.mesh(2)
        simulation.run_until(simulation.is_full_mesh, within=10)
        flow = simulation.flow(a, b)
        simulation.run(300)
        assert flow.refused == []
        assert 0.15 < len(flow.lost) / len(flow.sent) < 0.25
        assert flow.longest_gap() < 1

    def test_an_idle_network_renews_its_keys_and_keeps_no_old_ones(self) -> None:
        simulation = Simulation(1)
        a, b = simulation.mesh(2)
        simulation.run_until(simulation.is_full_mesh, within=3)
        first = set(a.ingresses)
        simulation.run(200)
        assert len(a.ingresses) == len(b.ingresses) == 1
        assert not first & set(a.ingresses)


@over_seeds(2)
def test_slow_wires(seed: int) -> None:
    """Satellites: 300 ms each way. All works, the patience for answers follows the round trip."""
    simulation = Simulation(seed, default=Wire(latency=0.3, jitter=0.05))
    a, b, c = simulation.mesh(3)
    simulation.run_until(simulation.is_full_mesh, within=10)
    flow = simulation.flow(a, b)
    start = simulation.now
    simulation.run(60)
    assert simulation.is_full_mesh()
    assert all(not host.events("connection ended", since=start) for host in (a, b, c))
    assert flow.refused == []
    rtt = a.path_view(b).rtt
    assert rtt is not None
    assert 0.6 < rtt < 0.8


@over_seeds(2)
def test_a_full_buffer_somewhere_is_no_death(seed: int) -> None:
    """A bulk transfer fills a queue: everything takes two seconds more, for a while."""
    simulation = Simulation(seed)
    a, b, c = simulation.mesh(3)
    simulation.run_until(simulation.is_full_mesh, within=3)
    simulation.run(5)
    start = simulation.now
    simulation.wire(a, b).queue = 0.8
    flow = simulation.flow(a, b)
    simulation.run(30)
    assert not a.events("connection ended", since=start)
    assert flow.refused == []
    simulation.wire(a, b).queue = 0.0
    simulation.run(15)
    assert simulation.is_full_mesh()
    assert c.alive
