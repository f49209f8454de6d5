"""What do rtnetlink's bytes mean, and how is the kernel asked quickly? (rtnetlink(7))

pyroute2 sets devices up, at about a millisecond a call. What is done again and again, looking at
hundreds of devices and flipping one, takes the few messages in here instead: 20 µs each.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final

# linux/netlink.h, rtnetlink.h
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_CREATE = 0x400
NLM_F_EXCL = 0x200
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_SETLINK = 19
RTM_GETADDR = 22
RTM_GETROUTE = 26
RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30
RTM_NEWQDISC = 36
RTM_DELQDISC = 37
RTM_NEWTFILTER = 44
RTM_DELTFILTER = 45
RTM_GETTFILTER = 46

NESTED: Final = 0x8000
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_RECEIVE_BYTES = 1 << 18
_SECONDS = 5.0
_MOST_DUMPS = 4

Attributes = dict[int, bytes]
Request = tuple[int, int, bytes]
"""Type, flags and payload of a message."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(data: bytes, offset: int = 0) -> Attributes:
    """The attributes in `data`, by kind; of several of one kind the last. Never raises."""
    found: Attributes = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, payload) of each message in what was received. Never raises."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > len(data):
            break
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += length + 3 & ~3


def text(value: bytes | None) -> str:
    """A zero-terminated string; empty if there is none."""
    return "" if value is None else value.rstrip(b"\0").decode(errors="replace")


class RouteSocket:
    """Asks the kernel, and waits for the answer. Refusals are OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.settimeout(_SECONDS)
        self._sock.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> RouteSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def change(self, *requests: Request) -> None:
        """Send all as one: the kernel executes them back to back.

        Raises for the first that is refused; the others are executed all the same.
        """
        first = self._sequence + 1
        self._sock.send(b"".join(self._message(*request, NLM_F_ACK) for request in requests))
        refused = 0
        waiting = set(range(first, self._sequence + 1))
        while waiting:
            for kind, _, sequence, payload in messages(self._sock.recv(_RECEIVE_BYTES)):
                if kind == _NLMSG_ERROR and sequence in waiting:
                    waiting.remove(sequence)
                    refused = refused or -_ERROR.unpack_from(payload)[0]
        if refused:
            raise OSError(refused, os.strerror(refused))

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the one answer."""
        self._sock.send(self._message(kind, 0, payload, 0))
        while True:
            for answer, _, sequence, body in messages(self._sock.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                if answer == _NLMSG_ERROR:
                    code = -_ERROR.unpack_from(body)[0]
                    raise OSError(code, os.strerror(code))
                return body

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The payloads of all answers. Asked again if things changed meanwhile."""
        for _ in range(_MOST_DUMPS):
            found, consistent = self._dump_once(kind, payload)
            if consistent:
                break
        return found

    def _dump_once(self, kind: int, payload: bytes) -> tuple[list[bytes], bool]:
        self._sock.send(self._message(kind, 0, payload, _NLM_F_DUMP))
        found: list[bytes] = []
        consistent = True
        while True:
            for answer, flags, sequence, body in messages(self._sock.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                consistent = consistent and not flags & _NLM_F_DUMP_INTR
                if answer in (_NLMSG_DONE, _NLMSG_ERROR):
                    (code,) = _ERROR.unpack_from(body)
                    if code < 0:
                        raise OSError(-code, os.strerror(-code))
                    return found, consistent
                found.append(body)

    def _message(self, kind: int, flags: int, payload: bytes, more: int) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(payload)
        flags |= NLM_F_REQUEST | more
        return _HEADER.pack(length, kind, flags, self._sequence, 0) + payload
