"""What does the router look like? A frozen snapshot of the engine for status and report."""

from __future__ import annotations

from weave_py.link.link import Link
from weave_py.link.outlet import Way
from weave_py.link.path import Path
from weave_py.mesh.connection import Connection, State
from weave_py.model.names import PeerName
from weave_py.model.snapshot import (
    ConnectionView,
    PathView,
    PeerConnectionView,
    PeerView,
    RouterSnapshot,
)
from weave_py.router.engine import Engine


def snapshot(
    engine: Engine,
    *,
    mtu: int,
    trusted_subnets: tuple[str, ...],
    counters: dict[str, int],
    now: float,
) -> RouterSnapshot:
    """`mtu` is that of the inner network, `counters` are the road's."""
    return RouterSnapshot(
        name=engine.name,
        nickname=engine.nickname,
        uid=engine.uid,
        port=engine.port,
        encryption=engine.is_secret,
        discovery=engine.settings.discovery,
        conn_limit=engine.settings.conn_limit,
        trusted_subnets=trusted_subnets,
        targets=engine.targets.configured,
        connections=(*_live(engine, mtu), *_dead(engine, now)),
        peers=tuple(_peers(engine)),
        paths=tuple(_path(engine, link) for link in sorted(engine.links, key=lambda k: k.peer)),
        routes=engine.topology.routes,
        terminations=engine.terminations,
        counters={
            **counters,
            "topology_records_quarantined": engine.topology.quarantined,
            "unicasts_undeliverable": engine.unicasts_undeliverable,
        },
    )


def _nickname(engine: Engine, name: PeerName) -> str:
    record = engine.topology.record(name)
    return record.nickname if record else ""


def _live(engine: Engine, mtu: int) -> list[ConnectionView]:
    views = []
    for stream in engine.neighbours:
        connection = stream.connection
        if connection is None or connection.state is State.CLOSED:
            continue
        link = engine.links.get(stream.peer) if stream.peer else None
        has_way = link is not None and link.outlet.way is not None
        views.append(
            ConnectionView(
                address=connection.remote.text,
                outbound=connection.outbound,
                state="established" if has_way else "pending",
                peer=stream.peer,
                nickname=connection.hello.nickname if connection.hello else "",
                mtu=mtu if has_way else None,
                rtt=connection.rtt,
            )
        )
    return views


def _dead(engine: Engine, now: float) -> list[ConnectionView]:
    live = {
        s.target: s.connection for s in engine.neighbours if s.connection and s.target is not None
    }
    views = []
    for attempt in engine.targets.unconnected():
        if _is_shown(live.get(attempt.address)):
            continue
        state = "connecting"
        if not attempt.calling:
            state = "failed" if attempt.error else "connecting"
        elif attempt.error:
            state = "retrying"
        retry = None if attempt.retry_at is None else max(attempt.retry_at - now, 0.0)
        views.append(
            ConnectionView(
                address=attempt.address,
                outbound=True,
                state=state,
                error=attempt.error,
                retry_in=retry,
            )
        )
    return views


def _is_shown(connection: Connection | None) -> bool:
    return connection is not None and connection.state is not State.CLOSED


def _peers(engine: Engine) -> list[PeerView]:
    names = sorted([engine.name, *engine.topology.peers()])
    records = {name: r for name in names if (r := engine.topology.record(name)) is not None}
    claims = {name: {n.name for n in record.neighbours} for name, record in records.items()}
    views = []
    for name, record in records.items():
        connections = tuple(
            PeerConnectionView(
                name=n.name,
                nickname=_nickname(engine, n.name),
                address=n.address.text,
                outbound=n.outbound,
                established=name in claims.get(n.name, ()),
            )
            for n in record.neighbours
        )
        reachable = name in engine.topology.routes.hops or name == engine.name
        views.append(
            PeerView(
                name, record.nickname, record.uid, record.order.version, reachable, connections
            )
        )
    return views


def _path(engine: Engine, link: Link) -> PathView:
    path = link.paths.best
    epoch = link.session.current
    way = link.outlet.way
    reachable = link.peer in engine.topology.routes.hops
    return PathView(
        peer=link.peer,
        nickname=_nickname(engine, link.peer),
        kind=way.kind if way else "none",
        address=_address(engine, way),
        via=way.relay if way else None,
        rtt=path.rtt if path and way else None,
        loss=path.loss if path and way else 0.0,
        datagram_bytes=link.outlet.datagram_bytes,
        cipher=epoch.suite.text if epoch else "",
        why=_why(link, path, reachable),
        counters=link.outlet.counters.as_dict(),
    )


def _why(link: Link, path: Path | None, reachable: bool) -> str:
    if link.outlet.way is None and not reachable:
        return "peer-unreachable"
    if link.session.current is None:
        return "session-handshake"
    return link.paths.why


def _address(engine: Engine, way: Way | None) -> str:
    if way is None:
        return ""
    if way.endpoint is not None:
        return way.endpoint.text
    relay = engine.links.get(way.relay) if way.relay else None
    next_way = relay.outlet.way if relay else None
    return next_way.endpoint.text if next_way and next_way.endpoint else ""
