"""Who could slip a frame of their own into the inner network by plain VXLAN, and does it arrive?

Two members, h1 and h2, and a stranger, h3, share a wire. On h1 and h2 somebody else's container
sits behind the host's address (masqueraded). Each attack is a few UDP packets to h2's VXLAN port
with the right VNI; what they carry is looked for in h2's container. All of them exist by IPv4 and
by IPv6: those of the version that the members' VXLAN devices speak are the ones that could work.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.kit import container_frames
from tests.kit.inside import inside, udp_socket
from weave_py.lab import commands
from weave_py.lab.namespaces import Lab

UNPRIVILEGED = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"),
)
ETHERTYPE = 0x88B6
COPIES = 5
LISTEN_SECONDS = 0.5
H1, H2 = "10.99.1.1", "10.99.1.2"
_WIRE = "%wire"
"""In an address: the scope of the device that leads to the others."""


class Places(NamedTuple):
    """Addresses of one IP version."""

    h1: str
    h2: str
    elsewhere: str
    """An address of h2's that is in no trusted subnet."""
    absent: str
    """Of a member that is not there."""
    everybody: str
    group: str
    loopback: str


PLACES: Final = {
    4: Places(H1, H2, "198.51.100.2", "10.99.1.77", "10.99.1.255", "224.0.0.1", "127.0.0.1"),
    6: Places(
        *("fd00:99:1::1", "fd00:99:1::2", "2001:db8:5::2", "fd00:99:1::77"),
        *(f"ff02::1{_WIRE}", f"ff02::1{_WIRE}", "::1"),
    ),
}
TRUSTED = ",".join(
    f"{host}/{128 if version == 6 else 32}"
    for version, places in PLACES.items()
    for host in (places.h1, places.h2, places.absent)
)

_SEND = """
import socket, sys
source, target, port, packet, copies = sys.argv[1:]
family = socket.AF_INET6 if ":" in target else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
if source:
    sock.bind((source, 0))
for _ in range(int(copies)):
    try:
        sock.sendto(bytes.fromhex(packet), (target, int(port)))
    except OSError as error:
        print(error)  # to be refused is one way to fail
"""


class Attack(NamedTuple):
    """`host`: a host, or `x1` and `x2`, the containers of others on h1 and h2."""

    host: str
    target: str
    source: str = ""
    nobody: bool = False
    """As a user without any rights."""
    forged: bool = False
    """The source is somebody else's: a raw socket makes the packet."""


def attacks(version: int) -> Mapping[str, Attack]:
    """All of them, by IPv4 or IPv6."""
    at = PLACES[version]
    own = f"nobody here, by {at.loopback}"
    return {
        "a stranger": Attack("h3", at.h2),
        "nobody on a member's host": Attack("h1", at.h2, nobody=True),
        "nobody on a member's host, to another address": Attack(
            "h1", at.elsewhere, at.h1, nobody=True
        ),
        "nobody on a member's host, to everybody": Attack("h1", at.everybody, nobody=True),
        "nobody on a member's host, to all by multicast": Attack(
            "h1", at.group, at.h1, nobody=True
        ),
        "a container behind a member's address": Attack("x1", at.h2),
        "a container that says it is a member": Attack("x1", at.h2, at.absent, forged=True),
        "a container of the victim's host": Attack("x2", at.h2),
        "one that says it is a member": Attack("x2", at.h2, at.h1, forged=True),
        own: Attack("h2", at.loopback, nobody=True),
        f"{own} from the host's address": Attack("h2", at.loopback, at.h2, nobody=True),
        "nobody here, by the host's address": Attack("h2", at.h2, nobody=True),
    }


class Tunnel(NamedTuple):
    """What says to which of a host's VXLAN devices a packet goes."""

    vni: int
    port: int
    """UDP."""


@contextmanager
def attackers(lab: Lab) -> Iterator[None]:
    """Add the containers of others, and h2's address elsewhere."""
    names = {"x1": "h1", "x2": "h2"}
    for name in names:
        commands.run(["ip", "netns", "add", lab.ns(name)])
    try:
        for name, host in names.items():
            _put_behind(lab, name, host)
        for at in PLACES.values():
            _ip(lab, "h2", f"addr add {at.elsewhere} dev lo")
            _ip(lab, "h1", f"route add {at.elsewhere} via {at.h2}")
        yield
    finally:
        for name in names:
            commands.run(["ip", "netns", "del", lab.ns(name)])


