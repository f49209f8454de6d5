"""Who has to go when there are too many connections, and is nobody cut off?"""

from __future__ import annotations

from typing import cast

from tests.kit.builders import claim, place, synthetic_name
from weave_py.mesh.components import components
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.names import PeerName
from weave_py.router.eviction import least_useful
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.wire.topology import Neighbour, PeerRecord

US = 0


class Mesh:
    """As much of a topology, its neighbours and targets as is asked for."""

    def __init__(self, connections: dict[int, list[int]], targets: tuple[int, ...] = ()) -> None:
        self.records = {
            synthetic_name(who): claim(
                Neighbour(synthetic_name(other), 1, True, True, place(1)) for other in others
            )
            for who, others in connections.items()
        }
        self.ourself = self
        self.name = synthetic_name(US)
        self.near = connections[US]
        self.configured = {synthetic_name(target) for target in targets}
        self.streams = {
            number: Stream(number, None, None, 0.0, synthetic_name(number)) for number in self.near
        }

    def record(self, name: PeerName) -> PeerRecord | None:
        return self.records.get(name)

    def leads_to(self, name: PeerName) -> bool:
        return name in self.configured

    def established(self) -> list[tuple[PeerName, Stream, None]]:
        return [(synthetic_name(n), stream, None) for n, stream in sorted(self.streams.items())]

    def components(self, names: list[PeerName]) -> dict[PeerName, int]:
        return components(self.records, self.name, self.records[self.name].claims.keys() | names)

    def sure_neighbours(self) -> list[PeerName]:
        return [
            name
            for name in self.records[self.name].claims
            if name in self.records and self.name in self.records[name].claims
        ]

    def go(self, excess: int, newcomer: int | None = None) -> list[int]:
        streams = least_useful(
            cast(Neighbours, self),
            cast(Topology, self),
            cast(Targets, self),
            None if newcomer is None else self.streams[newcomer],
            excess,
        )
        return [stream.number for stream in streams]


def test_those_with_the_most_others_go_first() -> None:
    mesh = Mesh({0: [1, 2, 3], 1: [0, 2], 2: [0, 1, 3], 3: [0, 2]})
    assert mesh.go(1) == [2]
    assert mesh.go(2) == [2, 3]


def test_somebody_of_each_island_stays() -> None:
    mesh = Mesh({0: [1, 2, 3, 4], 1: [0, 2], 2: [0, 1], 3: [0, 4], 4: [0, 3]})
    assert len(mesh.go(4)) == 2
    assert {number // 3 for number in mesh.go(4)} == {0, 1}


def test_whoever_only_we_reach_stays() -> None:
    mesh = Mesh({0: [1, 2, 3], 1: [0], 2: [0], 3: [0]})
    assert mesh.go(2) == []


def test_targets_stay_and_of_equals_the_newcomer_goes() -> None:
    ring = {0: [1, 2, 3], 1: [0, 2, 3], 2: [0, 1, 3], 3: [0, 1, 2]}
    assert Mesh(ring, targets=(1, 2)).go(3) == [3]
    assert Mesh(ring).go(1, newcomer=2) == [2]


def test_who_leads_there_must_be_sure() -> None:
    """A neighbour that does not say that it is one leads to nobody."""
    mesh = Mesh({0: [1, 2], 1: [2], 2: [0, 1]})
    assert mesh.go(2) == [1]
