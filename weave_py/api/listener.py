"""Where does the API listen, and who gets to each place?

A router has several listeners, each with its own application and limits: a unix socket of its own,
for root and a group; and what it was told to open besides, like loopback, where every local user
reaches it, perhaps only to read.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from weave_py.api.application import Application
from weave_py.config.resolve import HttpAddress
from weave_py.host.locks import locked
from weave_py.host.run_directory import make_fit
from weave_py.host.socket_table import holder
from weave_py.model.errors import HostError

MAX_CONNECTIONS = 32
MAX_STREAMS = 8
GROUP = "weave-py"
"""Whose members may use a router's own socket, if the host has a group of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One place to listen, and what holds there."""

    address: HttpAddress
    application: Application
    read_only: bool = False
    """Only GET and HEAD; what changes something is not there."""
    connections: int = MAX_CONNECTIONS
    """The most at a time, streams aside."""
    streams: int = MAX_STREAMS
    """The most server-sent event streams at a time."""
    mode: int = 0o660
    """Of a unix socket: who may connect."""
    group: str | None = None
    """Of a unix socket: its group's name; None: the router's own."""

    @property
    def served(self) -> Application:
        """What may be asked here."""
        return self.application.read_only() if self.read_only else self.application


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A listener with its socket."""

    listener: Listener
    socket: socket.socket
    inode: int | None = None
    """Of a unix socket's file."""

    def close(self) -> None:
        """Let go of one that was never served."""
        self.socket.close()
        self.remove()

    def remove(self) -> None:
        """Remove the file of a unix socket, unless it is somebody else's by now."""
        path = self.listener.address.path
        if path:
            with suppress(OSError, HostError), _lock(path):
                if os.lstat(path).st_ino == self.inode:
                    os.unlink(path)


def open_listener(listener: Listener) -> OpenListener:
    """Listen; HostError if that is not possible, or something else does already.

    A unix socket lies in a directory that only root, or we, can change; it is made if it is
    missing. What a crashed router left there is replaced, what somebody listens on is not.
    """
    address = listener.address
    try:
        if address.path:
            make_fit(os.path.dirname(address.path) or "/")
            with _lock(address.path):
                _remove_dead_socket(address.path)
                raw = _unix_socket(listener)
                return OpenListener(listener, raw, os.lstat(address.path).st_ino)
        return OpenListener(listener, _tcp_socket(address, listener.connections))
    except OSError as error:
        raise _cannot_listen(address, error) from error


def check_free(address: HttpAddress) -> None:
    """HostError, naming who has it, if a TCP address is taken."""
    try:
        _tcp_socket(address, 0).close()
    except OSError as error:
        raise _cannot_listen(address, error) from error


def usable_group() -> str | None:
    """GROUP, if there is one that we may give a file to: not so in most user namespaces, nor
    without CAP_CHOWN. Tried on a pipe, which nobody sees."""
    ends = os.pipe()
    try:
        os.fchown(ends[0], -1, grp.getgrnam(GROUP).gr_gid)
        return GROUP
    except (KeyError, OSError):
        return None
    finally:
        for end in ends:
            os.close(end)


def _tcp_socket(address: HttpAddress, backlog: int) -> socket.socket:
    host, port = address.host, address.port
    raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind((host, port))
        raw.listen(backlog)
    except BaseException:
        raw.close()
        raise
    return raw


def _unix_socket(listener: Listener) -> socket.socket:
    """Nobody can connect before the file is as it should be: until then we do not listen."""
    path = listener.address.path
    group = None if listener.group is None else _group(listener.group)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            raw.bind(path)
        finally:
            os.umask(mask)
        if group is not None:
            os.chown(path, -1, group)
        os.chmod(path, listener.mode)
        raw.listen(listener.connections)
    except BaseException:
        raw.close()
        raise
    return raw


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise HostError(f"no group is called {name}: create it, or name another") from None


def _lock(path: str) -> AbstractContextManager[None]:
    """No other router looks for a dead socket at `path` meanwhile. (Two that find the same one
    would else each remove what the other has just made.)"""
    return locked(f"{path}.lock", wait=True)


def _remove_dead_socket(path: str) -> None:
    """Unlink a socket nobody listens on; what is alive, or no socket, is left for bind to find."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except (FileNotFoundError, BlockingIOError):  # (its queue is full: it is alive)
            pass


def _cannot_listen(address: HttpAddress, error: OSError) -> HostError:
    if error.errno == errno.EADDRINUSE:
        who = "" if address.path else f": {holder('TCP', address.host, address.port)}"
        return HostError(
            f"another program already listens on {address.text}{who}: stop it, or choose another "
            "--http-addr"
        )
    return HostError(
        f"cannot listen on {address.text}: {error.strerror}: choose another --http-addr"
    )
