"""A frame's whole way in: wire → train → record → frames → TAP (or on to the next peer).

1. `drain` takes what a UDP socket has, whole trains at a time (UDP_GRO).
2. `_train` sends relayed trains on, and looks up whose session the others belong to.
3. `_records` gathers a record's ciphertext out of the train; a record that did not come in one
   piece goes through `datapath.reassembly`.
4. `_open` opens it, once, and `_deliver` writes its frames to the peer's TAP, so that they enter
   the bridge on that peer's port. Control records go to `controls`, for the engine.

Fast gear: no await, channel or log call in here.
"""

from __future__ import annotations

import os
import socket
from struct import Struct
from time import perf_counter as clock

from cryptography.exceptions import InvalidTag

from weave_py.datapath.codel import DELAY_INTERVAL, TARGET, CoDel
from weave_py.datapath.flow_drop import FlowDrop
from weave_py.datapath.gather import Gatherer
from weave_py.datapath.port import IngressSession, Port
from weave_py.datapath.reassembly import PiecePool
from weave_py.datapath.relay import Relay
from weave_py.datapath.super_frame import GSO_TYPE_OFFSET, is_endless
from weave_py.datapath.train import MAX_FRAME_BYTES, REST
from weave_py.host.udp import UdpSocket
from weave_py.link.control_record import ControlRecord
from weave_py.link.sealing import Opener
from weave_py.model.counters import DatapathCounters
from weave_py.model.names import PeerName, endpoint
from weave_py.wire.sleeve import (
    FLAG_CONTROL,
    FLAG_LAST,
    FLAG_MORE,
    FLAG_PARITY,
    FRAME_HEADER_BYTES,
    FRAME_LENGTH,
    FRAME_LENGTH_OFFSET,
    HEADER_BYTES,
    KIND_RECORD,
    KIND_RELAYED,
    MAX_COUNTER,
    MAX_SEGMENTS,
    RELAY_PREFIX_BYTES,
    TAG_BYTES,
    parse_header,
)

# A turn of one socket, after which TAPs have theirs.
TRAINS_PER_TURN = 32
BYTES_PER_TURN = 256 * 1024
BUFFER_BYTES = 65_536
_NO_PARITY = (-1, 0, 0)
MAX_CONTROLS = 256  # per turn; more than that is a flood, and probes may be lost
SHORTEST_FRAME = FRAME_HEADER_BYTES + 14

_INDEXES = bytes(range(MAX_SEGMENTS))
_unpack_length = FRAME_LENGTH.unpack_from
_unpack_size = Struct("=i").unpack
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)


