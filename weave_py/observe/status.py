"""What is a router doing, for people? Snapshots to the text of `weave-py status`.

The layouts are Weave Net's, so that eyes and scripts that know them keep working: labels end
in column 15, counts and columns are written as there. What Weave did not have follows in lines
and tables of our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from weave_py import __version__
from weave_py.model.names import PeerName, name_text
from weave_py.model.snapshot import (
    CONNECTION_STATES,
    ConnectionView,
    PathView,
    PeerView,
    RouterSnapshot,
)
from weave_py.observe.report import (
    PROTOCOL,
    ReportExtras,
    connection_attributes,
    connection_info,
)
from weave_py.observe.text import milliseconds, peer_text, percent, printable
from weave_py.wire.preface import MAX_VERSION, MIN_VERSION

PATH_COLUMNS = (
    "PEER",
    "KIND",
    "VIA",
    "ADDRESS",
    "RTT",
    "LOSS",
    "DATAGRAM",
    "CIPHER",
    "WHY",
)


def status(snapshot: RouterSnapshot, extras: ReportExtras) -> str:
    """The overview, one `Label: value` a line."""
    versions = f"{MIN_VERSION}" if MIN_VERSION == MAX_VERSION else f"{MIN_VERSION}..{MAX_VERSION}"
    router = (
        ("Service", "router"),
        ("Protocol", f"{PROTOCOL} {versions}"),
        ("Name", peer_text(snapshot.name, snapshot.nickname)),
        ("Encryption", _enabled(snapshot.encryption)),
        ("PeerDiscovery", _enabled(snapshot.discovery)),
        ("Targets", str(len(snapshot.targets))),
        ("Connections", _connection_counts(snapshot.connections)),
        ("Peers", _peer_counts(snapshot.peers)),
        ("TrustedSubnets", ", ".join(snapshot.trusted_subnets) or "none"),
    )
    ours = (
        ("Overlay", _overlays(snapshot)),
        ("Paths", _counts([path.kind for path in snapshot.paths])),
        ("MTU", str(extras.mtu)),
        ("Bridge", printable(extras.bridge)),
        ("HostFirewall", printable(extras.firewall.text)),
        ("FastDatapath", extras.abilities.fast_datapath),
        ("Offloads", extras.abilities.offloads),
        ("Ciphers", extras.abilities.ciphers or "unknown"),
    )
    return f"{_labelled((('Version', __version__),))}\n{_labelled(router)}{_labelled(ours)}"


def _labelled(lines: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{label:>15}: {value}\n" for label, value in lines)


def _enabled(value: bool) -> str:
    return "enabled" if value else "disabled"


def _counts(words: Sequence[str], order: Sequence[str] = ()) -> str:
    """`3 (2 established, 1 failed)`; the words in `order` first, then by the alphabet."""
    counts = Counter(words)
    known = [word for word in order if word in counts]
    listed = known + sorted(set(counts) - set(known))
    detail = ", ".join(f"{counts[word]} {printable(word)}" for word in listed)
    return f"{len(words)} ({detail})" if detail else "0"


def _connection_counts(connections: Sequence[ConnectionView]) -> str:
    return _counts([connection.state for connection in connections], CONNECTION_STATES)


def _peer_counts(peers: Sequence[PeerView]) -> str:
    """Counts what every peer claims, as Weave does: a link that works is counted twice."""
    claimed = [connection.established for peer in peers for connection in peer.connections]
    established, pending = claimed.count(True), claimed.count(False)
    parts = [f"{established} established"] if established else []
    parts += [f"{pending} pending"] if pending else []
    return f"{len(peers)} (with {', '.join(parts)} connections)" if parts else f"{len(peers)}"


def _overlays(snapshot: RouterSnapshot) -> str:
    live = {c.overlay for c in snapshot.connections if c.state == "established"}
    return ", ".join(sorted(live)) or "sleeve"


def targets(snapshot: RouterSnapshot) -> str:
    """One target a line, as the user typed it."""
    return "".join(f"{printable(target)}\n" for target in snapshot.targets)


def connections(snapshot: RouterSnapshot) -> str:
    """One control connection, or address we try, a line."""
    return "".join(_connection_line(c, snapshot.encryption) for c in snapshot.connections)


def _arrow(outbound: bool) -> str:
    return "->" if outbound else "<-"


def _connection_line(connection: ConnectionView, encryption: bool) -> str:
    info = printable(connection_info(connection, encryption))
    attributes = " ".join(
        f"{key}={milliseconds(connection.rtt) if key == 'rtt' else _attribute(value)}"
        for key, value in connection_attributes(connection).items()
        if key != "name"
    )
    address = printable(connection.address)
    arrow = _arrow(connection.outbound)
    return f"{arrow} {address:<21} {connection.state:<11} {info} {attributes}".rstrip() + "\n"


def _attribute(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def peers(snapshot: RouterSnapshot) -> str:
    """Every peer, and below it the control connections it claims."""
    return "".join(_peer_lines(peer) for peer in snapshot.peers)


def _peer_lines(peer: PeerView) -> str:
    note = "" if peer.reachable else " - unreachable!"
    lines = [f"{peer_text(peer.name, peer.nickname)}{note}\n"]
    for connection in peer.connections:
        other = peer_text(connection.name, connection.nickname)
        state = "established" if connection.established else "pending"
        arrow = _arrow(connection.outbound)
        lines.append(f"   {arrow} {printable(connection.address):<21} {other:<37} {state}\n")
    return "".join(lines)


def paths(snapshot: RouterSnapshot) -> str:
    """How our frames reach every peer: a table, its first line the column names."""
    nicknames = {peer.name: peer.nickname for peer in snapshot.peers}
    rows = [PATH_COLUMNS, *(_path_cells(path, nicknames) for path in snapshot.paths)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _path_cells(path: PathView, nicknames: dict[PeerName, str]) -> tuple[str, ...]:
    works = path.kind != "none"
    return (
        peer_text(path.peer, path.nickname),
        path.kind,
        "-" if path.via is None else _via(path.via, nicknames),
        printable(path.address) or "-",
        milliseconds(path.rtt),
        percent(path.loss) if works else "-",
        str(path.datagram_bytes) if path.datagram_bytes else "-",
        printable(path.cipher) or "-",
        printable(path.why) or "-",
    )


def _via(via: PeerName, nicknames: dict[PeerName, str]) -> str:
    return peer_text(via, nicknames[via]) if via in nicknames else name_text(via)
