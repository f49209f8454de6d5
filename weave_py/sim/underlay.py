"""What lies between simulated hosts? Virtual time, wires that fail, streams like those of TCP.

Nothing here knows the router. Streams are reliable and ordered: while a wire is cut their bytes
wait and are sent again, as a kernel would; whoever writes to a stream that the other side has
closed, or forgotten in a restart, hears so. Datagrams get lost. All is decided by the seed, and
`Underlay.trace` is a hash over all that was sent and when: two runs are the same if it is.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import Protocol

from weave_py.model.names import Endpoint

DIAL_SECONDS = 5.0  # as the router's shell: how long to wait for an answer to a call
UDP_IP_BYTES = 28
FIRST_RETRANSMISSION = 0.2  # seconds; then twice as long each time (RFC 6298 says 1 s at first)
LONGEST_RETRANSMISSION = 2.0
SOCKET_SECONDS = 6.0  # of work wait in a busy host's UDP socket, and what comes then is lost
UNSENT = 128 * 1024  # bytes that a kernel takes of what it cannot send yet (loop.control_stream)
MAX_QUEUED = 4 * 1024 * 1024  # more than that wait in the router itself: the stream is cut
GIVE_UP = 30.0  # seconds of silence after which a kernel forgets a stream's bytes

Action = Callable[[], None]


@dataclass
class Wire:
    """The underlay between two hosts."""

    latency: float = 0.01
    jitter: float = 0.002
    loss: float = 0.0
    """Share of datagrams that get lost, 0–1."""
    twice: float = 0.0
    """Share of datagrams that arrive twice, each after a delay of its own."""
    dawdling: float = 0.0
    """Share of datagrams that take `dawdle` seconds more: later ones overtake them."""
    dawdle: float = 0.05
    stream_loss: float = 0.0
    """Share of what is written to streams that gets lost and is sent again by their kernels."""
    up: bool = True
    udp: bool = True
    """Whether datagrams pass at all."""
    mtu: int = 1500
    rate: float = 0.0
    """Bytes a second that streams in either direction get, each; 0: no limit."""
    queue: float = 0.0
    """Seconds; how long anything waits in addition (a full buffer somewhere)."""


class Station(Protocol):
    """A process on the underlay: what the network tells it."""

    address: str
    alive: bool
    powered: bool
    frozen_until: float
    toil: float
    """Seconds that it takes to read one datagram."""
    free_at: float
    """When all that have come are read."""

    def on_accepted(self, end: StreamEnd, remote: Endpoint) -> None: ...
    def on_dialled(self, number: int, end: StreamEnd, remote: Endpoint) -> None: ...
    def on_dial_failed(self, number: int, error: str) -> None: ...
    def on_bytes(self, end: StreamEnd, data: bytes) -> None: ...
    def on_end(self, end: StreamEnd, reason: str) -> None: ...
    def on_writable(self, end: StreamEnd, is_writable: bool) -> None: ...
    def on_datagram(self, datagram: bytes, origin: Endpoint) -> None: ...


class Underlay:
    """Time, dice, wires, and who is where."""

    def __init__(self, seed: int, default: Wire, now: float = 1000.0) -> None:
        self.now = now
        self.dice = random.Random(seed)
        self.trace = blake2s()
        self.messages = 0
        """Writes to streams."""
        self.stream_bytes = 0
        self.datagram_bytes = 0
        self.datagrams = 0
        self._default = default
        self._wires: dict[tuple[str, str], Wire] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._stations: dict[str, Station] = {}
        self._queue: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._ports = itertools.count(40_000)

    # --- time ----------------------------------------------------------------------------

    def later(self, delay: float, action: Action) -> None:
        heapq.heappush(self._queue, (self.now + max(delay, 0.0), next(self._order), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def when_awake(self, station: Station, action: Action) -> None:
        """Now; but for a process that is stopped when it goes on, and for a dead one never."""
        if not station.alive:
            return
        if self.now < station.frozen_until:
            wait = station.frozen_until - self.now
            self.later(wait, lambda: self.when_awake(station, action))
        else:
            action()

    # --- places --------------------------------------------------------------------------

    def register(self, station: Station) -> None:
        """It is at its address from now on, instead of whoever was there."""
        self._stations[station.address] = station

    def at(self, address: str) -> Station | None:
        return self._stations.get(address)

    def wire(self, a: str, b: str) -> Wire:
        """The wire between two addresses, to be changed at will."""
        wire = self._wires.get((a, b))
        if wire is None:
            wire = self._wires[a, b] = self._wires[b, a] = replace(self._default)
        return wire

    def block(self, source: str, destination: str) -> None:
        """Datagrams pass in the other direction only."""
        self._blocked.add((source, destination))

    def delay(self, a: str, b: str) -> float:
        wire = self.wire(a, b)
        return wire.latency + wire.queue + wire.jitter * self.dice.random()

    # --- what hosts do -------------------------------------------------------------------

    def send_datagram(self, source: Station, to: Endpoint, datagram: bytes) -> None:
        wire = self.wire(source.address, to.host)
        self._note(source.address, to.host, datagram)
        self.datagrams += 1
        self.datagram_bytes += len(datagram)
        is_lost = self.dice.random() < wire.loss
        is_lost |= (source.address, to.host) in self._blocked
        if is_lost or not wire.up or not wire.udp or len(datagram) + UDP_IP_BYTES > wire.mtu:
            return
        origin = Endpoint(source.address, to.port)

        def arrive() -> None:
            station = self.at(to.host)
            if station is not None:
                self._read(station, lambda: station.on_datagram(datagram, origin))

        self.later(self._datagram_delay(source.address, to.host, wire), arrive)
        if wire.twice and self.dice.random() < wire.twice:
            self.later(self._datagram_delay(source.address, to.host, wire), arrive)

    def _read(self, station: Station, action: Action) -> None:
        """A datagram is in the socket: it is read in its turn."""
        if not station.toil:
            self.when_awake(station, action)
            return
        begin = max(self.now, station.frozen_until, station.free_at)
        if begin < self.now + SOCKET_SECONDS:
            station.free_at = begin + station.toil
            self.later(station.free_at - self.now, lambda: self.when_awake(station, action))

    def _datagram_delay(self, a: str, b: str, wire: Wire) -> float:
        late = wire.dawdling and self.dice.random() < wire.dawdling
        return self.delay(a, b) + (wire.dawdle if late else 0.0)

    def dial(self, source: Station, number: int, remote: Endpoint) -> None:
        """Make a stream; the source hears `on_dialled` or `on_dial_failed`."""
        give_up_at = self.now + DIAL_SECONDS

        def fail(error: str) -> None:
            self.when_awake(source, lambda: source.on_dial_failed(number, error))

        def arrive(again_after: float) -> None:
            there = self.at(remote.host)
            if there is None or not there.powered or not self.wire(source.address, remote.host).up:
                if self.now + again_after < give_up_at:
                    self.later(again_after, lambda: arrive(2 * again_after))
                else:
                    self.later(give_up_at - self.now, lambda: fail("no answer"))
                return
            back = self.delay(source.address, remote.host)
            if not there.alive:
                self.later(back, lambda: fail("connection refused"))
                return
            ours, theirs = StreamEnd(self, source), StreamEnd(self, there)
            ours.other, theirs.other = theirs, ours
            caller = Endpoint(source.address, next(self._ports))
            self.later(back, lambda: connected(ours))
            theirs.ready_at = self.now + back  # no byte overtakes the answer
            self.when_awake(there, lambda: there.on_accepted(theirs, caller))

        def connected(ours: StreamEnd) -> None:
            if source.alive:
                self.when_awake(source, lambda: source.on_dialled(number, ours, remote))
            else:
                ours.close()

        self.later(self.delay(source.address, remote.host), lambda: arrive(1.0))

    # --- inside --------------------------------------------------------------------------

    def note_stream(self, source: str, destination: str, data: bytes) -> None:
        self.messages += 1
        self.stream_bytes += len(data)
        self._note(source, destination, data)

    def _note(self, source: str, destination: str, data: bytes) -> None:
        self.trace.update(f"{self.now:.9f} {source} {destination} ".encode() + data)


class StreamEnd:
    """One end of a stream, as the kernel of its host holds it."""

    other: StreamEnd

    def __init__(self, underlay: Underlay, host: Station) -> None:
        self.host = host
        self.is_open = True
        self._underlay = underlay
        self._queue: deque[tuple[float, bytes | None]] = deque()
        """What is under way to the other end, and when it gets there; None is the end."""
        self.ready_at = 0.0
        """Nothing sent from now on gets there before this."""
        self._sent_at = 0.0
        """When the wire is through with all that was written."""
        self._is_full = False
        self._is_armed = False
        self._silent_since: float | None = None
        self._retransmission = FIRST_RETRANSMISSION

    def send(self, data: bytes) -> None:
        if self.is_open:
            self._underlay.note_stream(self.host.address, self.other.host.address, data)
            self._push(data)
            self._watch_queue()

    @property
    def waiting(self) -> float:
        """Bytes that the kernel has not taken yet, because the wire is slow."""
        rate = self._underlay.wire(self.host.address, self.other.host.address).rate
        return max((self._sent_at - self._underlay.now) * rate - UNSENT, 0.0)

    def _watch_queue(self) -> None:
        """What the router's shell does with bytes that wait (loop.control_stream)."""
        if self.waiting > MAX_QUEUED:
            self._underlay.later(0.0, self._cut)
        elif self.waiting and not self._is_full:
            self._is_full = True
            self._underlay.later(0.0, lambda: self._say_writable(False))
            self._underlay.later(0.0, self._await_taken)

    def _await_taken(self) -> None:
        waiting = self.waiting
        if waiting > 1.0:
            rate = self._underlay.wire(self.host.address, self.other.host.address).rate
            self._underlay.later(waiting / rate, self._await_taken)
        else:
            self._is_full = False
            self._say_writable(True)

    def _say_writable(self, is_writable: bool) -> None:
        if self.is_open:
            host = self.host
            self._underlay.when_awake(host, lambda: host.on_writable(self, is_writable))

    def _cut(self) -> None:
        self._end("the peer takes no bytes")
        self.other._end("connection reset by peer")

    def close(self) -> None:
        """What was sent still gets there, then the end."""
        if self.is_open:
            self.is_open = False
            self._push(None)

    def _push(self, data: bytes | None) -> None:
        wait = self._underlay.delay(self.host.address, self.other.host.address)
        wire = self._underlay.wire(self.host.address, self.other.host.address)
        if wire.stream_loss:
            again = FIRST_RETRANSMISSION
            while self._underlay.dice.random() < wire.stream_loss:
                wait += again
                again = min(2 * again, LONGEST_RETRANSMISSION)
        if wire.rate:
            self._sent_at = max(self._sent_at, self._underlay.now) + len(data or b"") / wire.rate
            wait += self._sent_at - self._underlay.now
        self.ready_at = max(self.ready_at, self._underlay.now + wait)
        self._queue.append((self.ready_at, data))
        if not self._is_armed:
            self._arm(wait)

    def _arm(self, wait: float) -> None:
        self._is_armed = True
        self._underlay.later(wait, self._deliver)

    def _deliver(self) -> None:
        self._is_armed = False
        now = self._underlay.now
        while self._queue and self._queue[0][0] <= now:
            if not self._gets_through():
                self._wait_for_better_times(now)
                return
            self._silent_since, self._retransmission = None, FIRST_RETRANSMISSION
            self._arrive(self._queue.popleft()[1])
        if self._queue:
            self._arm(self._queue[0][0] - now)

    def _gets_through(self) -> bool:
        there = self._underlay.at(self.other.host.address)
        wire = self._underlay.wire(self.host.address, self.other.host.address)
        return wire.up and self.host.powered and there is not None and there.powered

    def _wait_for_better_times(self, now: float) -> None:
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > GIVE_UP or not self.host.powered:
            self._queue.clear()
            return
        self._arm(self._retransmission)
        self._retransmission = min(2 * self._retransmission, LONGEST_RETRANSMISSION)

    def _arrive(self, data: bytes | None) -> None:
        other, there = self.other, self.other.host
        if not other.is_open or not there.alive:
            if data is not None:
                self._queue.clear()
                wait = self._underlay.delay(self.host.address, there.address)
                self._underlay.later(wait, lambda: self._end("connection reset by peer"))
        elif data is None:
            other._end("connection closed by the peer")
        else:
            self._underlay.when_awake(there, lambda: there.on_bytes(other, data))

    def _end(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self._queue.clear()
            self._underlay.when_awake(self.host, lambda: self.host.on_end(self, reason))
