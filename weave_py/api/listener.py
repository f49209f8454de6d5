"""Where does the API listen, and who gets to each place?

A router has several listeners, each with its own application and limits: on loopback, where every
local user reaches it; on unix sockets, for their owner and group; on read-only addresses.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import trio

from weave_py.api.application import Application
from weave_py.config.resolve import HttpAddress
from weave_py.model.errors import HostError

MAX_CONNECTIONS = 32
MAX_STREAMS = 8
DIRECTORY_MODE = 0o755
"""Of a socket's directory, if we make it: whoever the socket admits must get to it."""


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
    socket: trio.SocketListener
    inode: int | None = None
    """Of a unix socket's file."""

    def remove(self) -> None:
        """Remove the file of a unix socket, unless it is somebody else's by now."""
        path = self.listener.address.path
        if path:
            with suppress(OSError), _locked(path):
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
            _check_directory(address.path)
            with _locked(address.path):
                _remove_dead_socket(address.path)
                raw = _unix_socket(listener)
                return OpenListener(listener, _listening(raw), os.lstat(address.path).st_ino)
        return OpenListener(listener, _listening(_tcp_socket(listener)))
    except OSError as error:
        raise _cannot_listen(address.text, error) from error


def _listening(raw: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


def _tcp_socket(listener: Listener) -> socket.socket:
    host, port = listener.address.host, listener.address.port
    raw = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind((host, port))
        raw.listen(listener.connections)
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


def _check_directory(path: str) -> None:
    """Make the directory of a socket, or see that it is fit; HostError if others can change what
    lies there: they could put a socket of their own in the place of ours."""
    directory = os.path.dirname(path) or "/"
    try:
        os.mkdir(directory, DIRECTORY_MODE)
        os.chmod(directory, DIRECTORY_MODE)  # (whatever the umask made of it)
    except FileExistsError:
        pass
    found = os.stat(directory)
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise HostError(
            f"cannot listen on {path}: other users can change {directory}: choose a directory "
            "that only root can change, like /run/weave-py"
        )


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """No other router looks for a dead socket at `path` meanwhile.

    (Two that find the same one would else each remove what the other has just made. The lock is a
    file that only we can open: anybody could hold one of a directory for ever.)
    """
    lock = f"{path}.lock"
    fd = _open_locked(lock)
    while not _is_at(fd, lock):  # whoever had it before has removed it
        os.close(fd)
        fd = _open_locked(lock)
    try:
        yield
    finally:
        os.unlink(lock)
        os.close(fd)


def _open_locked(lock: str) -> int:
    fd = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


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


def _cannot_listen(where: str, error: OSError) -> HostError:
    if error.errno == errno.EADDRINUSE:
        return HostError(
            f"something already listens on {where}: stop it (weave-py stop), or choose another "
            "--http-addr"
        )
    return HostError(f"cannot listen on {where}: {error.strerror}: choose another --http-addr")
