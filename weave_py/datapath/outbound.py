"""A frame's whole way out: TAP → record → sealed train → wire.

1. `drain` reads frames from a peer's TAP, each behind its 16 bytes, back to back into a record,
   until the TAP is empty, the record is full, or the turn is over: nothing waits for a record to
   fill, and no peer waits for another's flood. A TCP super-frame too large for a record is cut
   into smaller ones (`_overflow`).
2. `_send` has the record sealed and cut (`datapath.train`) and hands the train to the kernel, or,
   where UDP does not pass, to a control connection (`datapath.tcp_tunnel`).

Fast gear: no await, channel or log call in here; what the engine must know goes to `woken`.
"""

from __future__ import annotations

import os
from time import perf_counter as clock

from weave_py.datapath.port import Port
from weave_py.datapath.relay import Relay
from weave_py.datapath.super_frame import Cut, examine, write_piece
from weave_py.datapath.train import MAX_FRAME_BYTES, TrainMaker
from weave_py.model.names import PeerName
from weave_py.wire.sleeve import FRAME_HEADER_BYTES, FRAME_LENGTH, FRAME_LENGTH_OFFSET

# A turn of one TAP: enough to be efficient, short enough (well under a millisecond) to be fair.
FRAMES_PER_TURN = 64
BYTES_PER_TURN = 256 * 1024
# A record with this much in it leaves without looking for more: a super-frame next to it would
# not fit, and a train of half the size costs hardly more per byte.
FLUSH_BYTES = 32 * 1024
# Group-addressed frames (IEEE 802.3 §3.2.3: the first bit of the address) go to all peers, and any
# container sends some now and then: fewer bytes of them than these do not make a peer one in use,
# whose path is watched closely.
BUSY_BYTES = 4096

_pack_length = FRAME_LENGTH.pack_into


class Outbound:
    """Sends what comes out of the TAPs."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._trains = TrainMaker()
        self._scratch = memoryview(bytearray(MAX_FRAME_BYTES))
        self.woken: list[PeerName] = []
        """Peers whose egress was not busy until now."""

    def drain(self, port: Port) -> None:
        """One turn of a port whose TAP is readable."""
        egress = port.egress
        if egress.sealer is None or egress.next_hop is None or egress.sealer.is_spent:
            self._discard(port)
            return
        limit = self._trains.wanted_plain_bytes(egress)
        plain, fd, read, hints = self._trains.plain, port.fd, os.readv, port.hints
        start = end = frames = turn = 0
        is_idle = not egress.busy
        try:
            for _ in range(FRAMES_PER_TURN):
                size = read(fd, (plain[end : end + MAX_FRAME_BYTES],))
                if hints.is_on and (less := hints.cut(plain, end, size)):
                    egress.counters.drop_queue += 1
                    size = less
                _pack_length(plain, end + FRAME_LENGTH_OFFSET, size)
                turn += size
                if is_idle and (turn >= BUSY_BYTES or not plain[end + FRAME_HEADER_BYTES] & 1):
                    is_idle = False
                    egress.busy = True
                    self.woken.append(egress.peer)
                if end + size - start > limit:
                    start, frames = self._overflow(port, start, end, size, frames, limit)
                end += size
                frames += 1
                if end - start >= FLUSH_BYTES or end >= MAX_FRAME_BYTES:
                    self._send(port, start, end, frames)
                    start = end = frames = 0
                    if turn >= BYTES_PER_TURN:
                        break
            if port.standing.is_high(clock()):
                hints.begin()
        except BlockingIOError:
            port.standing.is_low()
            hints.end()
        except OSError:
            pass  # the device is going down: the port is about to be removed
        self._send(port, start, end, frames)

    def _overflow(
        self, port: Port, start: int, at: int, size: int, frames: int, limit: int
    ) -> tuple[int, int]:
        """The frame at `at` does not fit into the record that began at `start`. Send what there
        is, and of a super-frame as many pieces as leave a rest that fits; returns where the new
        record begins, and how many frames it has before this one. A piece has at least half of the
        payload that a record would hold, and never less than `super_frame` lets be cut off: so a
        frame's trains follow from its size, whatever it says."""
        cut = examine(self._trains.plain, at, size) if size > limit else None
        if cut is None:  # its own record; `_send` copes with one that no record can hold
            self._send(port, start, at, frames)
            return at, 0
        headers, segment = len(cut.headers), cut.gso_size
        whole = max((limit - headers) // segment, 1) * segment
        take = (limit - (at - start) - headers) // segment * segment
        if take < whole // 4:
            self._send(port, start, at, frames)
            start, frames, take = at, 0, whole
        skip = 0
        while cut.payload - skip > take:
            self._piece(at, cut, skip, take)
            self._send(port, start, at + skip + headers + take, frames)
            skip += take
            start, frames, take = at + skip, 0, whole
        self._piece(at, cut, skip, cut.payload - skip)
        return start, frames

    def _piece(self, at: int, cut: Cut, skip: int, take: int) -> None:
        plain = self._trains.plain
        write_piece(plain, at + skip, cut, skip, take)
        _pack_length(plain, at + skip + FRAME_LENGTH_OFFSET, len(cut.headers) + take)

    def _send(self, port: Port, start: int, end: int, frames: int) -> None:
        if end <= start:
            return
        egress, trains = port.egress, self._trains
        counters = egress.counters
        next_hop = egress.next_hop
        assert next_hop is not None
        hop = self._relay.forwarding.first_hop(next_hop)
        if hop is None:
            counters.drop_no_path += frames
            return
        refused = 0
        for flags, first, last in (
            ((0, start, end),)
            if end - start <= trains.max_plain_bytes(egress)
            else trains.parts(egress, start, end)
        ):
            views, size, count = trains.seal(egress, flags, first, last)
            counters.records_out += 1
            if not refused:
                refused = self._relay.send(hop, views, size, count)
            if not refused:
                counters.datagrams_out += count
        if refused:
            counters.drop_send_refused += frames
            return
        counters.frames_out += frames
        counters.bytes_out += end - start - frames * FRAME_HEADER_BYTES

    def _discard(self, port: Port) -> None:
        """There is nowhere to send to: take the frames off the TAP and count them."""
        counters = port.egress.counters
        lost = 0
        try:
            while lost < FRAMES_PER_TURN:
                os.readv(port.fd, (self._scratch,))
                lost += 1
        except OSError:
            pass
        sealer = port.egress.sealer
        if sealer is None or sealer.is_spent:
            counters.drop_no_session += lost
        else:
            counters.drop_no_path += lost
