"""How do two routers avoid working on the same bridge?

The claim is a lock on a file in /run/weave-py that only root (or the router's user) can open, so
that nobody else can hold it; the kernel frees it when the process ends, however it ends. Locks are
those of open files (F_OFD_SETLK in fcntl(2)): of them one can ask who holds one without taking it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from weave_py.host.refusal import refused
from weave_py.host.run_directory import claim_file, make_fit
from weave_py.model.errors import HostError

_FLOCK = struct.Struct("@hhqqi")  # struct flock: type, whence, start, length (0: all), pid


@contextmanager
def claim_bridge(bridge: str) -> Iterator[None]:
    """Hold `bridge` for this process while the context lasts; HostError when it is held already."""
    path = claim_file(bridge)
    make_fit(os.path.dirname(path))
    with ExitStack() as held:
        try:
            held.enter_context(locked(path, wait=False))
        except BlockingIOError:
            raise HostError(
                f"weave-py is already running on bridge {bridge}: stop it with 'weave-py stop', "
                "or give this one another --bridge"
            ) from None
        yield


def is_claimed(bridge: str) -> bool:
    """Whether a router works on `bridge`. Disturbs nobody; False if it cannot be found out, as by
    users who may not open the lock."""
    try:
        fd = os.open(claim_file(bridge), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _ask(fd, fcntl.F_OFD_GETLK) != fcntl.F_UNLCK
    finally:
        os.close(fd)


@contextmanager
def locked(path: str, *, wait: bool) -> Iterator[None]:
    """Hold a lock file that only we can open; it is made, and removed at the end.

    BlockingIOError if it is held and we do not `wait`. The directory must be fit (`make_fit`).
    """
    fd = _open_locked(path, wait)
    while not _is_at(fd, path):  # whoever had it before has removed it
        os.close(fd)
        fd = _open_locked(path, wait)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(fd)


def _open_locked(path: str, wait: bool) -> int:
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}: run as root (sudo)") from error
    try:
        _ask(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise BlockingIOError(error.errno, error.strerror) from None
        raise refused(f"cannot lock {path}", error.errno) from None
    return fd


def _ask(fd: int, command: int) -> int:
    """The type of the lock that fcntl(2) answers with, for one over all of the file."""
    answer = fcntl.fcntl(fd, command, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return int(_FLOCK.unpack_from(answer)[0])


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False
