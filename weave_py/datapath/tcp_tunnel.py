"""How do datagrams travel where UDP does not? As trains inside control connections.

A train becomes one message of the connection, sealed a second time, behind whatever waits there
already. Data is taken only while little waits, so that it delays heartbeats and gossip by no more
than it takes to send `MAX_WAITING`, and else refused, for the sender to count: like any queue on
the way, this one must be short to be of use to the TCP connections inside. Control records are
few, and probes that had to wait for data would say that the way is dead; they may wait longer.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Protocol

from weave_py.datapath.udp_sender import Buffers
from weave_py.model.names import PeerName

MAX_WAITING = 192 * 1024  # bytes: three trains of the longest
MAX_WAITING_CONTROL = 2 * MAX_WAITING


class Neighbours(Protocol):
    """Who has the control connections (router.engine.Engine)."""

    def stream_to(self, neighbour: PeerName) -> int | None:
        """The number of the connection with a neighbour."""

    def send_train(self, neighbour: PeerName, size: int, datagrams: bytes) -> None:
        """Send datagrams of `size` bytes (the last may be shorter) inside it."""


class Waiting(Protocol):
    """A control connection (loop.control_stream.ControlStream)."""

    @property
    def waiting(self) -> int:
        """Bytes that it has not taken yet."""


class TcpTunnel:
    """Sends trains to control neighbours. Never blocks."""

    def __init__(
        self,
        neighbours: Neighbours,
        streams: Mapping[int, Waiting],
        carry_out: Callable[[], None],
    ) -> None:
        """`streams` by number; `carry_out` has what was said sent, now or soon."""
        self._neighbours = neighbours
        self._streams = streams
        self._carry_out = carry_out

    def reaches(self, neighbour: PeerName) -> bool:
        """Whether there is a control connection."""
        return self._neighbours.stream_to(neighbour) in self._streams

    def send(self, neighbour: PeerName, buffers: Buffers, size: int, is_control: bool) -> int:
        """Send datagrams of `size` bytes (the last may be shorter) that lie back to back in
        `buffers`; 0, or the errno of why not (ENOBUFS: too much waits already)."""
        number = self._neighbours.stream_to(neighbour)
        stream = None if number is None else self._streams.get(number)
        if stream is None:
            return errno.ENOTCONN
        if stream.waiting > (MAX_WAITING_CONTROL if is_control else MAX_WAITING):
            return errno.ENOBUFS
        self._neighbours.send_train(neighbour, size, b"".join(buffers))
        self._carry_out()
        return 0
