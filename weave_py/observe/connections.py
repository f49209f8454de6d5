"""Which control connections are there, and which addresses are tried?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from weave_py.model.snapshot import CONNECTION_STATES, ConnectionView, RouterSnapshot
from weave_py.observe.section import Json, Labelled, Metric, Section
from weave_py.observe.text import arrow, milliseconds, peer_text, printable

LIVE_STATES = frozenset({"established", "pending"})


def text(snapshot: RouterSnapshot) -> str:
    """One control connection, or address we try, a line."""
    return "".join(_connection_line(c, snapshot.encryption) for c in snapshot.connections)


def _connection_line(connection: ConnectionView, encryption: bool) -> str:
    shown = printable(info(connection, encryption))
    more = " ".join(
        f"{key}={milliseconds(connection.rtt) if key == 'rtt' else _attribute(value)}"
        for key, value in attributes(connection).items()
        if key != "name"
    )
    address = printable(connection.address)
    return (
        f"{arrow(connection.outbound)} {address:<21} {connection.state:<11} {shown} {more}".rstrip()
        + "\n"
    )


def _attribute(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def json(snapshot: RouterSnapshot) -> list[Json]:
    return [_connection(connection, snapshot.encryption) for connection in snapshot.connections]


def info(connection: ConnectionView, encryption: bool) -> str:
    """Weave's "info" column: overlay and peer of a live connection, else why it is not one.

    The encryption word shows only in a network with a secret, where it could be otherwise.
    """
    if connection.state in LIVE_STATES:
        word = f"{'encrypted' if connection.encrypted else 'unencrypted':<11} "
        peer = "" if connection.peer is None else peer_text(connection.peer, connection.nickname)
        return f"{word if encryption else ''}{connection.overlay:<6} {peer}".rstrip()
    if connection.state == "failed":
        never = connection.retry_in is None
        retry = "never" if never else f"in {max(0.0, connection.retry_in or 0.0):.1f}s"
        return f"{connection.error or 'not connected'}, retry: {retry}"
    return connection.error


def attributes(connection: ConnectionView) -> dict[str, str | int | float | bool]:
    """The attributes of a live connection, sorted by name; empty for one that is not."""
    if connection.state not in LIVE_STATES:
        return {}
    found: dict[str, str | int | float | bool] = {"name": connection.overlay}
    if connection.encrypted:
        found["encrypted"] = True
    if connection.mtu is not None:
        found["mtu"] = connection.mtu
    if connection.fits is not None:
        found["fits"] = connection.fits
    if connection.rtt is not None:
        found["rtt"] = connection.rtt
    return dict(sorted(found.items()))


def _connection(connection: ConnectionView, encryption: bool) -> Json:
    return {
        "Address": connection.address,
        "Outbound": connection.outbound,
        "State": connection.state,
        "Info": info(connection, encryption),
        "Attrs": attributes(connection),
        "RetryIn": connection.retry_in,
    }


def _by_state(snapshot: RouterSnapshot) -> Iterable[Labelled]:
    """The labels are Weave's; states without a connection are told, too."""
    counts = Counter(map(_labels, snapshot.connections))
    for state in CONNECTION_STATES:
        if not any(labels[0] == state for labels in counts):
            counts[state, "unknown", ""] = 0
    return sorted(counts.items())


def _labels(connection: ConnectionView) -> tuple[str, str, str]:
    if connection.state not in LIVE_STATES:
        return connection.state, "unknown", ""
    return connection.state, connection.overlay, "yes" if connection.encrypted else ""


CONNECTIONS = Metric(
    "weave_connections",
    "gauge",
    "Control connections, and addresses that are tried.",
    ("state", "type", "encryption"),
    _by_state,
)
TERMINATIONS = Metric(
    "weave_connection_terminations_total",
    "counter",
    "Control connections that ended.",
    (),
    lambda snapshot: [((), snapshot.terminations)],
)

SECTION = Section(
    "connections",
    "Connections",
    "One control connection, or address that is tried, a line.",
    text,
    json,
    (CONNECTIONS, TERMINATIONS),
)
