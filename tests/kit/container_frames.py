"""What can a container say that its neighbours should not believe? Frames, sent as they are."""

from __future__ import annotations

import socket
import struct
import time
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tests.kit.inside import inside
from weave_py.lab.namespaces import Lab
from weave_py.model.marks import CONTAINER_IFNAME

PREFIX: Final = "2001:db8:bad::"
"""What the router advertisement tells its hearers to live in."""
BROADCAST: Final = b"\xff" * 6
_ROUTER = IPv6Address("fe80::bad")
_ALL_NODES = IPv6Address("ff02::1")
_EVERYBODY_MAC = bytes.fromhex("333300000001")
_UDP, _ICMPV6 = 17, 58


def packet_socket(lab: Lab, container: str) -> socket.socket:
    """Sends frames from the container's end of its attachment."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((CONTAINER_IFNAME, 0))
        return sock

    return inside(lab, container, make)


def mac_of(lab: Lab, name: str, ifname: str = CONTAINER_IFNAME) -> bytes:
    found = lab.exec(name, ["cat", f"/sys/class/net/{ifname}/address"]).stdout
    return bytes.fromhex(found.strip().replace(":", ""))


def say(lab: Lab, container: str, *frames: bytes, copies: int = 3) -> None:
    """Send these, each with the container's own MAC as its source (where it has none)."""
    mac = mac_of(lab, container)
    with packet_socket(lab, container) as sock:
        for frame in frames * copies:
            sock.send(frame[:6] + mac + frame[6:])


def flood_macs(lab: Lab, container: str, count: int, first: int, per_second: float) -> float:
    """Broadcast `count` frames, each from another MAC; the seconds that took."""
    begun = time.monotonic()
    with packet_socket(lab, container) as sock:
        for number in range(count):
            mac = b"\x02" + (first + number).to_bytes(5, "big")
            sock.send(BROADCAST + mac + b"\x88\xb6" + bytes(46))
            ahead = number / per_second - (time.monotonic() - begun)
            if ahead > 0.01:
                time.sleep(ahead)
    return time.monotonic() - begun


# Frames, without their source MAC


def router_advertisement() -> bytes:
    """RFC 4861 §4.2: a default router, and a prefix to live in."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0)
    body = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + prefix + IPv6Address(PREFIX).packed
    return _icmpv6(134, body)


def redirect() -> bytes:
    """RFC 4861 §4.5: one that names us as the way to everything."""
    body = bytes(4) + _ROUTER.packed + IPv6Address("2001:db8::1").packed
    return _icmpv6(137, body)


def udp(
    target_mac: bytes,
    source: str,
    source_port: int,
    target: str,
    target_port: int,
    payload: bytes = b"HELLO",
) -> bytes:
    """A UDP datagram in IPv4 or IPv6."""
    length = 8 + len(payload)
    head = struct.pack("!HHH", source_port, target_port, length)
    if ":" in source:
        ends = IPv6Address(source).packed + IPv6Address(target).packed
        pseudo = ends + struct.pack("!II", length, _UDP)
        check = _checksum(pseudo + head + b"\0\0" + payload)
        header = b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + ends
    else:
        ends = IPv4Address(source).packed + IPv4Address(target).packed
        pseudo = ends + struct.pack("!HH", _UDP, length)
        check = _checksum(pseudo + head + b"\0\0" + payload)
        whole = head + struct.pack("!H", check or 0xFFFF) + payload
        return ipv4(target_mac, source, target, _UDP, whole)
    return target_mac + header + head + struct.pack("!H", check or 0xFFFF) + payload


def ipv4(target_mac: bytes, source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 packet."""
    ends = IPv4Address(source).packed + IPv4Address(target).packed
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol)
    sum_of_header = struct.pack("!H", _checksum(before + b"\0\0" + ends))
    return target_mac + b"\x08\x00" + before + sum_of_header + ends + payload


def tagged(frame: bytes, times: int = 1) -> bytes:
    """The same with priority tags (VLAN 0), which mean nothing to whoever receives them."""
    return frame[:6] + b"\x81\x00\x00\x00" * times + frame[6:]


def _icmpv6(kind: int, body: bytes) -> bytes:
    ends = _ROUTER.packed + _ALL_NODES.packed
    length = 4 + len(body)
    pseudo = ends + struct.pack("!II", length, _ICMPV6)
    check = _checksum(pseudo + struct.pack("!BBH", kind, 0, 0) + body)
    header = struct.pack("!IHBB", 6 << 28, length, _ICMPV6, 255) + ends
    return _EVERYBODY_MAC + b"\x86\xdd" + header + struct.pack("!BBH", kind, 0, check) + body


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
