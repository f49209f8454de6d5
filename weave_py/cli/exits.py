"""With which status does `weave-py` exit? Scripts may rely on these numbers."""

from __future__ import annotations

import errno
from enum import IntEnum

from weave_py.model.errors import (
    ConfigError,
    NotPermitted,
    RouterNotRunning,
    StateError,
    WeaveError,
)


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    """As for LSB service scripts."""
    PERMISSION = 4
    CONFIG = 78
    """EX_CONFIG of sysexits.h: a setting or the state directory cannot be used."""
    INTERRUPTED = 130


class CommandError(WeaveError):
    """The operation failed; the message says why."""


def exit_for(error: WeaveError) -> Exit:
    """The status for an error that ends a command."""
    if isinstance(error, RouterNotRunning):
        return Exit.NOT_RUNNING
    if isinstance(error, NotPermitted) or _was_refused(error):
        return Exit.PERMISSION
    if isinstance(error, ConfigError | StateError):
        return Exit.CONFIG
    return Exit.FAILED


def _was_refused(error: BaseException) -> bool:
    """Whether the error began with the kernel refusing for want of rights.

    Found in the chain of contexts: netlink's errors carry the errno as `code`, the system's as
    `errno`.
    """
    link: BaseException | None = error
    while link is not None:
        code = getattr(link, "errno", None) or getattr(link, "code", None)
        if code in (errno.EPERM, errno.EACCES):
            return True
        link = link.__cause__ or link.__context__
    return False
