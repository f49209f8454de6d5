"""Do frames go where they should? Trials on a network at rest, with frames of our own.

* Directness: pairs drawn at random, mostly without a control connection with each other, ask for a
  data path and have to get a direct one.
* Broadcast: every member of a group sends one, as the bridge does: a copy to every port. Everybody
  else has to get each exactly once.
* Loops: route tables are bent into a circle, as no records could make them. What is caught in it
  has to die by its hop limit, and only there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from types import MappingProxyType

from weave_py.model.names import NAME_BYTES, PeerName
from weave_py.model.routes import RouteTable
from weave_py.sim.host import SimHost
from weave_py.sim.invariants import links_to
from weave_py.sim.network import Network
from weave_py.wire.messages import Unicast
from weave_py.wire.sleeve import HOP_LIMIT, relay_prefix

PATIENCE = 10.0  # seconds for a session and a proven path: on a lossy wire some tries get lost
FRAMES = 20
TRIES = 3

Ring = tuple[SimHost, SimHost, SimHost]


def directness(network: Network, pairs: int) -> tuple[list[str], int]:
    """(Violations, pairs that have no control connection)."""
    dice, alive = network.dice, network.alive
    drawn = [tuple(dice.sample(alive, 2)) for _ in range(pairs)]
    for a, b in drawn:
        links_to(a, [b], network.now)
    strangers = sum(b.name not in a.engine.neighbours.names() for a, b in drawn)
    _wait(network, lambda: all(_is_direct(a, b) and _is_direct(b, a) for a, b in drawn))
    return [
        f"{a.engine.nickname} has no direct path to {b.engine.nickname}"
        for a, b in drawn
        if not (_is_direct(a, b) and _is_direct(b, a))
    ], strangers


def broadcast(network: Network, group: list[SimHost], is_lossy: bool) -> Iterator[str]:
    """Everybody in the group to all the others. On a lossy wire a copy may be missing: we do not
    send again what containers send; but none may come twice, or to the wrong port."""
    for host in group:
        links_to(host, group, network.now)
    _wait(network, lambda: all(_is_direct(a, b) for a in group for b in group if a is not b))
    sent: dict[bytes, SimHost] = {}
    for host in group:
        label = network.dice.randbytes(8)
        sent[label] = host
        for peer in list(host.egresses):
            host.send_data(peer, label + b"broadcast")
    network.run(1.0)
    for host in network.alive:
        came = Counter((a.payload[:8], a.peer) for a in host.arrivals if a.payload[:8] in sent)
        for (label, peer), times in came.items():
            nick = sent[label].engine.nickname
            if times > 1:
                yield f"{host.engine.nickname} got the broadcast of {nick} {times} times"
            if peer != sent[label].name:
                yield f"{host.engine.nickname} got the broadcast of {nick} from another"
        missing = [m for m, h in sent.items() if h is not host and (m, h.name) not in came]
        if host in group and missing and not is_lossy:
            yield f"{host.engine.nickname} missed {len(missing)} broadcasts"


def loops(network: Network, is_lossy: bool) -> Iterator[str]:
    """Three neighbours send what is for somebody whom nobody knows in a circle, both datagrams and
    messages."""
    ring = _triangle(network)
    if ring is None:
        return
    for _ in range(TRIES):
        at_rest = _stirring(network, ring)
        relayed, spent = _relayed(ring), _spent(ring)
        tables = _catch(network, ring)
        meanwhile = _stirring(network, ring)
        if _relayed(ring) - relayed > FRAMES * HOP_LIMIT:
            yield f"{FRAMES} looping datagrams were passed on {_relayed(ring) - relayed} times"
        if meanwhile > at_rest + FRAMES * HOP_LIMIT + _slack(at_rest):
            yield f"{FRAMES} looping messages made {meanwhile - at_rest} messages"
        if not _settles(network, ring, at_rest):
            yield "something still goes round"
        if _spent(ring) > spent or is_lossy:
            return
        if [host.forwarding.routes for host in ring] == tables:
            yield "no looping datagram ended by its hop limit"
            return
        # Somebody was just forgotten, say, and new tables were made: no loop any more. Again.


def _catch(network: Network, ring: Ring) -> list[RouteTable]:
    """Bend the tables and let frames go round; the bent tables."""
    nobody = PeerName(network.dice.randbytes(NAME_BYTES))
    for host, via in zip(ring, (*ring[1:], ring[0]), strict=True):
        _bend(host, nobody, via)
    tables = [host.forwarding.routes for host in ring]
    for _ in range(FRAMES):
        ring[0].on_datagram(relay_prefix(nobody) + b"caught in a circle", None)
        message = Unicast("drill", ring[0].name, nobody, HOP_LIMIT, b"round and round")
        ring[0].engine.send_unicast(message)
    ring[0].carry_out()
    return tables


def _settles(network: Network, ring: Ring, at_rest: int) -> bool:
    """Whether it is as quiet as before soon: what was lost on the way is sent again, later."""
    until = network.now + PATIENCE
    while network.now < until:
        before, later = _relayed(ring), _stirring(network, ring)
        if later <= at_rest + _slack(at_rest) and _relayed(ring) - before <= FRAMES:
            return True
    return False


def _slack(messages: int) -> int:
    """Heartbeats more or less fall into a period, and news may; but what goes round for ever is
    passed on a hundred times a second, each of FRAMES."""
    return messages // 2 + 200


def _stirring(network: Network, hosts: Ring) -> int:
    """Messages that these send within a while in which anything caught in a loop has ended."""
    before = sum(host.messages for host in hosts)
    network.run(2.0)
    return sum(host.messages for host in hosts) - before


def _triangle(network: Network) -> Ring | None:
    """Three peers that are neighbours of each other and have direct paths."""
    by_name = {host.name: host for host in network.alive}
    near = {name: host.engine.neighbours.names() for name, host in by_name.items()}
    for a in sorted(near):
        for b in sorted(near[a]):
            for c in sorted(near[a] & near.get(b, frozenset())):
                ring = by_name[a], by_name[b], by_name[c]
                if all(_is_direct(x, y) for x in ring for y in ring if x != y):
                    return ring
    return None


def _wait(network: Network, fact: Callable[[], bool]) -> None:
    """Until it is so, or patience ends."""
    until = network.now + PATIENCE
    while not fact() and network.now < until:
        network.run(0.1)


def _bend(host: SimHost, destination: PeerName, via: SimHost) -> None:
    routes = host.engine.topology.routes
    unicast = MappingProxyType({**routes.unicast, destination: via.name})
    relay = MappingProxyType({**routes.relay, destination: via.name})
    bent = RouteTable(routes.version, unicast, relay, routes.hops)
    host.engine.topology.routes = host.forwarding.routes = bent


def _relayed(hosts: Ring) -> int:
    return sum(host.counters.datagrams_relayed for host in hosts)


def _spent(hosts: Ring) -> int:
    return sum(host.counters.relay_hop_limit for host in hosts)


def _is_direct(a: SimHost, b: SimHost) -> bool:
    next_hop = a.way_to(b)
    return next_hop is not None and next_hop.kind == "direct"
