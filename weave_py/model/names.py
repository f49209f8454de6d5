"""How are peers, their incarnations and their addresses called?"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple, NewType

PeerName = NewType("PeerName", bytes)
"""48 bits of the hash of a peer's identity key. A label: security decisions use the whole key."""

PeerUID = NewType("PeerUID", int)
"""64 random bits, new at every start of a router: tells a restarted peer from a running one."""

NAME_BYTES = 6
DEFAULT_PORT = 6783
MAX_NEIGHBOURS = 256
"""As many fit into a topology record, with the longest addresses there are."""

_NAME = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,15}")  # an interface's name or number


def name_text(name: PeerName) -> str:
    """The name as users see it: like a MAC address, `8a:3e:…`."""
    return name.hex(":")


def parse_name(text: str) -> PeerName:
    """Read `name_text`'s form back; ValueError for anything else."""
    if not _NAME.fullmatch(text.lower()):
        raise ValueError(f"not a peer name (like 8a:3e:00:11:22:33): {text!r}")
    return PeerName(bytes.fromhex(text.replace(":", "")))


class Endpoint(NamedTuple):
    """A numeric underlay address. IPv4-mapped IPv6 addresses are never used: see `endpoint`."""

    host: str
    port: int

    @property
    def text(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family_is_ipv6(self) -> bool:
        return ":" in self.host


@lru_cache(maxsize=4096)  # each record names the same ones again, and more
def endpoint(host: str, port: int) -> Endpoint:
    """A canonical `Endpoint` (IPv4-mapped becomes IPv4); ValueError unless `host` is numeric."""
    numeric, percent, scope = host.partition("%")
    address = ipaddress.ip_address(numeric)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    # Strangers' addresses come through here: a scope is no place for free text.
    if percent and (address.version == 4 or not _SCOPE.fullmatch(scope)):
        raise ValueError(f"not an address: {host!r}")
    if not 0 < port < 65536:
        raise ValueError(f"not a port: {port}")
    return Endpoint(str(address) + percent + scope, port)


class Target(NamedTuple):
    """An address we were asked to call: a host name or numeric address, and a port."""

    host: str
    port: int
    text: str
    """As the user typed it: the identity of the target in `status targets` and `forget`."""


def parse_target(text: str, default_port: int = DEFAULT_PORT) -> Target:
    """`host`, `host:port`, `1.2.3.4:port`, `::1` or `[::1]:port`; ValueError otherwise."""
    stripped = text.strip()
    host, port_text = stripped, ""
    if stripped.startswith("["):
        inside, bracket, rest = stripped[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"not a peer address (expected [IPV6]:PORT): {text!r}")
        host, port_text = inside, rest[1:]
    elif stripped.count(":") == 1:
        host, _, port_text = stripped.partition(":")
        if not port_text:
            raise ValueError(f"not a peer address (the port is missing): {text!r}")
    if port_text and (not port_text.isdecimal() or not 0 < int(port_text) < 65536):
        raise ValueError(f"not a peer address (bad port {port_text!r}): {text!r}")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host) or (":" in host and not _is_ipv6(host)):
        raise ValueError(f"not a peer address (expected HOST or HOST:PORT): {text!r}")
    if why := _why_nobody(host):
        raise ValueError(f"not a peer address ({why}): {text!r}")
    return Target(host, int(port_text) if port_text else default_port, stripped)


def _is_ipv6(host: str) -> bool:
    address = _numeric(host)
    return address is not None and address.version == 6


def _why_nobody(host: str) -> str:
    """Why no one peer can have this address; empty for one that may be, and for names."""
    address = _numeric(host)
    if address is None:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_link_local and "%" not in host:
            return f"a link-local one needs its interface: {host}%eth0"
        address = address.ipv4_mapped or address
    if address.is_unspecified:
        return "it stands for any address"
    if address.is_multicast or address == _BROADCAST:
        return "it is for many hosts at once"
    return ""


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
