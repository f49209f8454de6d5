"""Whose is a socket of this host? Asked of the kernel's tables, since TCP itself does not say.

The tables (/proc/net/tcp, udp …, in proc(5)) name the user who made a socket. Of a connection that
its server has not accepted yet they name nobody: inode 0, and user 0, whoever listens.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

ANOTHER: Final = "another program"
"""Who holds a port, if it cannot be found out."""
_TABLES: Final = "/proc/thread-self/net"
_LISTENS: Final = 0x0A  # TCP_LISTEN of linux/tcp_states.h
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # ::ffff:0.0.0.0/96, RFC 4291 §2.5.5.2
_ANY: Final = (bytes(16), _MAPPED + bytes(4))
_POLL_SECONDS: Final = 0.01
_UCRED: Final = struct.Struct("=iII")  # struct ucred of socket(7): pid, uid, gid

_Address = tuple[bytes, int]
"""16 bytes, IPv4 ones mapped; and a port."""


@dataclass(frozen=True, slots=True)
class _Row:
    local: _Address
    remote: _Address
    state: int
    uid: int
    inode: int


def server_owner(connection: socket.socket, seconds: float) -> int:
    """The user who serves the other end of a connection on this host, unix or TCP.

    TimeoutError if nobody has accepted it within `seconds`; OSError if we cannot look.
    """
    if connection.family == socket.AF_UNIX:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(found)[1])
    ours, theirs = _address(connection.getsockname()), _address(connection.getpeername())
    deadline = time.monotonic() + seconds
    while True:
        for row in _rows("tcp", theirs[1]):
            if (row.local, row.remote) == (theirs, ours) and row.inode:
                return row.uid
        if time.monotonic() > deadline:
            raise TimeoutError("nobody accepts the connection")
        time.sleep(_POLL_SECONDS)


def holder(kind: str, host: str, port: int) -> str:
    """Who keeps us from having `port` (`kind`: TCP, UDP) at a numeric address, in words.

    The process is named if we may see it: root sees all.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    wanted = _packed(family, host.partition("%")[0])
    with suppress(OSError):
        for row in _rows(kind.lower(), port):
            listens = kind == "UDP" or row.state == _LISTENS
            if listens and (wanted in _ANY or row.local[0] in (wanted, *_ANY)):
                return _process(row.inode, row.uid) or f"a program of user {row.uid}"
    return ANOTHER


def _rows(protocol: str, port: int) -> Iterator[_Row]:
    """The sockets at a local port, IPv4 and IPv6."""
    mark = f":{port:04X} "
    for name in (protocol, f"{protocol}6"):
        with suppress(FileNotFoundError), open(f"{_TABLES}/{name}") as table:
            for line in table:
                if mark in line:
                    words = line.split()
                    row = _Row(
                        _parsed(words[1]),
                        _parsed(words[2]),
                        int(words[3], 16),
                        int(words[7]),
                        int(words[9]),
                    )
                    if row.local[1] == port:
                        yield row


def _parsed(text: str) -> _Address:
    """`0100007F:1A80`: words in the host's order, a port in hexadecimal."""
    digits, _, port = text.partition(":")
    packed = b"".join(
        struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8)
    )
    return packed if len(packed) == 16 else _MAPPED + packed, int(port, 16)


def _address(place: tuple[str, int]) -> _Address:
    host, port = place[:2]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _packed(family, host.partition("%")[0]), port


def _packed(family: socket.AddressFamily, host: str) -> bytes:
    packed = socket.inet_pton(family, host)
    return packed if family == socket.AF_INET6 else _MAPPED + packed


def _process(inode: int, uid: int) -> str:
    """The process that has the socket; empty if we cannot see it."""
    wanted = f"socket:[{inode}]"
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == wanted:
                        return f"{_command(pid)} (pid {pid}, user {uid})"
    return ""


def _command(pid: str) -> str:
    """What a process calls itself, made fit for one line: it may call itself anything."""
    with open(f"/proc/{pid}/comm", errors="replace") as comm:
        text = comm.read().removesuffix("\n")
    return "".join(letter if letter.isprintable() else "?" for letter in text)
