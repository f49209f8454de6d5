"""May this process do what a router must do?"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from weave_py.model.errors import HostError

_CAP_NET_ADMIN = 12  # linux/capability.h


def check_privileges(
    status_file: Path = Path("/proc/self/status"), tun_device: Path = Path("/dev/net/tun")
) -> None:
    """HostError listing everything that is missing; silence when a router can run."""
    missing: list[str] = []
    cause: OSError | None = None  # tells commands whether it is a matter of rights: exit status
    if not may_administer(status_file):
        missing.append("CAP_NET_ADMIN is missing: run as root (sudo) or grant that capability")
        cause = PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    if error := _error_of_opening(tun_device):
        missing.append(_advice(tun_device, error))
        cause = cause or error
    if missing:
        raise HostError("; ".join(missing)) from cause


def may_administer(status_file: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may change the network (CAP_NET_ADMIN)."""
    return bool(_effective_capabilities(status_file) >> _CAP_NET_ADMIN & 1)


def _effective_capabilities(status_file: Path) -> int:
    try:
        for line in status_file.read_text().splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    except (OSError, ValueError, IndexError):
        pass
    # Without /proc the kernel's own refusals will tell; do not stop what might work.
    return -1


def _error_of_opening(tun_device: Path) -> OSError | None:
    try:
        os.close(os.open(tun_device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


def _advice(tun_device: Path, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            f"{tun_device} is missing: load the module (modprobe tun), "
            f"or pass the device into this container"
        )
    return (
        f"{tun_device} cannot be opened ({error.strerror}): run as root (sudo), "
        f"or allow the device in this container"
    )
