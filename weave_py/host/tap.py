"""How do Ethernet frames, and super-frames of up to 64 KiB, get from the kernel to us and back?

A TAP opened with `IFF_VNET_HDR` precedes every frame by a virtio_net_hdr (virtio 1.1 §5.1.6) that
says how to finish it: checksums and segmentation are then left to whoever needs them done, and a
whole TCP super-frame crosses in one read or write. The header is stretched to 16 bytes: what
follows the 10 bytes of virtio leaves room for the frame's own length, so that bundled frames lie
back to back without copying.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from types import TracebackType
from typing import Final

from weave_py.host.refusal import checked_ifname, refused
from weave_py.model.errors import HostError

VNET_HEADER_BYTES: Final = 16

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_TUNSETVNETLE = 0x400454DC
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_TUN_EXCL = 0x8000  # never join a device that somebody else made persistent

_TUN_DEVICE = "/dev/net/tun"

# TUN_F_*: what the kernel may leave undone in frames it hands to us.
_BASIC = {"csum": 0x01, "tso4": 0x02, "tso6": 0x04, "tso_ecn": 0x08}
_USO = {"uso4": 0x20, "uso6": 0x40}  # since Linux 6.2


class Tap:
    """An open TAP; the device vanishes with the descriptor. A context manager."""

    def __init__(self, fd: int, name: str, offloads: frozenset[str]) -> None:
        self.fd = fd
        self.name = name
        self.offloads = offloads
        """What the kernel may leave undone: of csum, tso4, tso6, tso_ecn, uso4, uso6."""
        self.vnet_header_bytes = VNET_HEADER_BYTES

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        """Close the descriptor, and with it remove the device; closing twice is harmless."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Tap {self.name} fd={self.fd} offloads={'+'.join(sorted(self.offloads)) or '-'}>"


def open_tap(name: str) -> Tap:
    """Create the TAP `name`, non-blocking and down; netlink is not touched.

    HostError when the name is taken, without CAP_NET_ADMIN, or without /dev/net/tun.
    """
    fd = _open_clone_device()
    try:
        _name_it(fd, checked_ifname(name))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_BYTES))
        # Byte order of the header is then the same on every host: it travels inside records.
        fcntl.ioctl(fd, _TUNSETVNETLE, struct.pack("i", 1))
        return Tap(fd, name, _enable_offloads(fd))
    except OSError as error:
        os.close(fd)
        raise refused(f"cannot set up TAP {name}", error.errno) from None
    except BaseException:
        os.close(fd)
        raise


def _open_clone_device() -> int:
    try:
        return os.open(_TUN_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise HostError(
                f"{_TUN_DEVICE} is missing: load the module (modprobe tun), "
                f"or pass the device into this container"
            ) from None
        raise refused(f"cannot open {_TUN_DEVICE}", error.errno) from None


def _name_it(fd: int, name: str) -> None:
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
    request = struct.pack("16sH22x", os.fsencode(name), flags)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError as error:
        # EBUSY: another TAP or TUN; EINVAL or EEXIST: an interface of another kind.
        if error.errno in (errno.EBUSY, errno.EINVAL, errno.EEXIST):
            raise HostError(
                f"interface {name} exists already: remove it (ip link delete {name}) "
                f"or stop the program that made it"
            ) from None
        raise refused(f"cannot create TAP {name}", error.errno) from None


def _enable_offloads(fd: int) -> frozenset[str]:
    """The most that this kernel accepts; nothing at all still works, only slowly."""
    for offloads in (_BASIC | _USO, _BASIC):
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, sum(offloads.values()))
        except OSError:
            continue
        return frozenset(offloads)
    return frozenset()
