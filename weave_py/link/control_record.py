"""What is known of a control record that came in? The value that goes from data plane to link."""

from __future__ import annotations

from typing import NamedTuple

from weave_py.model.names import Endpoint, PeerName


class ControlRecord(NamedTuple):
    """An authentic control record (wire.probes says what its body may be)."""

    session: int
    """Our index: under whose keys it came."""
    body: bytes | None
    """None: no control record, but a data record, the first that came from this place."""
    datagram_bytes: int
    """Of the datagram that carried it."""
    received: int
    """Data datagrams of the peer that had come before it."""
    origin: Endpoint | None
    """Where it came from; None: through a relay, or inside TCP."""
    tcp: PeerName | None = None
    """The neighbour inside whose control connection it came."""
