"""Are routes those that a much simpler (and slower) computation gives?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import claim, place, synthetic_name
from tests.kit.routes import compute_routes
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.topology import Neighbour, PeerRecord

Claims = dict[tuple[int, int], tuple[int, bool]]
"""(who, about whom) → (cost, has a direct data path too)."""


@dataclass
class Graph:
    peers: int
    claims: Claims

    def records(self) -> dict[PeerName, PeerRecord]:
        return {
            synthetic_name(who): claim(
                Neighbour(synthetic_name(other), cost, direct, True, place(1))
                for (claimant, other), (cost, direct) in self.claims.items()
                if claimant == who
            )
            for who in range(self.peers)
        }

    def table(self, who: int) -> RouteTable:
        return compute_routes(synthetic_name(who), self.records())

    def tree(self, data: bool) -> dict[tuple[int, int], tuple[int, int]]:
        """(from, to) → least (hops, cost), as Floyd and Warshall have it."""
        tree = {(peer, peer): (0, 0) for peer in range(self.peers)}
        for (a, b), (cost, direct) in self.claims.items():
            back = self.claims.get((b, a))
            if back is not None and a != b and (not data or (direct and back[1])):
                tree[a, b] = (1, max(cost, back[0]))
        for middle, a, b in itertools.product(range(self.peers), repeat=3):
            if (a, middle) in tree and (middle, b) in tree:
                first, second = tree[a, middle], tree[middle, b]
                through = (first[0] + second[0], first[1] + second[1])
                tree[a, b] = min(tree.get((a, b), through), through)
        return tree


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    peers = draw(st.integers(1, 8))
    claims: Claims = {}
    costs, bools = st.integers(0, 4), st.booleans()
    for a, b in itertools.combinations_with_replacement(range(peers), 2):
        who = draw(st.sampled_from(("nobody", "a", "b", "both", "both")))
        if who in ("a", "both"):
            claims[a, b] = (draw(costs), draw(bools))
        if who in ("b", "both"):
            claims[b, a] = (draw(costs), draw(bools))
    if draw(bools):  # somebody whose record we do not have
        claims[0, peers] = (0, True)
    return Graph(peers, claims)


def number(name: PeerName) -> int:
    return int.from_bytes(name, "big")


@given(graphs())
@settings(deadline=None)
def test_routes_are_the_twins(graph: Graph) -> None:
    control, data = graph.tree(data=False), graph.tree(data=True)
    for who in range(graph.peers):
        table = graph.table(who)
        hops = {number(name): count for name, count in table.hops.items()}
        assert hops == {b: next_hop[0] for (a, b), next_hop in control.items() if a == who}
        for next_hops, tree in ((table.unicast, control), (table.relay, data)):
            expected = {b for a, b in tree if a == who and b != who}
            assert {number(name) for name in next_hops} == expected
            for destination, via in next_hops.items():
                first, rest = tree[who, number(via)], tree[number(via), number(destination)]
                assert first[0] == 1, "the next hop is a neighbour"
                # Both least hops and, among those, least cost.
                whole = (first[0] + rest[0], first[1] + rest[1])
                assert whole == tree[who, number(destination)]


@given(graphs())
@settings(deadline=None)
def test_who_follows_the_next_hops_arrives(graph: Graph) -> None:
    tables = [graph.table(who) for who in range(graph.peers)]
    for who, table in enumerate(tables):
        for destination, count in table.hops.items():
            at, steps = who, 0
            while at != number(destination):
                at = number(tables[at].unicast[destination])
                steps += 1
                assert steps <= count
            assert steps == count
        for destination in table.relay:
            visited = [who]
            while visited[-1] != number(destination):
                visited.append(number(tables[visited[-1]].relay[destination]))
                assert len(visited) == len(set(visited)), "a loop"


@given(graphs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_records_and_claims_does_not_matter(graph: Graph, random: Random) -> None:
    shuffled = list(graph.claims.items())
    random.shuffle(shuffled)
    again = Graph(graph.peers, dict(shuffled))
    records = dict(reversed(again.records().items()))
    assert compute_routes(synthetic_name(0), records) == graph.table(0)


def table(claims: Claims, peers: int = 4) -> RouteTable:
    return Graph(peers, claims).table(0)


def both(*pairs: tuple[int, int], cost: int = 1, direct: bool = True) -> Claims:
    return {p: (cost, direct) for a, b in pairs for p in ((a, b), (b, a))}


def test_both_ends_must_claim_a_connection() -> None:
    claims = both((0, 1), (1, 2))
    del claims[2, 1]
    assert set(table(claims).hops) == {synthetic_name(0), synthetic_name(1)}
    # Nobody draws traffic by claiming what the other end does not.
    assert synthetic_name(3) not in table({**both((0, 1)), (3, 0): (0, True)}).unicast


def test_the_worse_of_two_claims_counts() -> None:
    """A peer cannot make itself cheaper than its neighbours measure it."""
    claims = both((0, 1), (0, 2), (1, 3), (2, 3), cost=10)
    claims[2, 3] = claims[2, 0] = (0, True)
    assert table(claims).unicast[synthetic_name(3)] == synthetic_name(1)
    claims[3, 2] = claims[0, 2] = (9, True)
    assert table(claims).unicast[synthetic_name(3)] == synthetic_name(2)


def test_fewer_hops_win_over_any_cost() -> None:
    claims = {**both((0, 1), (1, 2)), **both((0, 2), cost=60_000)}
    assert table(claims).unicast[synthetic_name(2)] == synthetic_name(2)


def test_relays_need_a_data_path_at_every_hop() -> None:
    claims = {**both((0, 1), (1, 2)), **both((2, 3), direct=False)}
    routes = table(claims)
    assert routes.relay == {
        synthetic_name(1): synthetic_name(1),
        synthetic_name(2): synthetic_name(1),
    }
    assert routes.unicast[synthetic_name(3)] == synthetic_name(1)


def test_a_long_chain() -> None:
    peers = 300
    routes = table(both(*itertools.pairwise(range(peers))), peers)
    assert routes.hops[synthetic_name(peers - 1)] == peers - 1
    assert set(routes.unicast.values()) == {synthetic_name(1)}


def test_the_version_is_the_callers_and_the_table_frozen() -> None:
    routes = compute_routes(synthetic_name(0), {synthetic_name(0): claim([])}, 7)
    assert routes == RouteTable(7, {}, {}, {synthetic_name(0): 0})
    assert not hasattr(routes.unicast, "__setitem__")
