"""Does anybody use these addresses already, and who must hear that we do now?

Conflict detection after RFC 5227 and RFC 4862, hurried: their probes are seconds apart, which no
container start would wait for; ours are for an overlay whose round trips take milliseconds. The
kernel's own detection for IPv6 takes as long, does not say who the other is, and knows no way to
refuse: the address stays, marked.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from weave_py.host.refusal import refused
from weave_py.host.sysctl import read_sysctl
from weave_py.workloads import arp, ndp
from weave_py.workloads.claim import Address, Claim

PROBES: Final = 3
PROBE_INTERVAL: Final = 0.2
"""Seconds after each probe, so that an answer is waited for 0.6 s in all."""

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_FRAME_BYTES = 2048


def find_conflict(
    ifname: str, wanted: Collection[Address], *, interval: float = PROBE_INTERVAL
) -> Claim | None:
    """Probe for `wanted` addresses on `ifname` (which is up); the first answer, or None.

    Takes PROBES times `interval` seconds when nobody answers. HostError without CAP_NET_RAW.
    """
    if not wanted:
        return None
    with _wires(ifname) as wires:
        for _ in range(PROBES):
            for address in wanted:
                wires.of(address).send(_probe(wires.mac, address))
            deadline = time.monotonic() + interval
            while (left := deadline - time.monotonic()) > 0:
                for claim in _claims(wires, left):
                    if claim.address in wanted:
                        return claim
    return None


def announce(ifname: str, addresses: Collection[Address]) -> None:
    """Tell everybody that `addresses` live here now. HostError without CAP_NET_RAW."""
    if not addresses:
        return
    from_router = read_sysctl(f"ipv6/conf/{ifname}/forwarding") == "1"
    with _wires(ifname) as wires:
        for address in addresses:
            wires.of(address).send(_announcement(wires.mac, address, from_router))


class _Wires(NamedTuple):
    """Packet sockets on one interface."""

    arp: socket.socket
    ndp: socket.socket
    mac: bytes
    """The interface's."""

    def of(self, address: Address) -> socket.socket:
        return self.arp if isinstance(address, IPv4Address) else self.ndp


@contextmanager
def _wires(ifname: str) -> Iterator[_Wires]:
    try:
        # Protocol 0: nothing arrives from any interface before the bind says what and where.
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as for_arp,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as for_ndp,
        ):
            for_arp.bind((ifname, arp.ETHER_TYPE))
            _let_in_only(for_ndp, ndp.KERNEL_FILTER)
            for_ndp.bind((ifname, ndp.ETHER_TYPE))
            yield _Wires(for_arp, for_ndp, for_arp.getsockname()[4])
    except OSError as error:
        raise refused(
            f"cannot speak ARP and NDP on {ifname}", error.errno, capability="CAP_NET_RAW"
        ) from None


def _let_in_only(sock: socket.socket, program: Collection[tuple[int, int, int, int]]) -> None:
    """Attach a classic BPF program; anybody may, to sockets of their own."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def _claims(wires: _Wires, seconds: float) -> Iterator[Claim]:
    """What is claimed in the frames that come next; waits for them that long at most."""
    with selectors.DefaultSelector() as selector:
        selector.register(wires.arp, selectors.EVENT_READ, arp.decode_claim_untrusted)
        selector.register(wires.ndp, selectors.EVENT_READ, ndp.decode_claim_untrusted)
        for key, _ in selector.select(seconds):
            frame = os.read(key.fd, _FRAME_BYTES)
            if (claim := key.data(frame, wires.mac)) is not None:
                yield claim


def _probe(mac: bytes, address: Address) -> bytes:
    if isinstance(address, IPv4Address):
        return arp.encode_probe(mac, address)
    return ndp.encode_probe(mac, address)


def _announcement(mac: bytes, address: Address, from_router: bool) -> bytes:
    if isinstance(address, IPv4Address):
        return arp.encode_announcement(mac, address)
    return ndp.encode_announcement(mac, address, from_router=from_router)
