"""Where does a datagram go next? The rule in examples, and what holds whatever it is fed."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import synthetic_name
from weave_py.link.egress import Egress, NextHop
from weave_py.link.forwarding import Adjacency, Drop, Forwarding, hops_left
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.wire.sleeve import HOP_LIMIT

HERE, THERE, RELAY, NEIGHBOUR = (synthetic_name(n) for n in range(4))
SOMEWHERE = Endpoint("192.0.2.99", 6783)


def endpoint(peer: PeerName) -> Endpoint:
    return Endpoint(f"192.0.2.{peer[-1]}", 6783)


def straight(peer: PeerName) -> NextHop:
    return NextHop(endpoint(peer), None)


class Router:
    """The rule, and what it is told."""

    def __init__(self) -> None:
        self.egresses: dict[PeerName, Egress] = {}
        self.connected: set[PeerName] = set()
        self.rule = Forwarding(self._endpoint_of, self.connected.__contains__)

    def _endpoint_of(self, peer: PeerName) -> Endpoint | None:
        egress = self.egresses.get(peer)
        return None if egress is None else egress.endpoint

    def use(self, peer: PeerName, next_hop: NextHop | None) -> None:
        self.egresses.setdefault(peer, Egress(peer)).use(next_hop, 1472)

    def routes(self, relay: dict[PeerName, PeerName], unicast: dict[PeerName, PeerName]) -> None:
        self.rule.routes = RouteTable(relay=relay, unicast=unicast)

    def onward(self, came_from: Endpoint | PeerName | None = SOMEWHERE) -> Adjacency | Drop:
        return self.rule.onward(THERE, 7, came_from)


@pytest.fixture
def router() -> Router:
    """All ways are open."""
    made = Router()
    made.routes({THERE: RELAY}, {THERE: NEIGHBOUR})
    for peer in (THERE, RELAY, NEIGHBOUR):
        made.use(peer, straight(peer))
        made.connected.add(peer)
    return made


class TestOrder:
    def test_one_way_after_the_other_closes(self, router: Router) -> None:
        assert router.onward() == endpoint(THERE)
        router.use(THERE, NextHop(None, RELAY))
        assert router.onward() == endpoint(RELAY)
        router.use(RELAY, None)
        assert router.onward() == RELAY, "inside TCP to the data routes' neighbour"
        router.connected.discard(RELAY)
        assert router.onward() is Drop.NO_ROUTE, "the control routes are for where data's are not"
        router.routes({}, {THERE: NEIGHBOUR})
        assert router.onward() == endpoint(NEIGHBOUR)
        router.use(NEIGHBOUR, NextHop(None, NEIGHBOUR, tcp=True))
        assert router.onward() == NEIGHBOUR
        router.routes({}, {})
        assert router.onward() is Drop.NO_ROUTE

    def test_never_back_by_udp_nor_inside_tcp(self, router: Router) -> None:
        assert router.onward(endpoint(THERE)) is Drop.NO_ROUTE
        router.use(THERE, None)
        assert router.onward(endpoint(RELAY)) is Drop.NO_ROUTE
        router.use(RELAY, None)
        assert router.onward(RELAY) is Drop.NO_ROUTE
        assert router.onward(NEIGHBOUR) == RELAY

    def test_where_our_own_begin(self, router: Router) -> None:
        first = router.rule.first_hop
        assert first(straight(THERE)) == endpoint(THERE)
        assert first(NextHop(None, RELAY)) == endpoint(RELAY)
        assert first(NextHop(None, RELAY, tcp=True)) == RELAY
        router.use(RELAY, None)
        assert first(NextHop(None, RELAY)) == RELAY, "what UDP reached until now"
        router.connected.clear()
        assert first(NextHop(None, RELAY)) is None
        assert first(NextHop(None, RELAY, tcp=True)) is None
        assert first(NextHop(None, None)) is None


@pytest.mark.parametrize(
    ("hop_limit", "left"),
    [(0, None), (1, None), (2, 1), (HOP_LIMIT, HOP_LIMIT - 1), (255, HOP_LIMIT - 1)],
)
def test_the_hop_limit(router: Router, hop_limit: int, left: int | None) -> None:
    found = router.rule.onward(THERE, hops_left(hop_limit), None)
    assert found == (Drop.HOP_LIMIT if left is None else endpoint(THERE))
    if left is not None:
        assert hops_left(hop_limit) == left


def test_each_reason_has_its_counter() -> None:
    for drop, name in ((Drop.HOP_LIMIT, "relay_hop_limit"), (Drop.NO_ROUTE, "relay_no_route")):
        counters = DatapathCounters()
        drop.count(counters, 3)
        assert {n: c for n, c in counters.as_dict().items() if c} == {name: 3}
    assert len(Drop) == 2


# --- a whole network -------------------------------------------------------------------------

SIZE = 7
NAMES = [synthetic_name(n) for n in range(SIZE)]
PAIRS = list(combinations(NAMES, 2))
pairs = st.sets(st.sampled_from(PAIRS))


def tables(edges: set[tuple[PeerName, PeerName]]) -> dict[PeerName, dict[PeerName, PeerName]]:
    """Everybody's next hops by fewest hops, the lower name first: all follow the same records."""
    near = {name: sorted({a if b == name else b for a, b in edges if name in (a, b)})
            for name in NAMES}  # fmt: skip
    found: dict[PeerName, dict[PeerName, PeerName]] = {name: {} for name in NAMES}
    for destination in NAMES:
        reached, level = {destination}, [destination]
        while level:
            following: list[PeerName] = []
            for nearer in level:
                for name in near[nearer]:
                    if name not in reached:
                        reached.add(name)
                        found[name][destination] = nearer
                        following.append(name)
            level = sorted(following)
    return found


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    edges=pairs, data=pairs, udp=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
)
def test_while_routes_agree_everything_arrives_and_nobody_sees_it_twice(
    edges: set[tuple[PeerName, PeerName]],
    data: set[tuple[PeerName, PeerName]],
    udp: set[tuple[PeerName, PeerName]],
) -> None:
    """Data routes over some of the connections; who reaches whom straight just now is another
    matter (`udp`: one may reach the other, and not the other way round)."""
    relay, unicast = tables(edges & data), tables(edges)
    routers = {name: Router() for name in NAMES}
    for name, router in routers.items():
        router.routes(relay[name], unicast[name])
        router.connected |= {b if a == name else a for a, b in edges if name in (a, b)}
        for other in NAMES:
            router.use(other, straight(other) if (name, other) in udp else None)
    by_endpoint = {endpoint(name): name for name in NAMES}
    for begin in NAMES:
        for destination in NAMES:
            if begin == destination:
                continue
            at, came_from, seen, hop_limit = begin, None, [begin], HOP_LIMIT
            while at != destination:
                hop_limit = hops_left(hop_limit)
                hop = routers[at].rule.onward(destination, hop_limit, came_from)
                if isinstance(hop, Drop):
                    break
                came_from = endpoint(at) if isinstance(hop, Endpoint) else at
                at = by_endpoint[hop] if isinstance(hop, Endpoint) else hop
                assert at not in seen, "in a circle"
                seen.append(at)
            if destination in unicast[begin]:
                assert at == destination


