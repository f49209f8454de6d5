"""Do the limits on session messages ever hurt a network of which all is true?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, over_seeds
from weave_py.link.session import SessionSettings


@over_seeds(1, slow=2)
def test_all_sessions_through_one_neighbour_start_and_renew(seed: int) -> None:
    """F7: leaves that only see the hub, all started at once: each session goes through it."""
    simulation = Simulation(seed)
    hub, *leaves = [simulation.add() for _ in range(25)]
    for a in leaves:
        for b in leaves:
            if a is not b:
                simulation.cut(a, b)
    for leaf in leaves:
        simulation.call(leaf, hub)
    took = simulation.run_until(simulation.is_whole, within=10)
    print(f"whole after {took:.1f} s")
    before = simulation.now
    simulation.run(SessionSettings().renew_after + 15)
    assert simulation.is_whole()
    for host in simulation.hosts:
        for link in host.engine.links:
            epoch = link.session.current
            assert epoch is not None
            assert epoch.born_at > before, "renewed"
            assert "more session handshakes" not in link.session.last_error
