"""Do routers find each other, all of them, fast, and the same way every time?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.simulation import Simulation, over_seeds
from weave_py.mesh.targets import TargetSettings
from weave_py.model.names import parse_target
from weave_py.router.settings import EngineSettings

ROOT = Path(__file__).parents[2]


@over_seeds(1, slow=2)
def test_thirty_peers_with_one_seed_peer_become_a_full_mesh_within_seconds(seed: int) -> None:
    simulation = Simulation(seed)
    hosts = simulation.mesh(30)
    seconds = simulation.run_until(simulation.is_full_mesh, within=4)
    messages = simulation.messages / len(hosts)
    kilobytes = simulation.underlay.stream_bytes / len(hosts) / 1000
    print(f"{seconds:.2f} s, {messages:.0f} messages and {kilobytes:.0f} kB per peer")
    # 29 handshakes of 5 messages are the floor; the rest is gossip and sessions.
    assert messages < 700
    assert kilobytes < 400
    simulation.run(3)
    assert simulation.is_full_mesh()
    simulation.check_no_leaks()


@over_seeds(3)
def test_a_network_at_rest_says_little(seed: int) -> None:
    """Per connection and second a ping and a pong, now and then one the other way; no gossip but
    digests."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(6)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(15)  # the second look at all costs is over
    orders = [host.engine.ourself.record.order for host in hosts]
    before = simulation.messages
    simulation.run(20)
    assert [host.engine.ourself.record.order for host in hosts] == orders
    connections = len(hosts) * (len(hosts) - 1) // 2
    heartbeats = connections * 20 * 2
    assert heartbeats * 0.9 < simulation.messages - before < heartbeats * 1.2 + 6 * 2 * 4


@over_seeds(3)
def test_a_late_newcomer_is_known_to_all_within_two_seconds(seed: int) -> None:
    simulation = Simulation(seed)
    hosts = simulation.mesh(8)
    simulation.run_until(simulation.is_full_mesh, within=4)
    simulation.run(20)
    simulation.add(hosts[3])
    simulation.run_until(simulation.is_full_mesh, within=2)


@over_seeds(3)
def test_all_starting_at_once_with_all_as_targets(seed: int) -> None:
    """Everybody calls everybody: every pair has two connections, and settles on the same one."""
    simulation = Simulation(seed)
    addresses = [f"10.9.0.{i}" for i in range(1, 9)]
    for address in addresses:
        simulation.add(*(a for a in addresses if a != address), address=address)
    simulation.run_until(simulation.is_full_mesh, within=2)
    established = [len(host.events("connection established")) for host in simulation.hosts]
    simulation.run(10)
    assert simulation.is_full_mesh()
    simulation.check_no_leaks()
    # No ping-pong of duplicates: what was established after two seconds still is.
    assert [len(host.events("connection established")) for host in simulation.hosts] == established


def test_a_peer_may_be_among_its_own_targets() -> None:
    simulation = Simulation(1)
    first = simulation.add("10.0.0.2", address="10.0.0.2")
    second = simulation.add("10.0.0.2", "10.0.0.3", address="10.0.0.3")
    simulation.run_until(simulation.is_full_mesh, within=3)
    simulation.run(30)
    dials = first.dials + second.dials
    simulation.run(60)
    assert first.dials + second.dials <= dials + 2, "once a minute each"
    simulation.run(10)
    simulation.check_no_leaks()


@over_seeds(2, slow=2)
def test_a_network_too_large_for_a_full_mesh_is_sparse_and_connected(seed: int) -> None:
    target = TargetSettings(full_mesh_up_to=10, sparse_degree=3)
    simulation = Simulation(seed, settings=EngineSettings(target=target))
    hosts = simulation.mesh(20)
    simulation.run_until(lambda: simulation.is_converged() and simulation.all_paths("direct"), 8)
    simulation.run(15)
    assert simulation.is_converged()
    assert simulation.all_paths("direct")
    assert not simulation.is_full_mesh()
    simulation.check_no_leaks(sparse=True)
    # Without the seed peer that all were launched with the network still hangs together.
    simulation.kill(hosts[0])
    simulation.run(15)
    assert simulation.is_converged()
    assert simulation.all_paths("direct")


@over_seeds(3)
def test_without_discovery_only_targets_are_called(seed: int) -> None:
    simulation = Simulation(seed, settings=EngineSettings(discovery=False))
    first, *others = simulation.mesh(5)
    simulation.run_until(simulation.is_converged, within=3)
    simulation.run(10)
    assert simulation.is_converged()
    assert len(first.engine.neighbours) == 4
    for host in others:
        assert host.engine.neighbours.names() == {first.name}
    # Data paths need no control connection: they are direct all the same.
    simulation.run_until(lambda: simulation.all_paths("direct"), within=3)
    simulation.check_no_leaks(sparse=True)