def delivered(lab: Lab, attack: Attack, tunnel: Tunnel) -> int:
    """How many of the attack's frames arrive in the inner network of h2."""
    with _ears(lab) as ears:
        _send(lab, attack, tunnel.port, packet(tunnel.vni, b"INJECTED"))
        found = 0
        try:
            while found < COPIES:
                found += b"INJECTED" in ears.recv(2048)
        except TimeoutError:
            pass
        return found


def nobody_reaches(lab: Lab, host: str, address: str, where: str = "c2") -> bool:
    """Whether what a user of the host says to an address of `where` arrives."""
    with udp_socket(lab, where, address, 7777) as ears:
        ears.settimeout(10 * LISTEN_SECONDS)
        argv = [sys.executable, "-c", _SEND, "", address, "7777", b"hello".hex(), str(COPIES)]
        lab.exec(host, [*UNPRIVILEGED, *argv])
        try:
            return ears.recv(100) == b"hello"
        except TimeoutError:
            return False


def tunnel_of(lab: Lab, host: str) -> Tunnel:
    """Of the host's only VXLAN device of ours. (Any user of either host can read it.)"""
    shown = json.loads(lab.exec(host, ["ip", "-j", "-d", "link", "show", "type", "vxlan"]).stdout)
    (found,) = [link for link in shown if link and link["ifname"].startswith("wvx")]
    data = found["linkinfo"]["info_data"]
    return Tunnel(int(data["id"]), int(data["port"]))


def packet(vni: int, text: bytes) -> bytes:
    """VXLAN (RFC 7348 §5) around a frame for everybody."""
    frame = b"\xff" * 6 + b"\x02injec" + struct.pack("!H", ETHERTYPE) + text
    return struct.pack("!II", 0x0800_0000, vni << 8) + frame.ljust(60, b"\0")


def _send(lab: Lab, attack: Attack, port: int, data: bytes) -> None:
    if attack.forged:
        inside(lab, attack.host, lambda: _forge(attack, port, data))
        return
    target = attack.target
    if target.endswith(_WIRE):
        (wire,) = lab.topology.wires_of(attack.host)
        target = target.replace(_WIRE, f"%{lab.topology.device(attack.host, wire)}")
    # A thread that gave up its rights would keep the process's; so a process it is.
    argv = [sys.executable, "-c", _SEND, attack.source, target, str(port), data.hex()]
    words = UNPRIVILEGED if attack.nobody else ()
    lab.exec(attack.host, [*words, *argv, str(COPIES)])


def _forge(attack: Attack, port: int, data: bytes) -> None:
    """From a raw socket that takes the whole packet."""
    no_mac = bytes(6)
    frame = container_frames.udp(no_mac, attack.source, 40000, attack.target, port, data)
    family = socket.AF_INET6 if ":" in attack.target else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for _ in range(COPIES):
            sock.sendto(frame[len(no_mac) + 2 :], (attack.target, 0))


@contextmanager
def _ears(lab: Lab) -> Iterator[socket.socket]:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        sock.bind(("ethwe", ETHERTYPE))
        sock.settimeout(LISTEN_SECONDS)
        return sock

    with inside(lab, "c2", make) as sock:
        yield sock


def _put_behind(lab: Lab, name: str, host: str) -> None:
    """As container engines do: a network of its own, masqueraded, forwarded."""
    number = name[1:]
    _ip(lab, host, f"link add others type veth peer name eth0 netns {lab.ns(name)}")
    for where, device, end in ((host, "others", 1), (name, "eth0", 2)):
        _ip(lab, where, f"addr add 172.30.{number}.{end}/24 dev {device}")
        _ip(lab, where, f"addr add fd30:{number}::{end}/64 dev {device} nodad")
        _ip(lab, where, f"link set {device} up")
    _ip(lab, name, f"route add default via 172.30.{number}.1")
    _ip(lab, name, f"route add default via fd30:{number}::1")
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        path = "/proc/sys/" + setting.replace(".", "/")
        lab.exec(host, ["sh", "-c", f"echo 1 >{path}"])
    rules = (
        "table inet others { chain hidden { type nat hook postrouting priority srcnat; "
        f"ip saddr 172.30.{number}.0/24 masquerade; ip6 saddr fd30:{number}::/64 masquerade; }}; }}"
    )
    lab.exec(host, ["nft", "-f", "-"], stdin=rules)


def _ip(lab: Lab, name: str, line: str) -> None:
    lab.exec(name, ["ip", *line.split()])