class Inbound:
    """Receives what comes in on the UDP sockets."""

    def __init__(self, ourself: PeerName, relay: Relay, counters: DatapathCounters) -> None:
        self.ingresses: dict[int, IngressSession] = {}
        self.controls: list[ControlRecord] = []
        self._pieces = PiecePool()
        self._ourself = ourself
        self._relay = relay
        self._counters = counters
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._gatherer = Gatherer(self._view)
        self._plain = memoryview(bytearray(BUFFER_BYTES))
        self._standing = CoDel(DELAY_INTERVAL)
        self._hints = FlowDrop()
        self._neighbour: PeerName | None = None
        """Inside whose control connection what we are at came."""

    def open_session(self, index: int, port: Port, opener: Opener) -> None:
        """Datagrams with this session index are that port's, and open like this."""
        self.ingresses[index] = IngressSession(index, port, opener, self._pieces)

    def drain(self, udp: UdpSocket) -> None:
        """One turn of a readable socket."""
        receive, buffers = udp.sock.recvmsg_into, (self._view,)
        turn, started = 0, clock()
        try:
            for _ in range(TRAINS_PER_TURN):
                length, ancillary, _, source = receive(buffers, _ANCILLARY_BYTES)
                # Without UDP_GRO's message it is a single datagram.
                size = _unpack_size(ancillary[0][2])[0] if ancillary else length
                self._train(length, size or length, source)
                turn += length
                if turn >= BYTES_PER_TURN:
                    break
            self._judge(udp, turn, started)
        except BlockingIOError:
            self._low()
        except OSError:
            pass  # an ICMP error of an earlier send: nothing to do with what comes in

    def receive_train(self, neighbour: PeerName, size: int, datagrams: bytes) -> None:
        """A train came inside the control connection of a neighbour."""
        self._buffer[: len(datagrams)] = datagrams
        self._neighbour = neighbour
        try:
            self._train(len(datagrams), size, None)
        finally:
            self._neighbour = None

    def _judge(self, udp: UdpSocket, turn: int, started: float) -> None:
        """More waits than a turn of so many bytes took. For how long?"""
        now = clock()
        if udp.queued_bytes() * (now - started) < TARGET * turn:
            self._low()
        elif self._standing.is_high(now):
            self._hints.begin()

    def _low(self) -> None:
        self._standing.is_low()
        self._hints.end()

    def _train(self, length: int, size: int, source: tuple[str, int] | None) -> None:
        if length <= HEADER_BYTES:  # the last segment of a record may hold a single byte
            self._counters.datagrams_malformed += 1
            return
        count = (length + size - 1) // size
        if count > 1 and not self._is_uniform(length, size, count):
            self._mixed(length, size, source)
            return
        self._counters.datagrams_in += count
        if self._buffer[0] != KIND_RELAYED:
            self._records(length, size, 0, source)
        elif bytes(self._buffer[2:RELAY_PREFIX_BYTES]) == self._ourself:
            self._records(length, size, RELAY_PREFIX_BYTES, None)
        else:
            came_from = source or self._neighbour
            self._relay.forward(self._buffer, length, size, count, came_from)

    def _is_uniform(self, length: int, size: int, count: int) -> bool:
        """Whether the datagrams of a train are all direct, or all relayed with the same prefix."""
        buffer = self._buffer
        if buffer[0] != KIND_RELAYED:
            return buffer[:length:size].count(buffer[0]) == count
        return all(
            buffer[i:length:size].count(buffer[i]) == count for i in range(RELAY_PREFIX_BYTES)
        )

    def _mixed(self, length: int, size: int, source: tuple[str, int] | None) -> None:
        """A neighbour's own datagrams and those it relays, one behind the other, are one flow to
        GRO: take such a train apart."""
        train = bytes(self._view[:length])
        for at in range(0, length, size):
            datagram = train[at : at + size]
            self._view[: len(datagram)] = datagram
            self._train(len(datagram), len(datagram), source)

    def _records(self, length: int, size: int, prefix: int, source: tuple[str, int] | None) -> None:
        """All records of a train that is for us; `prefix` bytes precede each header."""
        buffer, view = self._buffer, self._view
        body = size - prefix - HEADER_BYTES
        at, spare = 0, _NO_PARITY
        while at < length:
            head = at + prefix
            if head + HEADER_BYTES > length:
                self._counters.datagrams_malformed += 1
                return
            kind, flags, index, session, rest = parse_header(buffer, head)
            ingress = self.ingresses.get(session)
            if kind != KIND_RECORD or ingress is None:
                self._counters.datagrams_unknown_session += 1
                at += size
                continue
            counter, sealed_bytes = rest & MAX_COUNTER, rest >> 48
            counters = ingress.port.egress.counters
            if len(ingress.reassembly):
                self._make_good(ingress, counter, size, source)
            if flags & FLAG_PARITY:
                counters.datagrams_in += 1
                spare = counter, head + HEADER_BYTES, sealed_bytes
                at += size
                if at >= length:
                    self._keep_parity(ingress, spare, body)  # its record comes in the next train
                continue
            count = (sealed_bytes + body - 1) // body if body > 0 else 0
            sealed: memoryview | bytes | bytearray | None
            if index == 0 and self._is_whole(head, length, size, count, sealed_bytes, body):
                sealed = self._gatherer.gather(head + HEADER_BYTES, size, body, count, sealed_bytes)
                at += count * size
                if not flags & FLAG_CONTROL:
                    counters.datagrams_in += count
                    ingress.reassembly.discard(counter)
            else:
                end = min(at + size, length)
                payload = view[head + HEADER_BYTES : end]
                is_last = bool(flags & FLAG_LAST)
                at += size
                counters.datagrams_in += not flags & FLAG_CONTROL
                if not ingress.opener.window.accepts(counter):
                    # A late duplicate, which would wait in vain for the rest of its record.
                    counters.records_replayed += index == 0
                    continue
                if spare[0] == counter:
                    self._keep_parity(ingress, spare, body)
                    spare = _NO_PARITY
                sealed = ingress.reassembly.add_untrusted(
                    counter, index, is_last, sealed_bytes, payload, flags
                )
                if sealed is None:
                    continue
            self._open(ingress, flags, counter, sealed, min(size, length), source)

    def _keep_parity(self, ingress: IngressSession, spare: tuple[int, int, int], body: int) -> None:
        counter, at, sealed_bytes = spare
        if ingress.opener.window.accepts(counter):
            payload = self._view[at : at + body]
            ingress.reassembly.add_parity_untrusted(counter, sealed_bytes, payload)

    def _make_good(
        self, ingress: IngressSession, counter: int, size: int, source: tuple[str, int] | None
    ) -> None:
        """Something of the record `counter` is here: what earlier ones miss is lost."""
        for flags, earlier, sealed in ingress.reassembly.completed_before(counter):
            self._open(ingress, flags, earlier, sealed, size, source)

    def _is_whole(
        self, head: int, length: int, size: int, count: int, sealed_bytes: int, body: int
    ) -> bool:
        """Whether all `count` segments of the record lie here, in order and without a gap."""
        if not 0 < count <= MAX_SEGMENTS:
            return False
        last = head + (count - 1) * size
        rest = sealed_bytes - (count - 1) * body
        end = last + HEADER_BYTES + rest
        if end != length and (end > length or rest != body):
            return False
        if count == 1:
            return True
        # Compare each segment's index, and the low byte of its counter, in one slice each.
        buffer = self._buffer
        return (
            buffer[head + 2 : last + 3 : size] == _INDEXES[:count]
            and buffer[head + 8 : last + 9 : size] == buffer[head + 8 : head + 9] * count
        )

    def _open(
        self,
        ingress: IngressSession,
        flags: int,
        counter: int,
        sealed: memoryview | bytes | bytearray,
        datagram_bytes: int,
        source: tuple[str, int] | None,
    ) -> None:
        size = len(sealed) - TAG_BYTES
        counters = ingress.port.egress.counters
        if size < 0:
            counters.records_bad += 1
            return
        plain = self._plain[:size]
        try:
            is_new = ingress.opener.open_untrusted(flags, counter, sealed, plain)
        except InvalidTag:
            counters.records_bad += 1
            return
        if not is_new:
            counters.records_replayed += 1
        elif flags & FLAG_CONTROL:
            if len(self.controls) < MAX_CONTROLS:
                self._tell(ingress, bytes(plain), datagram_bytes, source)
        elif flags & FLAG_MORE or plain[: len(REST)] == REST:
            self._collect(ingress, flags, counter, plain)
        else:
            counters.records_in += 1
            if source is not None and source != ingress.source:
                ingress.source = source
                if len(self.controls) < MAX_CONTROLS:
                    self._tell(ingress, None, datagram_bytes, source)
            self._deliver(ingress, plain)

    def _tell(
        self,
        ingress: IngressSession,
        body: bytes | None,
        datagram_bytes: int,
        source: tuple[str, int] | None,
    ) -> None:
        # Port 0 is legal in UDP (RFC 768), but nobody can be answered there.
        origin = endpoint(source[0], source[1]) if source and source[1] else None
        received = ingress.port.egress.counters.datagrams_in
        self.controls.append(
            ControlRecord(ingress.index, body, datagram_bytes, received, origin, self._neighbour)
        )

    def _collect(
        self, ingress: IngressSession, flags: int, counter: int, plain: memoryview
    ) -> None:
        """Records that belong together because their frame is larger than a record."""
        counters = ingress.port.egress.counters
        counters.records_in += 1
        if plain[: len(REST)] == REST:
            if counter != ingress.more_counter:
                counters.records_incomplete += 1  # the beginning was lost, or comes too late
                return
            ingress.more += plain[len(REST) :]
        else:
            if ingress.more:
                counters.records_incomplete += 1
            ingress.more = bytearray(plain)
        ingress.more_counter = counter + 1
        if not flags & FLAG_MORE:
            whole, ingress.more, ingress.more_counter = ingress.more, bytearray(), -1
            self._deliver(ingress, memoryview(whole))
        elif len(ingress.more) > MAX_FRAME_BYTES:
            counters.records_malformed += 1
            ingress.more, ingress.more_counter = bytearray(), -1

    def _deliver(self, ingress: IngressSession, plain: memoryview) -> None:
        """Write each frame, with the header the TAP wants in front of it, to the peer's TAP."""
        port = ingress.port
        counters, fd, write, hints = port.egress.counters, port.fd, os.write, self._hints
        at, end = 0, len(plain)
        while at < end:
            size = (
                _unpack_length(plain, at + FRAME_LENGTH_OFFSET)[0]
                if at + FRAME_HEADER_BYTES <= end
                else 0
            )
            if size < SHORTEST_FRAME or at + size > end:
                counters.records_malformed += 1
                return
            if plain[at + GSO_TYPE_OFFSET] and is_endless(plain, at, size):
                counters.drop_endless += 1
                at += size
                continue
            kept = size
            if hints.is_on and (less := hints.cut(plain, at, size)):
                counters.drop_queue += 1
                kept = less
            try:
                write(fd, plain[at : at + kept])
                counters.frames_in += 1
                counters.bytes_in += kept - FRAME_HEADER_BYTES
            except OSError:
                counters.drop_device += 1
            at += size
