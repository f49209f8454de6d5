"""What does the engine want done? Everything it asks of the shell that drives it."""

from __future__ import annotations

from dataclasses import dataclass

from fastdp.path.paths import (
    FastPathChanged,
    FastPathForgotten,
    ReadCounters,
    SendFastProbe,
    UsePort,
)
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener
from weave_py.model.effects import Effect
from weave_py.model.names import PeerName
from weave_py.model.routes import RouteTable


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a TCP connection; answer with Engine.dialled or Engine.dial_failed."""

    connection: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SendBytes:
    """Write to the stream, in order."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close the stream once all bytes are out (bounded in time). Its number is not used again."""

    connection: int
    at_once: bool = False
    """What is still to be written is of no use, and would only delay the news that it is over."""


@dataclass(frozen=True, slots=True)
class AddPort:
    """Give this peer a port on the bridge; its frames leave by `egress`."""

    peer: PeerName
    egress: Egress


@dataclass(frozen=True, slots=True)
class RemovePort:
    peer: PeerName


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Datagrams with this session index are this peer's and open like this."""

    peer: PeerName
    index: int
    opener: Opener


@dataclass(frozen=True, slots=True)
class CloseSession:
    index: int


@dataclass(frozen=True, slots=True)
class SendControlRecord:
    """Seal `body` under the peer's egress and send it as one datagram this way. If the kernel says
    that it is too large, tell Engine.probe_refused."""

    peer: PeerName
    next_hop: NextHop
    body: bytes
    probe: int | None


@dataclass(frozen=True, slots=True)
class TrainReceived:
    """A train of datagrams came inside the control connection of a neighbour: give it to the
    data plane."""

    neighbour: PeerName
    size: int
    """Bytes of each datagram but the last, which may be shorter."""
    datagrams: bytes


@dataclass(frozen=True, slots=True)
class FindRoutes:
    """Ask the kernel which way it sends to these numeric addresses, and tell Engine.routes_found
    of all of them; as soon as you can, since nothing is sent there before."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UseRoutes:
    """Relay by this table from now on."""

    routes: RouteTable


Output = (
    Dial
    | SendBytes
    | CloseStream
    | AddPort
    | RemovePort
    | OpenSession
    | CloseSession
    | SendControlRecord
    | TrainReceived
    | FindRoutes
    | UseRoutes
    | Effect
    | UsePort
    | SendFastProbe
    | ReadCounters
    | FastPathChanged
    | FastPathForgotten
)