PEERS = NAMES[1:]
table = st.dictionaries(st.sampled_from(PEERS), st.sampled_from(PEERS))
ways = st.one_of(
    st.none(),
    st.sampled_from(PEERS).map(straight),
    st.builds(NextHop, st.none(), st.sampled_from(PEERS), st.booleans()),
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    relay=table,
    unicast=table,
    egresses=st.dictionaries(st.sampled_from(PEERS), ways),
    connected=st.sets(st.sampled_from(PEERS)),
    destination=st.sampled_from(PEERS),
    hop_limit=st.integers(0, 255),
    came_from=st.one_of(st.sampled_from(PEERS), st.sampled_from(PEERS).map(endpoint)),
)
def test_whatever_it_is_fed(
    relay: dict[PeerName, PeerName],
    unicast: dict[PeerName, PeerName],
    egresses: dict[PeerName, NextHop | None],
    connected: set[PeerName],
    destination: PeerName,
    hop_limit: int,
    came_from: Adjacency,
) -> None:
    """Never back, never without a hop left, only to where there is a way."""
    router = Router()
    router.routes(relay, unicast)
    router.connected |= connected
    for peer, next_hop in egresses.items():
        router.use(peer, next_hop)
    left = hops_left(hop_limit)
    assert left < min(hop_limit, HOP_LIMIT) or hop_limit == 0
    hop = router.rule.onward(destination, left, came_from)
    assert hop != came_from
    assert (hop is Drop.HOP_LIMIT) == (hop_limit <= 1)
    if isinstance(hop, Endpoint):
        assert hop in {n.endpoint for n in egresses.values() if n is not None}
    elif not isinstance(hop, Drop):
        assert hop in connected
        assert hop in (relay.get(destination), unicast.get(destination))
