"""Are islands those that hang together when one peer is taken away?"""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import claim, place, synthetic_name
from weave_py.mesh.components import components
from weave_py.mesh.spf import ShortestPathTree
from weave_py.model.names import PeerName
from weave_py.wire.topology import Neighbour, PeerRecord

PEERS = 9
US = synthetic_name(0)

Pairs = set[tuple[int, int]]
some_claims = st.sets(st.tuples(st.integers(0, PEERS - 1), st.integers(0, PEERS)), max_size=40)


def records_of(claims: Pairs) -> dict[PeerName, PeerRecord]:
    return {
        synthetic_name(who): claim(
            Neighbour(synthetic_name(other), 1, True, True, place(1))
            for claimant, other in sorted(claims)
            if claimant == who
        )
        for who in range(PEERS)
    }


@given(some_claims, st.booleans())
def test_the_same_island_means_that_they_reach_each_other(claims: Pairs, is_mutual: bool) -> None:
    if is_mutual:
        claims = claims | {(b, a) for a, b in claims if b < PEERS}
    records = records_of(claims)
    names = [synthetic_name(number) for number in range(PEERS + 1)]
    found = components(records, US, names)
    assert found.keys() == set(names[1:PEERS])
    without = {name: record for name, record in records.items() if name != US}
    for a, b in itertools.permutations(names[1:PEERS], 2):
        ways = ShortestPathTree(a, direct_only=False)
        ways.compute(without)
        assert (found[a] == found[b]) == (b in ways.hops)


@given(some_claims, st.sets(st.integers(1, PEERS - 1)))
def test_whoever_is_asked_for_is_found(claims: Pairs, asked: set[int]) -> None:
    records = records_of(claims)
    everybody = components(records, US, records.keys())
    some = [synthetic_name(number) for number in asked]
    found = components(records, US, some)
    assert found.keys() == set(some)
    for a, b in itertools.combinations(some, 2):
        assert (found[a] == found[b]) == (everybody[a] == everybody[b])
