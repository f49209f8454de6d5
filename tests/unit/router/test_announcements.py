"""When does a router say something new about itself?"""

from __future__ import annotations

from tests.kit.simulation import Simulation
from weave_py.router.announcements import PATIENCE


def test_what_has_changed_after_a_while_is_told_at_once() -> None:
    simulation = Simulation(1)
    a, _ = simulation.mesh(2)
    simulation.run(5)
    announcements = a.engine._announcements
    announcements.soon(simulation.now)
    due = announcements.next_deadline()
    assert due is not None
    assert due.at == simulation.now


def test_who_is_late_waits_in_proportion() -> None:
    simulation = Simulation(1)
    a, _ = simulation.mesh(2)
    simulation.run(5)
    version, announcements = a.engine.ourself.record.order.version, a.engine._announcements
    a.engine.load.late(1.0, simulation.now)
    announcements.soon(simulation.now)
    due = announcements.next_deadline()
    assert due is not None
    assert simulation.now < due.at < simulation.now + PATIENCE
    assert a.engine.ourself.record.order.version == version
