"""What does a refusal of the kernel mean to the person who started us?"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from weave_py.model.errors import ConfigError, HostError

_IFNAME = re.compile(r"[^\s/:%]{1,15}")


def refused(doing: str, code: int | None, *, capability: str = "CAP_NET_ADMIN") -> HostError:
    """A `HostError` for an errno: what we were doing, why it failed, and what to do if known."""
    if code in (errno.EPERM, errno.EACCES):
        return HostError(
            f"{doing}: needs {capability}: run as root (sudo) or grant that capability"
        )
    if code == errno.ENODEV:
        return HostError(
            f"{doing}: there is no such interface (was it deleted by another program?)"
        )
    if code == errno.EOPNOTSUPP:
        return HostError(f"{doing}: this kernel does not support it: load the module or upgrade")
    return HostError(f"{doing}: {os.strerror(code) if code else 'unknown error'}")


@contextmanager
def doing(what: str, expected: int | None = None) -> Iterator[list[int]]:
    """Turn refusals into HostError, but for one errno: that one ends up in the list yielded."""
    outcome: list[int] = []
    try:
        yield outcome
    except OSError as error:
        if expected is None or error.errno != expected:
            raise refused(what, error.errno) from None
        outcome.append(expected)


def checked_ifname(name: str) -> str:
    """`name` itself if the kernel takes it for an interface; ConfigError otherwise.

    Also what makes it safe to put the name into a path below /proc/sys.
    """
    if not _IFNAME.fullmatch(name) or name in (".", "..") or len(os.fsencode(name)) > 15:
        raise ConfigError(
            f"not an interface name: {name!r}: use 1 to 15 characters without spaces, '/', ':', '%'"
        )
    return name
