"""Do frames pass from one port of a bridge to another? Sent and received, not deduced.

Two TAPs are plugged in for a moment; one gets what is addressed to its MAC alone, and nothing is
flooded, so that containers and other hosts see none of it. The frames hold UDP of the addresses
that are set aside for documentation (RFC 5737, RFC 3849), to the discard port.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import select
import struct
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

from weave_py.host.tap import VNET_HEADER_BYTES, Tap, open_tap
from weave_py.model.errors import HostError

ROUNDS: Final = 4
ROUND_SECONDS: Final = 0.1
_FORWARDING_SECONDS: Final = 1.0
_MTU: Final = 576
_MOST_READ: Final = 64

_ADDRESSES: Final = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
_ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}
_UDP: Final = 17
_DISCARD: Final = 9
_HOPS: Final = 64


def dropped(bridge: str, versions: Iterable[int] = (4, 6)) -> tuple[int, ...]:
    """The IP versions of which nothing passes. HostError if that cannot be tried."""
    from weave_py.host.netlink import Netlink

    waiting = sorted(versions)
    with ExitStack() as opened:
        netlink = opened.enter_context(Netlink())
        ends: list[tuple[Tap, bytes]] = []
        for letter in "ab":
            tap = opened.enter_context(open_tap(f"wvt-{letter}{os.getpid()}"))
            mac = b"\x02" + secrets.token_bytes(5)
            netlink.plug_port(tap.name, bridge, mtu=_MTU, isolated=False)
            netlink.seclude_port(tap.name, mac.hex(":"))
            ends.append((tap, mac))
        for tap, _ in ends:
            if not netlink.wait_forwarding(tap.name, _FORWARDING_SECONDS):
                raise HostError(f"bridge {bridge} opens no new port: does it run STP?")
        (sender, source), (receiver, target) = ends
        frames = {version: frame(version, source, target) for version in waiting}
        for _ in range(ROUNDS):
            for version in waiting:
                _send(sender, frames[version])
            waiting = _missing(receiver, {version: frames[version] for version in waiting})
            if not waiting:
                break
    return tuple(waiting)


def frame(version: int, source: bytes, target: bytes) -> bytes:
    """An Ethernet frame with a UDP packet of this IP version; the MACs are given."""
    addresses = [ipaddress.ip_address(text).packed for text in _ADDRESSES[version]]
    payload = b"weave-py" + secrets.token_bytes(8)
    length = 8 + len(payload)
    pseudo = b"".join(addresses) + struct.pack("!IHBB", length, 0, 0, _UDP)
    udp = struct.pack("!HHH", _DISCARD, _DISCARD, length)
    udp += struct.pack("!H", _checksum(pseudo + udp + b"\0\0" + payload) or 0xFFFF)
    if version == 4:
        total = 20 + length
        before = struct.pack("!BBHHHBB", 0x45, 0, total, 0, 0, _HOPS, _UDP)
        check = _checksum(before + b"\0\0" + b"".join(addresses))
        header = before + struct.pack("!H", check)
    else:
        header = struct.pack("!IHBB", 6 << 28, length, _UDP, _HOPS)
    header += b"".join(addresses)
    ethernet = target + source + struct.pack("!H", _ETHERTYPES[version])
    return ethernet + header + udp + payload


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _send(tap: Tap, data: bytes) -> None:
    try:
        os.write(tap.fd, bytes(VNET_HEADER_BYTES) + data)
    except OSError as error:
        raise HostError(f"cannot send through {tap.name}: {error.strerror}") from None


def _missing(tap: Tap, frames: dict[int, bytes]) -> list[int]:
    """The versions whose frame does not come within a round."""
    left = dict(frames)
    deadline = time.monotonic() + ROUND_SECONDS
    poll = select.poll()
    poll.register(tap.fd, select.POLLIN)
    for _ in range(_MOST_READ):
        wait = deadline - time.monotonic()
        if not left or wait <= 0 or not poll.poll(wait * 1000):
            break
        try:
            data = os.read(tap.fd, 1 << 16)[VNET_HEADER_BYTES:]
        except OSError:
            continue
        left = {version: sent for version, sent in left.items() if sent != data}
    return list(left)
