"""What can happen to a network, and how is it undone? Random trouble, decided by the seed."""

from __future__ import annotations

from collections.abc import Callable

from weave_py.sim.host import SimHost
from weave_py.sim.network import Network

LEAST_SHARE = 0.75  # of the peers stay alive at any time
LONGEST_FREEZE = 2.0  # seconds; longer than that others give a peer up

Note = Callable[[str], None]


class Churn:
    """Peers come, leave, die and return; wires are cut and mended; processes stand still."""

    def __init__(self, network: Network, seeds: list[SimHost], note: Note) -> None:
        """Seeds (whom newcomers call) are never ended."""
        self.events = 0
        self._network = network
        self._dice = network.dice
        self._seeds = seeds
        self._note = note
        self._count = len(network.alive)
        self._gone: list[SimHost] = []
        self._cuts: list[tuple[SimHost, SimHost]] = []
        self._incarnation = 1

    def once(self) -> None:
        """One random event."""
        self.events += 1
        actions = [self.join, self.leave, self.die, self.come_back, self._cut, self._mend]
        self._dice.choice([*actions, self._freeze])()

    # --- peers ---------------------------------------------------------------------------

    def join(self) -> SimHost:
        """A new peer, that knows two others."""
        host = self._network.add(self._dice.choice(self._seeds), self._pick())
        self._note(f"{host.engine.nickname} joins")
        return host

    def leave(self) -> SimHost | None:
        """SIGTERM: it says goodbye."""
        return self._end("leaves", self._network.leave)

    def die(self) -> SimHost | None:
        """The power goes, or the process is killed."""
        if self._dice.random() < 0.5:
            return self._end("is killed", self._network.kill)
        return self._end("loses its power", self._network.vanish)

    def come_back(self) -> SimHost | None:
        """With the same identity and a new UID."""
        if not self._gone:
            return None
        self._incarnation += 1
        old = self._gone.pop(self._dice.randrange(len(self._gone)))
        host = self._network.restart(
            old, self._dice.choice(self._seeds), incarnation=self._incarnation
        )
        self._note(f"{old.engine.nickname} comes back as {host.engine.nickname}")
        return host

    def _end(self, how: str, end: Callable[[SimHost], None]) -> SimHost | None:
        alive = self._network.alive
        mortal = [host for host in alive if host not in self._seeds]
        if len(alive) <= LEAST_SHARE * self._count or not mortal:
            return None
        host = self._dice.choice(mortal)
        self._note(f"{host.engine.nickname} {how}")
        end(host)
        self._gone.append(host)
        return host

    def _pick(self) -> SimHost:
        return self._dice.choice(self._network.alive)

    def _freeze(self) -> None:
        host = self._pick()
        seconds = self._dice.uniform(0.2, LONGEST_FREEZE)
        self._note(f"{host.engine.nickname} stands still for {seconds:.1f} s")
        self._network.freeze(host, seconds)

    # --- wires ---------------------------------------------------------------------------

    def _cut(self) -> None:
        """Between two neighbours, where it hurts."""
        a = self._pick()
        neighbours = a.engine.neighbours.names()
        near = [b for b in self._network.alive if b.name in neighbours]
        if near:
            b = self._dice.choice(near)
            self._note(f"cut {a.engine.nickname} - {b.engine.nickname}")
            self._network.cut(a, b)
            self._cuts.append((a, b))

    def _mend(self) -> None:
        if self._cuts:
            a, b = self._cuts.pop(self._dice.randrange(len(self._cuts)))
            self._note(f"mend {a.engine.nickname} - {b.engine.nickname}")
            self._network.mend(a, b)

    def divide(self) -> tuple[list[SimHost], list[SimHost]]:
        """A partition: two halves do not reach each other any more."""
        alive = list(self._network.alive)
        self._dice.shuffle(alive)
        halves = alive[: len(alive) // 2], alive[len(alive) // 2 :]
        self._note(f"partition: {len(halves[0])} and {len(halves[1])} peers")
        self._network.partition(*halves)
        return halves

    def unite(self, halves: tuple[list[SimHost], list[SimHost]]) -> None:
        self._note("the partition heals")
        self._network.partition(*halves, up=True)

    def calm(self) -> None:
        """Mend all wires. The dead stay dead."""
        while self._cuts:
            self._mend()
