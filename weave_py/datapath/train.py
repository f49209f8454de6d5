"""How does a record leave? Sealed, and cut into the datagrams of a train, without copying.

A record is sealed into one contiguous buffer; headers lie in another. What is handed to sendmsg
is a list of views, header, ciphertext, header, ciphertext …, made once per shape of train.
"""

from __future__ import annotations

from collections.abc import Iterator

from weave_py.datapath.parity import parity
from weave_py.datapath.train_headers import TrainHeaders
from weave_py.link.egress import Egress
from weave_py.wire.sleeve import (
    FLAG_MORE,
    FLAG_PARITY,
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    MAX_SEGMENTS,
    MAX_UDP_PAYLOAD,
    TAG_BYTES,
    header_value,
)

# The largest thing a TAP hands over: 64 KiB of IP, Ethernet header, VLAN tags, our 16 bytes.
MAX_FRAME_BYTES = 65_600
MAX_SHAPES = 256
# What the rest of a frame begins with, in records after the first: the header of a frame of no
# bytes, which no frame has. A rest that comes alone is thus never taken for frames.
REST = bytes(FRAME_HEADER_BYTES)

Train = tuple[list[memoryview], int, int]
"""(Views to send in order, bytes of each datagram but the last, number of datagrams.)"""


class _Shape:
    """All that depends only on the prefix and on the size of datagrams."""

    __slots__ = ("alone", "body_bytes", "count", "first", "full", "headers", "max_plain_bytes")

    def __init__(self, prefix: bytes, datagram_bytes: int, sealed: memoryview) -> None:
        count = self.count = min(MAX_SEGMENTS, MAX_UDP_PAYLOAD // datagram_bytes)
        self.headers = TrainHeaders(prefix, count)
        width = self.headers.width
        body = self.body_bytes = datagram_bytes - width
        self.max_plain_bytes = min(count * body, MAX_RECORD_BYTES) - TAG_BYTES
        self.alone = TrainHeaders(prefix, 1)
        """For records of a single datagram, as those of small frames are."""
        self.first = memoryview(self.alone.run)
        headers = memoryview(self.headers.run)
        self.full: list[memoryview] = []
        for i in range(count):
            self.full.append(headers[i * width : (i + 1) * width])
            self.full.append(sealed[i * body : (i + 1) * body])


class TrainMaker:
    """Makes one train at a time; it is valid until the next call. Fill `plain` beforehand."""

    def __init__(self) -> None:
        self.plain = memoryview(bytearray(2 * MAX_FRAME_BYTES))
        """Where records are put together: room for a frame behind an almost full record."""
        self._sealed = memoryview(bytearray(MAX_RECORD_BYTES + TAG_BYTES))
        self._shapes: dict[tuple[bytes, int], _Shape] = {}
        self._latest: tuple[bytes, int, _Shape] | None = None

    def max_plain_bytes(self, egress: Egress) -> int:
        """How much plaintext one record for this egress takes."""
        shape = self._shape(egress.prefix, egress.datagram_bytes)
        if egress.parity:
            return min((shape.count - 1) * shape.body_bytes, MAX_RECORD_BYTES) - TAG_BYTES
        return shape.max_plain_bytes

    def wanted_plain_bytes(self, egress: Egress) -> int:
        """How much one should take: as much as it can, unless the path loses datagrams."""
        shape = self._shape(egress.prefix, egress.datagram_bytes)
        wanted = egress.record_datagrams * shape.body_bytes - TAG_BYTES
        return min(wanted, self.max_plain_bytes(egress))

    def seal(self, egress: Egress, flags: int, start: int, end: int) -> Train:
        """Seal `plain[start:end]` (at most `max_plain_bytes`) for the egress, which must have a
        sealer and a way."""
        size = egress.datagram_bytes
        shape = self._shape(egress.prefix, size)
        length = end - start + TAG_BYTES
        sealer = egress.sealer
        assert sealer is not None
        counter = sealer.seal(flags, self.plain[start:end], self._sealed[:length])
        body = shape.body_bytes
        if length <= body:
            shape.alone.write(1, flags, sealer.session, counter, length)
            return [shape.first, self._sealed[:length]], size, 1
        count = (length + body - 1) // body
        shape.headers.write(count, flags, sealer.session, counter, length)
        rest = length - (count - 1) * body
        if rest == body:
            views = shape.full[: 2 * count]
        else:
            views = shape.full[: 2 * count - 1]
            at = (count - 1) * body
            views.append(self._sealed[at : at + rest])
        if not egress.parity:
            return views, size, count
        value = parity(self._sealed[:length], body)
        header = header_value(flags | FLAG_PARITY, sealer.session, counter, length)
        head = egress.prefix + header.to_bytes(HEADER_BYTES, "little")
        first = memoryview(head + value.to_bytes(body, "little"))
        return [first, *views], size, count + 1

    def parts(self, egress: Egress, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """How to cut a frame that no record can hold: (flags, start, end) of consecutive records,
        all but the last of which say that there is MORE, all but the first of which begin with
        REST. Seal each before asking for the next: REST goes over the end of the last one."""
        limit = self.max_plain_bytes(egress)
        while end - start > limit:
            yield FLAG_MORE, start, start + limit
            start += limit - len(REST)
            self.plain[start : start + len(REST)] = REST
        yield 0, start, end

    def _shape(self, prefix: bytes, datagram_bytes: int) -> _Shape:
        latest = self._latest
        if latest is not None and latest[0] is prefix and latest[1] == datagram_bytes:
            return latest[2]
        key = (prefix, datagram_bytes)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            shape = self._shapes[key] = _Shape(prefix, datagram_bytes, self._sealed)
        self._latest = (prefix, datagram_bytes, shape)
        return shape


def control_datagram(egress: Egress, flags: int, body: bytes, prefix: bytes) -> bytes:
    """A control record as one datagram, whatever its size."""
    sealer = egress.sealer
    assert sealer is not None
    sealed = memoryview(bytearray(len(body) + TAG_BYTES))
    counter = sealer.seal(flags, memoryview(body), sealed)
    header = header_value(flags, sealer.session, counter, len(sealed))
    return prefix + header.to_bytes(HEADER_BYTES, "little") + sealed
