"""What does the router look like? A frozen snapshot of the engine for status and report."""

from __future__ import annotations

from collections.abc import Mapping

from fastdp.path.inner_mtu import inner_mtu
from fastdp.path.values import FastState
from weave_py.link.egress import NextHop
from weave_py.link.link import Link
from weave_py.mesh.connection import Connection, State
from weave_py.model.fast import Carried
from weave_py.model.names import PeerName
from weave_py.model.snapshot import (
    MTU_MISMATCH,
    ConnectionView,
    FastView,
    PathView,
    PeerConnectionView,
    PeerView,
    RouterSnapshot,
)
from weave_py.router.candidates import is_symmetric
from weave_py.router.engine import Engine


def snapshot(
    engine: Engine,
    *,
    mtu: int,
    trusted_subnets: tuple[str, ...],
    counters: Mapping[str, int],
    now: float,
    carried: Mapping[PeerName, Carried] | None = None,
) -> RouterSnapshot:
    """`mtu` is that of the inner network, `counters` are the data plane's, `carried` tells what the
    kernel has carried for each peer."""
    carried = carried or {}
    links = sorted(engine.links, key=lambda link: link.peer)
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
        paths=tuple(_path(engine, link, carried.get(link.peer)) for link in links),
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
        counts = stream.peer is not None and engine.neighbours.of(stream.peer) is stream
        link = engine.links.get(stream.peer) if stream.peer and counts else None
        has_way = link is not None and link.egress.next_hop is not None
        is_fast = has_way and link is not None and _is_fast(engine, link)
        views.append(
            ConnectionView(
                address=connection.remote.text,
                outbound=connection.outbound,
                state="established" if has_way else "pending",
                peer=stream.peer,
                nickname=connection.hello.nickname if connection.hello else "",
                mtu=mtu if has_way else None,
                fits=None if link is None else _fits(engine, link),
                encrypted=not is_fast or (link is not None and _is_fast_encrypted(engine, link)),
                overlay="fastdp" if is_fast else _overlay(link),
                rtt=connection.rtt,
            )
        )
    return views


def _overlay(link: Link | None) -> str:
    """What carries a peer's frames, if the fast datapath does not."""
    next_hop = None if link is None else link.egress.next_hop
    return "tcp" if next_hop is not None and next_hop.tcp else "sleeve"


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


def _path(engine: Engine, link: Link, carried: Carried | None) -> PathView:
    path = link.paths.best
    epoch = link.session.current
    next_hop = link.egress.next_hop
    reachable = link.peer in engine.topology.routes.hops
    is_fast = _is_fast(engine, link)
    kind = next_hop.kind if next_hop else "none"
    cipher = epoch.suite.text if epoch else ""
    if is_fast:
        kind = "fastdp"
        cipher = "esp-aes-256-gcm" if _is_fast_encrypted(engine, link) else "none"
    return PathView(
        peer=link.peer,
        nickname=_nickname(engine, link.peer),
        kind=kind,
        address=_address(engine, next_hop),
        via=next_hop.relay if next_hop else None,
        rtt=path.rtt if path and next_hop else None,
        loss=path.loss if path and next_hop else 0.0,
        datagram_bytes=link.egress.datagram_bytes,
        fits=_fits(engine, link),
        cipher=cipher,
        peer_mtu=_peer_mtu(engine, link),
        why=",".join(filter(None, (_why(engine, link, reachable), _mismatch(engine, link)))),
        counters={**link.egress.counters.as_dict(), **_by_the_kernel(carried)},
        fast=_fast(engine, link),
    )


def _by_the_kernel(carried: Carried | None) -> dict[str, int]:
    carried = carried or Carried(0, 0, 0, 0)
    return {f"kernel_{name}": value for name, value in carried._asdict().items()}


def _fast(engine: Engine, link: Link) -> FastView | None:
    fast = engine.links.fast.paths.get(link.peer)
    return None if fast is None else FastView(fast.state, fast.why, fast.failure)


def _fits(engine: Engine, link: Link) -> int | None:
    """The inner MTU that VXLAN leaves of what passes between the two hosts."""
    if not link.paths.is_direct or not link.egress.datagram_bytes:
        return None
    return inner_mtu(link.egress.datagram_bytes, engine.links.fast.is_encrypted(link.peer))


def _peer_mtu(engine: Engine, link: Link) -> int | None:
    theirs = engine.links.fast.peer_mtu(link.peer)
    return None if theirs == engine.settings.mtu else theirs


def _mismatch(engine: Engine, link: Link) -> str:
    return "" if _peer_mtu(engine, link) is None else MTU_MISMATCH


def _is_fast(engine: Engine, link: Link) -> bool:
    fast = engine.links.fast.paths.get(link.peer)
    return fast is not None and fast.state is FastState.FAST


def _is_fast_encrypted(engine: Engine, link: Link) -> bool:
    fast = engine.links.fast.paths.get(link.peer)
    desired = fast.desired if fast is not None else None
    return desired is not None and desired.remote is not None and desired.remote.esp is not None


def _why(engine: Engine, link: Link, reachable: bool) -> str:
    """Reason codes, comma-separated: docs/paths.md says what they mean."""
    if link.egress.next_hop is None and not reachable:
        return "peer-unreachable"
    if link.session.current is None:
        return "session-handshake"
    if link.paths.is_direct:
        fast = engine.links.fast.paths.get(link.peer)
        return fast.why if fast is not None else ""
    direct, *detour = link.paths.why.split(",")
    if direct:
        direct = _why_not_direct(engine, link.peer) or direct
    return ",".join([direct, *detour])


def _why_not_direct(engine: Engine, peer: PeerName) -> str:
    """What keeps datagrams from going straight, if it can be told from what all of us say."""
    if not engine.links.direct and sum(1 for link in engine.links if link.session.current) > 1:
        return "udp-blocked"
    record = engine.topology.record(peer)
    if record is None:
        return ""
    others = [n for n in record.neighbours if n.name != engine.name]
    if others and not any(n.direct for n in others):
        return "peer-udp-blocked"
    if is_symmetric(engine.ourself.record):
        return "symmetric-nat"
    return "peer-symmetric-nat" if is_symmetric(record) else ""


def _address(engine: Engine, next_hop: NextHop | None) -> str:
    if next_hop is None:
        return ""
    if next_hop.endpoint is not None:
        return next_hop.endpoint.text
    relay = engine.links.get(next_hop.relay) if next_hop.relay else None
    next_way = relay.egress.next_hop if relay else None
    return next_way.endpoint.text if next_way and next_way.endpoint else ""
