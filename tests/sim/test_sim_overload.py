"""Does a router that has fallen behind catch up, or do those who wait for it keep it from that?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, over_seeds


@over_seeds(1, slow=2)
def test_a_slow_host_catches_up(seed: int) -> None:
    """It reads 300 datagrams a second, many times what comes from 29 peers at rest; but they ask
    ten times a second who does not answer."""
    simulation = Simulation(seed)
    hosts = simulation.mesh(30)
    simulation.run_until(simulation.is_full_mesh, within=10)
    simulation.run(5)
    for host in hosts:
        host.watches_ways = True
    slow = hosts[-1]
    slow.toil = 1 / 300
    simulation.freeze(slow, 4.0)
    seconds = simulation.run_until(
        lambda: simulation.now > slow.frozen_until and slow.free_at < simulation.now + 0.1,
        within=20,
    )
    print(f"all read {seconds:.1f} s after it stood still for 4 s")
    simulation.run(5)
    changes = sum(len(host.way_changes) for host in hosts)
    versions = [host.engine.ourself.record.order for host in hosts]
    simulation.run(20)
    assert slow.free_at < simulation.now + 0.1
    assert [host.engine.ourself.record.order for host in hosts] == versions, "calm again"
    assert sum(len(host.way_changes) for host in hosts) == changes
