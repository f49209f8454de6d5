"""Do ways that follow changes become those that are computed anew?"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import claim, place, synthetic_name
from weave_py.mesh import spf as module
from weave_py.mesh.spf import ShortestPathTree
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


def trees() -> tuple[ShortestPathTree, ShortestPathTree]:
    return ShortestPathTree(synthetic_name(0), direct_only=False), ShortestPathTree(
        synthetic_name(0), direct_only=True
    )


def contents(tree: ShortestPathTree) -> tuple[object, ...]:
    return tree.hops, tree.next_hops, tree._costs, tree._parents


def check(records: Records, followed: ShortestPathTree, direct_only: bool) -> None:
    anew = ShortestPathTree(synthetic_name(0), direct_only)
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
        for tree, direct_only in zip(both, (False, True), strict=True):
            before = dict(tree.hops), dict(tree.next_hops)
            # Also where so much has changed that it would not be worth it.
            many, module.MANY = module.MANY, 0
            try:
                has_changed = tree.update(records, changed)
            finally:
                module.MANY = many
            assert has_changed or before == (tree.hops, tree.next_hops)
            check(records, tree, direct_only)


def ring(peers: int) -> Records:
    return {
        synthetic_name(n): claim([neighbour((n + 1) % peers), neighbour((n - 1) % peers)])
        for n in range(peers)
    }


def test_a_cut_in_a_ring_turns_the_ways_round() -> None:
    records = ring(40)
    tree = trees()[0]
    assert tree.update(records, records.keys())
    assert tree.hops[synthetic_name(20)] == 20
    assert tree.next_hops[synthetic_name(5)] == synthetic_name(1)
    records[synthetic_name(1)] = claim([neighbour(2)])  # it has lost us
    assert tree.update(records, [synthetic_name(1)])
    check(records, tree, direct_only=False)
    assert tree.hops[synthetic_name(1)] == 39
    assert set(tree.next_hops.values()) == {synthetic_name(39)}


def test_news_that_changes_no_way_says_so() -> None:
    records = ring(40)
    tree = trees()[0]
    tree.update(records, records.keys())
    records[synthetic_name(7)] = claim([neighbour(6), neighbour(8), neighbour(30)])
    assert not tree.update(records, [synthetic_name(7)]), "the other end does not say so"
    records[synthetic_name(30)] = claim([neighbour(29), neighbour(31), neighbour(7)])
    assert tree.update(records, [synthetic_name(30)])
    check(records, tree, direct_only=False)


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
    tree = trees()[0]
    tree.update(records, records.keys())

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
        tree.update(counting, [synthetic_name(number), synthetic_name(victim)])
        costs.append(counting.asked)
        check(records, tree, direct_only=False)
    assert sum(costs) / len(costs) < peers / 2
