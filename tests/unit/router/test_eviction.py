"""Who has to go when there are too many connections, and who stays whatever comes?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from tests.kit.builders import claim, place, synthetic_name
from weave_py.mesh.components import components
from weave_py.mesh.connection import Connection
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.names import Endpoint, PeerName
from weave_py.router.eviction import FEW, HEARD_OUT, HEARING, YOUNG, too_many
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.wire.topology import Neighbour, PeerRecord

US = 0
NOW = 1000.0
ATTACKER = "2001:db8:6:6::"


@dataclass
class Remote:
    """As much of a connection as is asked for."""

    remote: Endpoint
    outbound: bool = False


class Mesh:
    """As much of a topology, its neighbours and targets as is asked for."""

    def __init__(
        self,
        connections: dict[int, list[int]],
        targets: tuple[int, ...] = (),
        opened: dict[int, float] | None = None,
        hosts: dict[int, str] | None = None,
        silent: tuple[int, ...] = (),
    ) -> None:
        self.records = {
            synthetic_name(who): claim(
                Neighbour(synthetic_name(other), 1, True, True, place(1)) for other in others
            )
            for who, others in connections.items()
            if who not in silent
        }
        self.ourself = self
        self.name = synthetic_name(US)
        self.near = connections[US]
        self.configured = {synthetic_name(target) for target in targets}
        hosts = hosts or {}
        self.streams = {
            number: Stream(
                number,
                cast(Connection, Remote(Endpoint(hosts.get(number, f"10.0.0.{number}"), 6783))),
                None,
                0.0,
                synthetic_name(number),
                (opened or {}).get(number, 0.0),
            )
            for number in self.near
        }

    def record(self, name: PeerName) -> PeerRecord | None:
        return self.records.get(name)

    def leads_to(self, name: PeerName) -> bool:
        return name in self.configured

    def established(self) -> list[tuple[PeerName, Stream, None]]:
        return [(synthetic_name(n), stream, None) for n, stream in sorted(self.streams.items())]

    def components(self, names: list[PeerName]) -> dict[PeerName, int]:
        return components(self.records, self.name, self.records[self.name].claims.keys() | names)

    def sure_neighbours(self, connected: set[PeerName]) -> list[PeerName]:
        return [
            name
            for name in self.records[self.name].claims
            if name in connected and name in self.records and self.name in self.records[name].claims
        ]

    def go(self, limit: int, newcomer: int | None = None) -> list[int]:
        streams = too_many(
            cast(Neighbours, self),
            cast(Topology, self),
            cast(Targets, self),
            None if newcomer is None else self.streams[newcomer],
            limit,
            NOW,
        )
        return [stream.number for stream in streams]


def full(*numbers: int) -> dict[int, list[int]]:
    """A full mesh of these, and us."""
    everybody = (US, *numbers)
    return {who: [other for other in everybody if other != who] for who in everybody}


def test_within_the_limit_nobody_goes() -> None:
    assert Mesh(full(1, 2, 3)).go(3) == []


def test_those_with_the_most_others_go_first() -> None:
    mesh = Mesh({0: [1, 2, 3, 4], 1: [0, 2], 2: [0, 1, 3, 4], 3: [0, 2], 4: [0, 2, 1]})
    assert mesh.go(3) == [2]


def test_somebody_of_each_island_stays_as_long_as_there_is_a_place() -> None:
    mesh = Mesh({0: [1, 2, 3, 4], 1: [0, 2], 2: [0, 1], 3: [0, 4], 4: [0, 3]})
    assert {number // 3 for number in mesh.go(2)} == {0, 1}
    assert len(mesh.go(1)) == 3, "F5d: the limit is absolute"


def test_whoever_needs_us_goes_last_and_the_last_that_came_first() -> None:
    """F5d: who looks as if only we reached it may not keep the others out."""
    opened = {1: 10.0, 2: 20.0, 3: 30.0, 4: 5.0, 5: 6.0, 6: 7.0}
    mesh = Mesh(
        {0: [1, 2, 3, 4, 5, 6], 1: [0], 2: [0], 3: [0], **{n: full(4, 5, 6)[n] for n in (4, 5, 6)}},
        opened=opened,
    )
    assert mesh.go(5) == [6]
    assert mesh.go(4) == [6, 3], "4 and 5 have reserved places: they have been here longest"


def test_targets_stay_and_of_equals_the_newcomer_goes() -> None:
    ring = full(1, 2, 3, 4)
    assert set(Mesh(ring, targets=(3, 4)).go(2)) == {1, 2}
    assert Mesh(ring).go(3, newcomer=2) == [2]


def test_who_has_been_here_long_does_not_go_for_who_has_just_come() -> None:
    """F5e, also where the old one has many others, and the newcomers claim few."""
    everybody = full(1, 2, 3, 4)
    everybody |= {5: [0, 1], 6: [0, 1], 0: [1, 2, 3, 4, 5, 6], 1: [0, 2, 3, 4, 5, 6]}
    opened = {5: NOW - YOUNG / 2, 6: NOW - 2}
    assert set(Mesh(everybody, opened=opened).go(4)) == {5, 6}


def test_who_leads_there_must_be_sure() -> None:
    """A neighbour that does not say that it is one leads to nobody."""
    mesh = Mesh({0: [1, 2, 3], 1: [2], 2: [0, 1], 3: [0]}, opened={2: 1.0, 1: 2.0})
    assert mesh.go(2) == [1]


def test_one_address_has_a_few_places_where_they_are_rare() -> None:
    """F5d: 260 connections from one address threw out 30 of 30 honest neighbours, and stayed."""
    honest = tuple(range(1, 31))
    fakes = tuple(range(100, 200))
    mesh = full(*honest)
    mesh[0] = [*honest, *fakes]
    mesh |= {fake: [0] for fake in fakes}
    hosts = {fake: f"{ATTACKER}{fake:x}" for fake in fakes}
    opened = {n: 10.0 + n for n in (*honest, *fakes)}
    gone = Mesh(mesh, opened=opened, hosts=hosts).go(40)
    assert not set(gone) & set(honest)
    assert len(gone) == 130 - 40
    assert set(gone) == set(fakes[10:]), "while there is room they may have it, the first of them"
    gone = Mesh(mesh, opened=opened, hosts=hosts).go(32)
    assert len(gone) == 130 - 32
    assert set(fakes) - set(gone) == set(fakes[:FEW])


def test_from_many_addresses_half_of_the_places_can_be_had() -> None:
    honest, fakes = tuple(range(1, 31)), tuple(range(100, 250))
    mesh = full(*honest)
    mesh[0] = [*honest, *fakes]
    mesh |= {fake: [0] for fake in fakes}
    gone = Mesh(mesh, opened={n: float(n) for n in mesh}).go(40)
    assert len(gone) == 180 - 40
    assert set(honest[:20]) & set(gone) == set()


def test_newcomers_are_heard_out_a_few_at_a_time() -> None:
    old, new = tuple(range(1, 6)), tuple(range(10, 40))
    mesh = full(*old)
    mesh[0] = [*old, *new]
    opened = {n: NOW - HEARING / 2 + n / 100 for n in new}
    gone = Mesh(mesh, opened=opened).go(5)
    assert set(gone) == set(new[:-HEARD_OUT])
    assert set(Mesh(mesh, opened=dict.fromkeys(new, NOW - HEARING)).go(5)) == set(new)
