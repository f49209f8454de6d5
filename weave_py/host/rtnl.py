"""What do netlink's bytes mean, and how is the kernel asked quickly? (netlink(7), rtnetlink(7))

pyroute2 sets devices up, at about a millisecond a call. What is done again and again, looking at
hundreds of devices and flipping one, takes the few messages in here instead: 20 µs each. Every
other netlink socket of ours is opened here, too.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

# linux/netlink.h, rtnetlink.h
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_CREATE = 0x400
NLM_F_EXCL = 0x200
_NLM_F_DUMP = 0x300
_NLM_F_DUMP_INTR = 0x10
_NLM_F_ACK_TLVS = 0x200
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_NLMSGERR_ATTR_MSG = 1
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
_MOST_DUMPS = 4
_MOST_DUMP_BYTES = 1 << 26
PATIENCE: Final = 5.0
"""Seconds. The kernel answers before the call returns; this is for one that does not."""

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


def open_netlink(protocol: int = socket.NETLINK_ROUTE, groups: int = 0) -> socket.socket:
    """A socket to the kernel, in this thread's network namespace, that hears what it tells
    `groups` (RTMGRP_* …). OSError when refused."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.bind((0, groups))
    except BaseException:
        sock.close()
        raise
    return sock


class NetlinkSocket:
    """Asks the kernel, and waits for the answer. Refusals are OSError with the kernel's errno, and
    with a note of its own words if it has any. A context manager.

    Whatever came too late for an earlier request is skipped: nothing is kept.
    """

    def __init__(self, protocol: int, patience: float = PATIENCE) -> None:
        self._sock = open_netlink(protocol)
        self._sock.settimeout(patience)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._sock.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
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
        refusal: OSError | None = None
        waiting = set(range(first, self._sequence + 1))
        while waiting:
            for kind, flags, sequence, payload in messages(self._sock.recv(_RECEIVE_BYTES)):
                if kind == _NLMSG_ERROR and sequence in waiting:
                    waiting.remove(sequence)
                    refusal = refusal or _refusal(flags, payload)
        if refusal is not None:
            raise refusal

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the one answer."""
        self._sock.send(self._message(kind, 0, payload, 0))
        while True:
            for answer, flags, sequence, body in messages(self._sock.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                if answer == _NLMSG_ERROR and (refusal := _refusal(flags, body)) is not None:
                    raise refusal
                return body

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """The payloads of all answers; EMSGSIZE if they are far too many. Asked again if things
        changed meanwhile."""
        for _ in range(_MOST_DUMPS):
            found, consistent = self._dump_once(kind, payload)
            if consistent:
                break
        return found

    def walk(self, kind: int, payload: bytes) -> Iterator[bytes]:
        """The payloads of the answers, as they are read: who has enough stops, and then has to
        close the socket, on which the rest still comes. Nothing tells if things changed meanwhile.
        """
        for _, body in self._answers(kind, payload):
            if body is not None:
                yield body

    def _dump_once(self, kind: int, payload: bytes) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        consistent, size = True, 0
        for interrupted, body in self._answers(kind, payload):
            consistent = consistent and not interrupted
            if body is None:
                break
            found.append(body)
            size += len(body)
            if size > _MOST_DUMP_BYTES:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return found, consistent

    def _answers(self, kind: int, payload: bytes) -> Iterator[tuple[bool, bytes | None]]:
        """(whether things had changed by then, payload) of each, and at the end None."""
        self._sock.send(self._message(kind, 0, payload, _NLM_F_DUMP))
        while True:
            for answer, flags, sequence, body in messages(self._sock.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                interrupted = bool(flags & _NLM_F_DUMP_INTR)
                if answer in (_NLMSG_DONE, _NLMSG_ERROR):
                    echoed = _HEADER.size if answer == _NLMSG_ERROR else 0
                    if (refusal := _refusal(flags, body, echoed)) is not None:
                        raise refusal
                    yield interrupted, None
                    return
                yield interrupted, body

    def _message(self, kind: int, flags: int, payload: bytes, more: int) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(payload)
        flags |= NLM_F_REQUEST | more
        padding = bytes(-len(payload) % 4)
        return _HEADER.pack(length, kind, flags, self._sequence, 0) + payload + padding


class RouteSocket(NetlinkSocket):
    """One for rtnetlink."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)


def _refusal(flags: int, payload: bytes, echoed: int = _HEADER.size) -> OSError | None:
    """What an acknowledgement says, or the end of a dump, which echoes nothing of the request;
    None if all is well."""
    (code,) = _ERROR.unpack_from(payload)
    if code >= 0:
        return None
    refusal = OSError(-code, os.strerror(-code))
    told = attributes(payload, _ERROR.size + echoed) if flags & _NLM_F_ACK_TLVS else {}
    if words := text(told.get(_NLMSGERR_ATTR_MSG)):
        refusal.add_note(words)
    return refusal
