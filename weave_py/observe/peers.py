"""Who is in the network, and which connections does each claim?"""

from __future__ import annotations

from collections.abc import Iterable

from weave_py.model.names import name_text
from weave_py.model.snapshot import PeerConnectionView, PeerView, RouterSnapshot
from weave_py.observe.section import Json, Labelled, Metric, Section
from weave_py.observe.text import arrow, peer_text, printable


def text(snapshot: RouterSnapshot) -> str:
    """Every peer, and below it the control connections it claims."""
    return "".join(_peer_lines(peer) for peer in snapshot.peers)


def _peer_lines(peer: PeerView) -> str:
    note = "" if peer.reachable else " - unreachable!"
    lines = [f"{peer_text(peer.name, peer.nickname)}{note}\n"]
    for connection in peer.connections:
        other = peer_text(connection.name, connection.nickname)
        state = "established" if connection.established else "pending"
        way, address = arrow(connection.outbound), printable(connection.address)
        lines.append(f"   {way} {address:<21} {other:<37} {state}\n")
    return "".join(lines)


def json(snapshot: RouterSnapshot) -> list[Json]:
    return [_peer(peer) for peer in snapshot.peers]


def _peer(peer: PeerView) -> Json:
    return {
        "Name": name_text(peer.name),
        "NickName": peer.nickname,
        "UID": str(peer.uid),
        "Version": peer.version,
        "Reachable": peer.reachable,
        "Connections": [_peer_connection(connection) for connection in peer.connections],
    }


def _peer_connection(connection: PeerConnectionView) -> Json:
    return {
        "Name": name_text(connection.name),
        "NickName": connection.nickname,
        "Address": connection.address,
        "Outbound": connection.outbound,
        "Established": connection.established,
    }


def _by_reach(snapshot: RouterSnapshot) -> Iterable[Labelled]:
    reachable = sum(peer.reachable for peer in snapshot.peers)
    return [(("yes",), reachable), (("no",), len(snapshot.peers) - reachable)]


PEERS = Metric(
    "weave_peers", "gauge", "Peers of the network, this one included.", ("reachable",), _by_reach
)

SECTION = Section(
    "peers",
    "Peers",
    "Every peer of the network, and the connections it claims.",
    text,
    json,
    (PEERS,),
)
