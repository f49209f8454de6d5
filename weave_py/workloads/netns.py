"""Which network namespace does the user mean, and how do we act inside it?"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from weave_py.host.refusal import refused
from weave_py.model.errors import HostError

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703  # linux/nsfs.h
_NAMED = "/run/netns"
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ENGINES: Final = ("docker", "podman")
_ENGINE_SECONDS: Final = 10.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace as it was when it was looked up."""

    target: str
    """What the user called it."""
    path: str
    device: int
    inode: int

    @property
    def identity(self) -> tuple[int, int]:
        """(st_dev, st_ino): equal for two ways to name one namespace, and for no others."""
        return (self.device, self.inode)

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor of it; HostError if it has gone, or the path now leads to another one."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise HostError(f"namespace {self.target} has gone: is it still running?") from None
        except OSError as error:
            raise refused(f"cannot open {self.path}", error.errno) from None
        try:
            found = os.fstat(fd)
            # A process id may have been given to another process meanwhile.
            if (found.st_dev, found.st_ino) != self.identity:
                raise HostError(f"namespace {self.target} was replaced meanwhile: try again")
            yield fd
        finally:
            os.close(fd)


def resolve_namespace(target: str) -> Namespace:
    """The namespace of a path, a PID, a name in /run/netns, or a running container.

    HostError when there is none. Asking Docker or Podman may take seconds.
    """
    if "/" in target:
        return _namespace(target, target)
    if target.isascii() and target.isdecimal() and os.path.exists(f"/proc/{target}/ns"):
        return _namespace(target, f"/proc/{target}/ns/net")
    if target not in ("", ".", "..") and os.path.exists(f"{_NAMED}/{target}"):
        return _namespace(target, f"{_NAMED}/{target}")
    complaints = []
    if _CONTAINER.fullmatch(target):
        for engine in _ENGINES:
            pid, complaint = _ask_engine(engine, target)
            if pid:
                return _namespace(target, f"/proc/{pid}/ns/net")
            if complaint:
                complaints.append(complaint)
    raise _unknown(target, complaints)


def own_namespace() -> Namespace:
    """The namespace of the calling thread."""
    return _namespace("this host", "/proc/thread-self/ns/net")


def run_inside(namespace: Namespace, function: Callable[[], _Result]) -> _Result:
    """Call `function` in a thread that lives in `namespace` and ends with the call.

    What the function raises is raised here. Sockets made in it stay in that namespace.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _enter(namespace)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name=f"netns {namespace.target}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(namespace: Namespace) -> None:
    """setns(2) for the calling thread only; Python 3.11 has no call for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with namespace.open() as fd:
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise refused(
                f"cannot enter namespace {namespace.target}", code, capability="CAP_SYS_ADMIN"
            ) from OSError(
                code, os.strerror(code)
            )  # tells commands whether it is a matter of rights


def _namespace(target: str, path: str) -> Namespace:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise refused(f"cannot open {path}", error.errno, capability="CAP_SYS_PTRACE") from None
        raise _unknown(target, []) from None
    try:
        if fcntl.ioctl(fd, _NS_GET_NSTYPE) != _CLONE_NEWNET:
            raise OSError(errno.EINVAL, "another kind of namespace")
        found = os.fstat(fd)
    except OSError:
        raise HostError(
            f"{path} is not a network namespace: expected a path like {_NAMED}/NAME or "
            f"/proc/PID/ns/net"
        ) from None
    finally:
        os.close(fd)
    return Namespace(target, path, found.st_dev, found.st_ino)


def _ask_engine(engine: str, container: str) -> tuple[int, str]:
    """The PID of a container's first process, or 0 and why not ("" if there is no engine)."""
    program = shutil.which(engine)
    if program is None:
        return 0, ""
    command = [program, "inspect", "--type", "container", "-f", "{{.State.Pid}}", "--", container]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_ENGINE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return 0, f"{engine} did not answer within {_ENGINE_SECONDS:.0f} s"
    except OSError as error:
        return 0, f"{engine}: {error.strerror}"
    answer = done.stdout.strip()
    if done.returncode != 0 or not answer.isdecimal():
        lines = done.stderr.strip().splitlines() or ["no such container"]
        return 0, f"{engine}: {lines[-1][:200]}"
    if answer == "0":
        raise HostError(f"container {container} is not running: start it first ({engine} start)")
    return int(answer), ""


def _unknown(target: str, complaints: list[str]) -> HostError:
    said = f" ({'; '.join(complaints)})" if complaints else ""
    return HostError(
        f"no such namespace: {target}: expected a path like {_NAMED}/NAME, a PID, or a running "
        f"container's name{said}"
    )
