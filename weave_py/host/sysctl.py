"""How is a network setting read and changed that netlink does not offer?

`/proc/sys/net` shows the network namespace of the thread that opens it, so the same calls work
inside a container's namespace (`host.netns.run_inside`).
"""

from __future__ import annotations

import errno
from pathlib import Path

from weave_py.model.errors import HostError

_ROOT = Path("/proc/sys/net")


def read_sysctl(setting: str) -> str | None:
    """What `/proc/sys/net/<setting>` holds; None if this kernel lacks it."""
    try:
        return (_ROOT / setting).read_text().strip()
    except OSError:
        return None


def try_sysctl(setting: str, value: int) -> bool:
    """Set `/proc/sys/net/<setting>`; False if this kernel lacks it or refuses."""
    try:
        (_ROOT / setting).write_text(f"{value}\n")
    except OSError:
        return False
    return True


def require_sysctl(setting: str, value: int) -> None:
    """Set `/proc/sys/net/<setting>`; HostError if it exists and cannot be made `value`.

    A missing setting is fine: it belongs to a protocol that this kernel does not have (IPv6).
    """
    path = _ROOT / setting
    try:
        if path.read_text().strip() == str(value):
            return
        path.write_text(f"{value}\n")
    except FileNotFoundError:
        return
    except OSError as error:
        what = f"cannot set {path} to {value}: {error.strerror}"
        if error.errno == errno.EROFS:
            raise HostError(f"{what}: run where /proc/sys is writable") from None
        raise HostError(f"{what}: run as root (sudo)") from None
