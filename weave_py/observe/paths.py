"""How do frames reach each peer, how well, and why not better?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from weave_py.model.names import PeerName, name_text
from weave_py.model.snapshot import PATH_KINDS, FastView, PathView, RouterSnapshot
from weave_py.observe.section import Json, Labelled, Metric, Section
from weave_py.observe.text import milliseconds, peer_text, percent, printable

COLUMNS = (
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


def text(snapshot: RouterSnapshot) -> str:
    """How our frames reach every peer: a table, its first line the column names."""
    nicknames = {peer.name: peer.nickname for peer in snapshot.peers}
    rows = [COLUMNS, *(_path_cells(path, nicknames) for path in snapshot.paths)]
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


def json(snapshot: RouterSnapshot) -> list[Json]:
    return [_path(path) for path in snapshot.paths]


def _path(path: PathView) -> Json:
    return {
        "Peer": name_text(path.peer),
        "NickName": path.nickname,
        "Kind": path.kind,
        "Address": path.address,
        "Via": None if path.via is None else name_text(path.via),
        "RTT": path.rtt,
        "Loss": path.loss,
        "DatagramBytes": path.datagram_bytes,
        "FitsMTU": path.fits,
        "PeerMTU": path.peer_mtu,
        "Cipher": path.cipher,
        "Why": path.why,
        "Counters": dict(sorted(path.counters.items())),
        "Fast": None if path.fast is None else _fast(path.fast),
    }


def _fast(fast: FastView) -> Json:
    return {"State": fast.state, "Why": fast.why, "Failure": fast.failure}


def _by_kind(snapshot: RouterSnapshot) -> Iterable[Labelled]:
    counts = Counter(path.kind for path in snapshot.paths)
    return [((kind,), counts[kind]) for kind in PATH_KINDS]


def _each(
    value: Callable[[PathView], float | None],
) -> Callable[[RouterSnapshot], Iterable[Labelled]]:
    def values(snapshot: RouterSnapshot) -> Iterable[Labelled]:
        return [((name_text(path.peer),), value(path)) for path in snapshot.paths]

    return values


def _both_ways(ours: str, kernels: str) -> Callable[[RouterSnapshot], Iterable[Labelled]]:
    """A counter of the router's and its like of the kernel's devices, by direction."""

    def values(snapshot: RouterSnapshot) -> Iterable[Labelled]:
        for path in snapshot.paths:
            for by, counter in (("router", ours), ("kernel", kernels)):
                for way in ("in", "out"):
                    yield (name_text(path.peer), way, by), path.counters.get(f"{counter}_{way}")

    return values


def _drops(snapshot: RouterSnapshot) -> Iterable[Labelled]:
    for path in snapshot.paths:
        for counter, count in sorted(path.counters.items()):
            if counter.startswith("drop_"):
                yield (name_text(path.peer), counter.removeprefix("drop_")), count


_PEER = ("peer",)
_WAYS = ("peer", "direction", "by")

METRICS = (
    Metric("weave_paths", "gauge", "Peers, by the kind of path to them.", ("kind",), _by_kind),
    Metric(
        "weave_path_rtt_seconds",
        "gauge",
        "Round trip to the peer, smoothed.",
        _PEER,
        _each(lambda path: path.rtt),
    ),
    Metric(
        "weave_path_loss_ratio",
        "gauge",
        "Share of recent probes without an answer.",
        _PEER,
        _each(lambda path: None if path.kind == "none" else path.loss),
    ),
    Metric(
        "weave_path_datagram_bytes",
        "gauge",
        "UDP payload that is known to pass.",
        _PEER,
        _each(lambda path: path.datagram_bytes or None),
    ),
    Metric(
        "weave_path_mtu_bytes",
        "gauge",
        "Largest inner packet that the kernel could carry straight to the peer.",
        _PEER,
        _each(lambda path: path.fits),
    ),
    Metric(
        "weave_path_frames_total",
        "counter",
        "Frames exchanged with the peer; `by` the router, or past it by the kernel.",
        _WAYS,
        _both_ways("frames", "kernel_packets"),
    ),
    Metric(
        "weave_path_bytes_total",
        "counter",
        "Bytes of these frames.",
        _WAYS,
        _both_ways("bytes", "kernel_bytes"),
    ),
    Metric(
        "weave_path_drops_total",
        "counter",
        "Frames to the peer, or from it, that were dropped.",
        ("peer", "reason"),
        _drops,
    ),
)

SECTION = Section(
    "paths",
    "Paths",
    "How frames reach each peer, with round trip, loss, datagram size, cipher, and why not better.",
    text,
    json,
    METRICS,
)
