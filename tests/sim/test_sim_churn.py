"""Does everything come right again after random trouble, with nothing left over?"""

from __future__ import annotations

from tests.kit.simulation import Simulation, over_seeds
from weave_py.sim.host import SimHost


class Churn:
    """Joins, leaves, kills, restarts, cuts, stops: at random, all undone in the end but deaths."""

    def __init__(self, seed: int, count: int) -> None:
        self.simulation = Simulation(seed)
        self.hosts = self.simulation.mesh(count)
        self._dice = self.simulation.dice
        self._cuts: list[tuple[SimHost, SimHost]] = []
        self._dead: list[SimHost] = []
        self._incarnation = 1

    def go_on(self, seconds: float) -> None:
        end = self.simulation.now + seconds
        while self.simulation.now < end:
            self.simulation.run(self._dice.expovariate(1.0))
            self._dice.choice(
                [self._join, self._end, self._end, self._restart, self._cut, self._mend, self._stop]
            )()

    def calm(self) -> None:
        while self._cuts:
            self._mend()

    def _pick(self) -> SimHost:
        return self._dice.choice(self.simulation.alive)

    def _join(self) -> None:
        if len(self.simulation.alive) < len(self.hosts) + 3:
            self.simulation.add(self._pick(), self._pick())

    def _end(self) -> None:
        if len(self.simulation.alive) > len(self.hosts) // 2:
            host = self._pick()
            how = self._dice.choice(
                [self.simulation.kill, self.simulation.vanish, self.simulation.leave]
            )
            how(host)
            self._dead.append(host)

    def _restart(self) -> None:
        if self._dead:
            self._incarnation += 1
            dead = self._dead.pop(self._dice.randrange(len(self._dead)))
            self.simulation.restart(dead, self._pick(), incarnation=self._incarnation)

    def _cut(self) -> None:
        a, b = self._pick(), self._pick()
        if a is not b:
            self.simulation.cut(a, b)
            self._cuts.append((a, b))

    def _mend(self) -> None:
        if self._cuts:
            self.simulation.mend(*self._cuts.pop(self._dice.randrange(len(self._cuts))))

    def _stop(self) -> None:
        self.simulation.freeze(self._pick(), self._dice.uniform(0.5, 6))


def survive(seed: int, count: int, seconds: float) -> None:
    churn = Churn(seed, count)
    simulation = churn.simulation
    churn.go_on(seconds)
    churn.calm()
    simulation.run(40)
    assert simulation.is_converged(), str(simulation)
    assert simulation.all_paths("direct"), str(simulation)
    # By now the dead are forgotten; as long as they count, the network may be too large for a
    # full mesh.
    simulation.run(65)
    simulation.check_no_leaks()
    for host in simulation.alive:
        assert not host.events("topology record refused"), host.log
        assert not host.events("malformed control record"), host.log
        assert host.engine.topology.quarantined == 0


@over_seeds(3)
def test_a_minute_of_trouble_for_six(seed: int) -> None:
    survive(seed, 6, 60)


@over_seeds(0, slow=6)
def test_two_minutes_of_trouble_for_eight(seed: int) -> None:
    survive(seed, 8, 120)


@over_seeds(0, slow=3)
def test_two_minutes_of_trouble_for_twenty(seed: int) -> None:
    survive(seed, 20, 120)
