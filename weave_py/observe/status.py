"""What is a router doing, for people? Snapshots to the overview of `weave-py status`.

The layouts are Weave Net's, so that eyes and scripts that know them keep working: labels end
in column 15, counts and columns are written as there. What Weave did not have follows in lines
and tables of our own. (The tables: `observe.sections`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from weave_py import __version__
from weave_py.model.snapshot import (
    CONNECTION_STATES,
    MTU_MISMATCH,
    ConnectionView,
    PeerView,
    RouterSnapshot,
)
from weave_py.observe.report import PROTOCOL, ReportExtras
from weave_py.observe.text import peer_text, printable
from weave_py.wire.preface import MAX_VERSION, MIN_VERSION


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
        ("MTU", f"{extras.mtu}{_mtu_of_others(snapshot)}"),
        ("Bridge", printable(extras.bridge)),
        ("MACs", str(extras.mac_count)),
        ("HostFirewall", printable(extras.firewall.text)),
        ("ContainerGuard", printable(extras.guard.text)),
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


def _mtu_of_others(snapshot: RouterSnapshot) -> str:
    others = sorted({path.peer_mtu for path in snapshot.paths if path.peer_mtu is not None})
    return f" (peers have {', '.join(map(str, others))}: {MTU_MISMATCH})" if others else ""


def _overlays(snapshot: RouterSnapshot) -> str:
    live = {c.overlay for c in snapshot.connections if c.state == "established"}
    return ", ".join(sorted(live)) or "sleeve"
