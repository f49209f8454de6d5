"""Do ways that follow changes become those that are computed anew?"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import claim, place, synthetic_name
from weave_py.mesh import ways as module
from weave_py.mesh.ways import Ways
from weave_py.model.names import PeerName
from weave_py.wire.topology import Neighbour, PeerRecord

Records = dict[PeerName, PeerRecord]


def neighbour(number: int, cost: int = 1, direct: bool = True) -> Neighbour:
    return Neighbour(synthetic_name(number), cost, direct, True, place(1))


def random_record(random: Random, peers: int) -> PeerRecord:
    others = random.sample(range(peers), random.randint(0, min(5, peers)))
    return claim(
        neighbour(other, random.choice((0, 1, 1, 2, 5)), random.random() < 0.7) for other in others
    )


def trees() -> tuple[Ways, Ways]:
    return Ways(synthetic_name(0), direct_only=False), Ways(synthetic_name(0), direct_only=True)


def contents(ways: Ways) -> tuple[object, ...]:
    return ways.hops, ways.next_hops, ways._costs, ways._parents


def check(records: Records, followed: Ways, direct_only: bool) -> None:
    anew = Ways(synthetic_name(0), direct_only)
    anew.compute(records)
    assert contents(followed) == contents(anew)


@given(st.integers(2, 24), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(deadline=None, max_examples=150)
def test_following_comes_to_the_same(peers: int, random: Random, at_once: int) -> None:
    records: Records = {synthetic_name(0): claim([])}
    both = trees()
    for _ in range(30):
        changed = set()
        for _ in range(random.randint(1, at_once)):
            number = random.randrange(peers)
            name = synthetic_name(number)
            changed.add(name)
            if number and random.random() < 0.2:
                records.pop(name, None)
            else:
                records[name] = random_record(random, peers)
        for ways, direct_only in zip(both, (False, True), strict=True):
            before = dict(ways.hops), dict(ways.next_hops)
            # Also where so much has changed that it would not be worth it.
            many, module.MANY = module.MANY, 0
            try:
                has_changed = ways.follow(records, changed)
            finally:
                module.MANY = many
            assert has_changed or before == (ways.hops, ways.next_hops)
            check(records, ways, direct_only)


def ring(peers: int) -> Records:
    return {
        synthetic_name(n): claim([neighbour((n + 1) % peers), neighbour((n - 1) % peers)])
        for n in range(peers)
    }


def test_a_cut_in_a_ring_turns_the_ways_round() -> None:
    records = ring(40)
    ways = trees()[0]
    assert ways.follow(records, records.keys())
    assert ways.hops[synthetic_name(20)] == 20
    assert ways.next_hops[synthetic_name(5)] == synthetic_name(1)
    records[synthetic_name(1)] = claim([neighbour(2)])  # it has lost us
    assert ways.follow(records, [synthetic_name(1)])
    check(records, ways, direct_only=False)
    assert ways.hops[synthetic_name(1)] == 39
    assert set(ways.next_hops.values()) == {synthetic_name(39)}


def test_news_that_changes_no_way_says_so() -> None:
    records = ring(40)
    ways = trees()[0]
    ways.follow(records, records.keys())
    records[synthetic_name(7)] = claim([neighbour(6), neighbour(8), neighbour(30)])
    assert not ways.follow(records, [synthetic_name(7)]), "the other end does not say so"
    records[synthetic_name(30)] = claim([neighbour(29), neighbour(31), neighbour(7)])
    assert ways.follow(records, [synthetic_name(30)])
    check(records, ways, direct_only=False)


def test_one_change_looks_at_few_connections() -> None:
    """What a large network's routers save: see how many records are asked for."""
    random = Random(1)
    peers = 600
    near: dict[int, set[int]] = {n: {(n + 1) % peers, (n - 1) % peers} for n in range(peers)}
    for number in range(peers):
        for other in random.sample(range(peers), 3):
            if other != number:
                near[number].add(other)
                near[other].add(number)
    for number in range(peers):
        near[(number + 1) % peers].add(number)
    records = {synthetic_name(n): claim(neighbour(o) for o in sorted(near[n])) for n in near}
    ways = trees()[0]
    ways.follow(records, records.keys())

    class Counting(dict[PeerName, PeerRecord]):
        asked = 0

        def get(self, name: PeerName, default: PeerRecord | None = None) -> PeerRecord | None:  # type: ignore[override]
            self.asked += 1
            return super().get(name, default)

    costs = []
    for number in range(1, peers, 20):
        victim = sorted(near[number])[0]
        for a, b in ((number, victim), (victim, number)):
            near[a].discard(b)
            records[synthetic_name(a)] = claim(neighbour(o) for o in sorted(near[a]))
        counting = Counting(records)
        ways.follow(counting, [synthetic_name(number), synthetic_name(victim)])
        costs.append(counting.asked)
        check(records, ways, direct_only=False)
    assert sum(costs) / len(costs) < peers / 2
