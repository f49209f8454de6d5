"""Does our own record change when it should, only then, and always to a higher version?"""

from __future__ import annotations

import pytest

from tests.kit.builders import identity, neighbour, ourself, place, synthetic_name
from weave_py.crypto.identity import check_certificate_untrusted, verify_untrusted
from weave_py.mesh.ourself import RECORD_CONTEXT, Ourself
from weave_py.model.names import MAX_NEIGHBOURS, Endpoint, PeerUID
from weave_py.wire.gossip import U63, RecordVersion
from weave_py.wire.topology import (
    MAX_ENDPOINTS,
    MAX_NICKNAME,
    decode_record_untrusted,
    encode_record,
)


def check(mine: Ourself) -> None:
    """What `signed` holds is consistent, and everybody can verify it."""
    signed = mine.signed
    assert decode_record_untrusted(signed.body, signed.signature) == signed
    assert encode_record(mine.record) == signed.body
    verify_untrusted(mine.record.identity, RECORD_CONTEXT, signed.body, signed.signature)
    check_certificate_untrusted(mine.record.identity, mine.record.static, mine.record.certificate)


def test_the_first_record_is_there_from_the_start() -> None:
    mine = ourself(1, incarnation=7)
    assert mine.name == identity(1).name
    assert mine.record.order == RecordVersion(7, 0)
    assert not mine.record.neighbours
    assert not mine.record.endpoints
    check(mine)


def test_a_change_is_a_new_version_and_no_change_is_none() -> None:
    mine = ourself(1)
    assert mine.update([place(1)], [neighbour(3), neighbour(2)])
    assert mine.record.order == RecordVersion(1, 1)
    first = mine.signed
    assert not mine.update([place(1)], [neighbour(2), neighbour(3)])
    assert mine.signed is first
    assert mine.update([place(1)], [neighbour(2)])
    assert mine.record.order == RecordVersion(1, 2)
    assert mine.update([], [neighbour(2)])
    check(mine)


def test_neighbours_are_in_the_order_of_their_names() -> None:
    mine = ourself(1)
    mine.update([], [neighbour(n) for n in (5, 2, 4, 3)])
    names = [n.name for n in mine.record.neighbours]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("published", "measured", "expected"),
    [
        (0, 0, 0),
        (0, 7, 7),
        (7, 0, 7),  # not measured: keep what is known
        (1, 5, 1),  # less than a step away
        (1, 6, 6),
        (100, 104, 100),
        (100, 199, 100),  # less than twice as much
        (100, 200, 200),
        (100, 51, 100),
        (100, 50, 50),
        (8, 4, 8),
    ],
)
def test_a_cost_moves_only_by_leaps(published: int, measured: int, expected: int) -> None:
    mine = ourself(1)
    mine.update([], [neighbour(2, cost=published)])
    changed = mine.update([], [neighbour(2, cost=measured)])
    assert mine.record.neighbours[0].cost == expected
    assert changed == (expected != published)


def test_a_neighbour_that_comes_back_is_measured_anew() -> None:
    mine = ourself(1)
    mine.update([], [neighbour(2, cost=100)])
    mine.update([], [])
    mine.update([], [neighbour(2, cost=103)])
    assert mine.record.neighbours[0].cost == 103


def test_too_much_is_cut() -> None:
    mine = ourself(1)
    ports = [Endpoint("192.0.2.1", 1 + n) for n in range(MAX_ENDPOINTS + 3)]
    many = [neighbour(2)._replace(name=synthetic_name(n)) for n in range(MAX_NEIGHBOURS + 3)]
    mine.update(ports, many)
    assert mine.record.endpoints == tuple(ports[:MAX_ENDPOINTS])
    assert len(mine.record.neighbours) == MAX_NEIGHBOURS
    check(mine)
    assert not mine.update(ports, many)


def test_what_others_would_find_too_large_is_cut() -> None:
    """F5a: records have at most 16 KiB. An honest one with 200 neighbours fits, whatever their
    addresses; who has more than fit says so many of them as do."""
    far = Endpoint("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff%" + "i" * 15, 65535)
    mine = Ourself(identity(1), PeerUID(1), 5, "\U0001f9ff" * MAX_NICKNAME, (1, 2))
    many = [
        neighbour(2, cost=60_000)._replace(name=synthetic_name(n), address=far)
        for n in range(MAX_NEIGHBOURS)
    ]
    assert mine.update([far] * MAX_ENDPOINTS, many)
    assert 190 < len(mine.record.neighbours) < MAX_NEIGHBOURS
    decode_record_untrusted(mine.signed.body, mine.signed.signature)
    assert not mine.update([far] * MAX_ENDPOINTS, many)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (RecordVersion(4, 9), RecordVersion(5, 1)),  # older: nothing to outrank
        (RecordVersion(5, 1), RecordVersion(6, 1)),  # as far as ours
        (RecordVersion(5, 9), RecordVersion(6, 1)),
        (RecordVersion(9, 0), RecordVersion(10, 1)),
        (RecordVersion(U63, 7), RecordVersion(U63, 8)),  # no epoch is left: go on by version
    ],
)
def test_an_earlier_life_is_outranked(order: RecordVersion, expected: RecordVersion) -> None:
    mine = ourself(1, incarnation=5)
    mine.update([place(1)], [neighbour(2)])
    mine.rival_seen(order)
    assert mine.record.order == RecordVersion(5, 1), "it is the engine that chooses when"
    mine.update([place(1)], [neighbour(2)], outrank=True)
    assert mine.record.order == expected
    assert mine.record.neighbours == (neighbour(2),)
    check(mine)
    mine.update([], [])
    assert mine.record.order == RecordVersion(expected.incarnation, expected.version + 1)
