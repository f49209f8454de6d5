"""What must be true of a network that was left alone for a while? Each check says what is not."""

from __future__ import annotations

from collections.abc import Iterator

from weave_py.model.names import PeerName
from weave_py.sim.host import SimHost
from weave_py.sim.network import Network

MOST_SHOWN = 3  # violations of one kind


def topology_is_true(network: Network) -> Iterator[str]:
    """Everybody reaches exactly those that are alive, and holds the latest record of each."""
    truth = {h.name: (h.engine.uid, h.engine.ourself.record.order) for h in network.alive}
    for host in network.alive:
        topology = host.engine.topology
        reached = topology.routes.hops.keys()
        if reached != truth.keys():
            missing, extra = len(truth.keys() - reached), len(reached - truth.keys())
            yield f"{host.engine.nickname} misses {missing} peers and reaches {extra} dead ones"
            continue
        for name, latest in truth.items():
            record = topology.record(name)
            if record is None or (record.uid, record.order) != latest:
                yield f"{host.engine.nickname} holds an old record of {network.nick(name)}"
                break


def unicast_has_no_loops(network: Network) -> Iterator[str]:
    """Every next hop is nearer to the destination, by its own reckoning: so all ways end there,
    and are shortest ones."""
    by_name = {host.name: host for host in network.alive}
    for host in network.alive:
        routes = host.engine.topology.routes
        for destination, via in routes.unicast.items():
            there = by_name.get(via)
            if there is None:
                yield f"{host.engine.nickname} goes through one who is dead"
                break
            rest = there.engine.topology.routes.hops.get(destination)
            if rest is None or rest != routes.hops[destination] - 1:
                next_hop = f"{host.engine.nickname} to {network.nick(destination)}"
                yield f"{next_hop} through {there.engine.nickname} comes no nearer"
                break


def relaying_has_no_loops(network: Network) -> Iterator[str]:
    """Whoever follows the next hops for relayed datagrams arrives."""
    tables = {host.name: host.engine.topology.routes.relay for host in network.alive}
    for destination in tables:
        good: set[PeerName] = {destination}
        for source, table in tables.items():
            if destination not in table:
                continue
            seen: set[PeerName] = set()
            at = source
            while at not in good:
                via = tables[at].get(destination)
                if via is None or via in seen or via not in tables:
                    yield f"{network.nick(source)} to {network.nick(destination)}: no arrival"
                    return
                seen.add(at)
                at = via
            good |= seen


def control_graph_is_sound(network: Network, conn_limit: int) -> Iterator[str]:
    """Bounded, agreed on by both ends, and in one piece."""
    by_name = {host.name: host for host in network.alive}
    neighbours = {h.name: sorted(h.engine.neighbours.names()) for h in network.alive}
    for name, others in neighbours.items():
        nick = by_name[name].engine.nickname
        if conn_limit and len(others) > conn_limit:
            yield f"{nick} has {len(others)} connections, more than {conn_limit}"
        if any(name not in neighbours.get(other, ()) for other in others):
            yield f"{nick} has a connection that the other end does not have"
    first = next(iter(neighbours))
    reached, queue = {first}, [first]
    while queue:
        for other in neighbours.get(queue.pop(), ()):
            if other not in reached:
                reached.add(other)
                queue.append(other)
    if len(reached & neighbours.keys()) < len(neighbours):
        yield f"the control graph is in pieces: {len(reached)} of {len(neighbours)} in one"


def nothing_was_refused(network: Network) -> Iterator[str]:
    """All are honest here: a record that somebody refused is our own fault."""
    for host in network.alive:
        if host.engine.topology.quarantined:
            yield f"{host.engine.nickname} refused {host.engine.topology.quarantined} records"


def nothing_leaks(network: Network) -> Iterator[str]:
    """Every stream is a neighbour's or a call to a configured target; every key is a link's."""
    for host in network.alive:
        engine = host.engine
        streams = {s.number for s in engine.neighbours if s.connection is not None}
        if host.streams.keys() != streams:
            yield f"{engine.nickname} has {len(host.streams)} streams, needs {len(streams)}"
        links = {link.peer for link in engine.links}
        if not host.egresses.keys() <= links:
            yield f"{engine.nickname} has ports of peers without a link"
        if len(host.ingresses) > 3 * len(links):
            yield f"{engine.nickname} holds {len(host.ingresses)} keys for {len(links)} links"


def sound(network: Network, conn_limit: int) -> list[str]:
    """All of the above, a few violations of each kind."""
    kinds = (
        topology_is_true(network),
        unicast_has_no_loops(network),
        relaying_has_no_loops(network),
        control_graph_is_sound(network, conn_limit),
        nothing_was_refused(network),
        nothing_leaks(network),
    )
    return [text for kind in kinds for _, text in zip(range(MOST_SHOWN), kind, strict=False)]


def links_to(host: SimHost, others: list[SimHost], now: float) -> None:
    """Frames are going to be sent to these."""
    for other in others:
        if other is not host:
            host.engine.link_to(other.name, now)
    host.carry_out()
