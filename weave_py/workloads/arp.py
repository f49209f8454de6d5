"""Does anybody use this IPv4 address already, and who must hear that we do now?

Address conflict detection after RFC 5227, hurried: its probes are seconds apart, which no container
start would wait for; ours are for an overlay whose round trips take milliseconds.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from weave_py.host.refusal import refused

PROBES: Final = 3
PROBE_INTERVAL: Final = 0.2
"""Seconds after each probe, so that an answer is waited for 0.6 s in all."""

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")  # Ethernet header, then RFC 826
_REQUEST, _REPLY = 1, 2
_FIXED = (_ETH_P_ARP, 1, 0x0800, 6, 4)  # frame type, hardware, protocol, their address lengths
_UNSPECIFIED = IPv4Address(0)


class Claim(NamedTuple):
    """Somebody who uses an address, or is about to."""

    address: IPv4Address
    mac: bytes


def encode_request(mac: bytes, sender: IPv4Address, target: IPv4Address) -> bytes:
    """A broadcast ARP request: a probe from 0.0.0.0, an announcement if both are the same."""
    return _FRAME.pack(
        _BROADCAST, mac, *_FIXED, _REQUEST, mac, sender.packed, bytes(6), target.packed
    )


def decode_claim_untrusted(frame: bytes, own_mac: bytes) -> Claim | None:
    """Which address the frame's sender claims (RFC 5227 §2.1.1); None if it claims none.

    A claim is any ARP packet sent from an address, and a probe of another host for it.
    """
    if len(frame) < _FRAME.size:
        return None
    _, _, *fixed, operation, mac, sender, _, target = _FRAME.unpack_from(frame)
    if tuple(fixed) != _FIXED or operation not in (_REQUEST, _REPLY) or mac == own_mac:
        return None
    if IPv4Address(sender) != _UNSPECIFIED:
        return Claim(IPv4Address(sender), mac)
    return Claim(IPv4Address(target), mac) if operation == _REQUEST else None


def find_conflict(
    ifname: str, wanted: Collection[IPv4Address], *, interval: float = PROBE_INTERVAL
) -> Claim | None:
    """Probe for `wanted` addresses on `ifname` (which is up); the first answer, or None.

    Takes PROBES times `interval` seconds when nobody answers. HostError without CAP_NET_RAW.
    """
    if not wanted:
        return None
    with _arp_socket(ifname) as (sock, mac):
        for _ in range(PROBES):
            for address in wanted:
                sock.send(encode_request(mac, _UNSPECIFIED, address))
            deadline = time.monotonic() + interval
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    claim = decode_claim_untrusted(sock.recv(2048), mac)
                except TimeoutError:
                    break
                if claim is not None and claim.address in wanted:
                    return claim
    return None


def announce(ifname: str, addresses: Collection[IPv4Address]) -> None:
    """Tell everybody that `addresses` live here now, so that stale caches mend (RFC 5227 §2.3)."""
    if not addresses:
        return
    with _arp_socket(ifname) as (sock, mac):
        for address in addresses:
            sock.send(encode_request(mac, address, address))


def ipv4_of(cidrs: Collection[str]) -> list[IPv4Address]:
    """The IPv4 ones among `ADDRESS/LENGTH`; IPv6 has its own ways."""
    found = (ipaddress.ip_interface(cidr).ip for cidr in cidrs)
    return [address for address in found if isinstance(address, IPv4Address)]


@contextmanager
def _arp_socket(ifname: str) -> Iterator[tuple[socket.socket, bytes]]:
    """A socket for ARP frames on `ifname`, with the interface's MAC."""
    doing = f"cannot speak ARP on {ifname}"
    try:
        # Protocol 0: nothing arrives from any interface before the bind says what and where.
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((ifname, _ETH_P_ARP))
            yield sock, sock.getsockname()[4]
    except OSError as error:
        raise refused(doing, error.errno or errno.EIO, capability="CAP_NET_RAW") from None