@over_seeds(2, slow=3)
def test_with_a_connection_limit_nobody_is_refused_for_good(seed: int) -> None:
    simulation = Simulation(seed, settings=EngineSettings(conn_limit=5))
    hosts = simulation.mesh(12)

    def all_talk() -> bool:
        return simulation.all_reachable() and simulation.all_paths("direct")

    simulation.run_until(all_talk, within=5)
    simulation.run(20)
    calls = sum(host.dials for host in hosts)
    for _ in range(60):
        simulation.run(1)
        assert all_talk(), str(simulation)
        # One too many for a moment is a newcomer who is about to be heard out.
        assert all(len(host.engine.neighbours) <= 6 for host in hosts), str(simulation)
    assert sum(host.dials for host in hosts) - calls < 5 * len(hosts), "musical chairs"
    newcomer = simulation.add(hosts[0])
    simulation.run_until(lambda: bool(newcomer.engine.neighbours) and all_talk(), within=3)
    simulation.run(20)
    assert all_talk()
    assert len(newcomer.engine.neighbours) > 1


class TestTargets:
    def test_connect_forget_and_replace(self) -> None:
        simulation = Simulation(1, settings=EngineSettings(discovery=False))
        a, b, c, d = (simulation.add() for _ in range(4))
        simulation.call(a, b)
        simulation.run(1)
        assert a.kept["targets"] == (b.address,)
        assert simulation.is_whole([a, b])

        a.engine.forget([b.address], simulation.now)
        a.carry_out()
        simulation.run(1)
        assert not a.kept.get("targets")
        assert simulation.is_whole([a, b]), "forgetting a target ends no connection"
        simulation.cut(a, b)
        simulation.run(5)
        dials = a.dials
        simulation.run(40)
        assert a.dials == dials, "a forgotten target is not called again"
        simulation.mend(a, b)

        simulation.call(a, b, c)
        simulation.run_until(lambda: simulation.is_whole([a, b, c]), within=3)
        a.engine.connect([parse_target(d.address)], simulation.now, replace=True)
        a.carry_out()
        simulation.run(3)
        assert a.kept["targets"] == (d.address,)
        assert simulation.is_whole([a, b, c, d])

    def test_connecting_again_calls_at_once(self) -> None:
        simulation = Simulation(1)
        a = simulation.add("10.0.0.77")
        simulation.run(120)
        b = simulation.add(address="10.0.0.77")
        simulation.call(a, "10.0.0.77")
        simulation.run_until(lambda: simulation.is_whole([a, b]), within=1)

    def test_a_target_that_answers_late_is_called_at_the_longest_every_45_seconds(self) -> None:
        simulation = Simulation(1)
        a = simulation.add("10.0.0.77")
        simulation.run(300)
        b = simulation.add(address="10.0.0.77")
        simulation.run_until(lambda: simulation.is_whole([a, b]), within=47)

    def test_a_target_may_become_another_peer(self) -> None:
        simulation = Simulation(1)
        a = simulation.add("10.0.0.77")
        b = simulation.add(address="10.0.0.77")
        simulation.run_until(lambda: simulation.is_whole([a, b]), within=2)
        simulation.kill(b)
        c = simulation.add(address="10.0.0.77")
        simulation.run_until(lambda: simulation.is_whole([a, c]), within=5)


def busy_trace(seed: int) -> str:
    """What happens in a network with all kinds of trouble, as a hash."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(6)
    simulation.wire(hosts[1], hosts[2]).loss = 0.2
    simulation.run(3)
    simulation.flow(hosts[1], hosts[2])
    simulation.kill(hosts[3])
    simulation.cut(hosts[4], hosts[5])
    simulation.run(10)
    simulation.restart(hosts[3], hosts[0])
    simulation.run(5)
    return simulation.trace


class TestDeterminism:
    def test_the_same_seed_gives_the_same_run(self) -> None:
        assert busy_trace(7) == busy_trace(7)
        assert busy_trace(7) != busy_trace(8)

    def test_whatever_the_hash_seed_of_the_interpreter(self) -> None:
        code = "from tests.sim.test_sim_convergence import busy_trace; print(busy_trace(7))"
        traces = [
            subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout.strip()
            for hash_seed in ("1", "2")
        ]
        assert traces[0] == traces[1] == busy_trace(7)
