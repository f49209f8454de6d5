"""How do sites behind NATs and firewalls become namespaces, with a public host that all reach?

    h1 (public) ──┬── g1 ── h2, h3 …      each gateway `g` with the rules of its kind (lab.nats)
                  └── g2 ── (g2x ──) h4 …  double NAT: a second gateway behind the first

The internet is one wire of the switch, or, if the sites are to be apart, a cable that takes its
time (lab.distance). Sites with NAT all use the same private addresses, as they
do in the world. A `Lab` like any other, but that it has no wires to cut.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from weave_py.host.rtnl import NetlinkSocket
from weave_py.lab import commands, nats
from weave_py.lab.namespaces import SWITCH, Lab
from weave_py.lab.nats import ROUTER_PORT, TRANSLATING, Gateway, Kind
from weave_py.lab.topology import Topology
from weave_py.workloads.netns import resolve_namespace, run_inside

_NETFILTER = 12  # NETLINK_NETFILTER

PUBLIC = "h1"
PUBLIC_ADDRESS = "198.51.100.1"
NETWORK = "net"
APART_SECONDS = 0.02
REBOUND_PORTS = 1_000
"""By so much the outer ports of a gateway move when it forgets its mappings."""


@dataclass(frozen=True, slots=True)
class Site:
    """Hosts behind one gateway."""

    number: int
    kind: Kind
    hosts: tuple[str, ...]

    @property
    def outer(self) -> str:
        """The gateway's address in the internet."""
        return f"198.51.100.{10 + self.number}"

    @property
    def block(self) -> str | None:
        """The public addresses behind the gateway, if they are."""
        return None if self.kind in TRANSLATING else f"203.0.113.{16 * self.number}/28"

    def address(self, index: int) -> str:
        return self._of(index, 2)

    def gateway_address(self, index: int) -> str:
        return self._of(index, 1)

    def _of(self, index: int, last: int) -> str:
        if self.kind in TRANSLATING:
            return f"192.168.{index + 1}.{last}"
        return f"203.0.113.{16 * self.number + 4 * index + last}"

    def gateways(self) -> dict[str, Gateway]:
        """By name, from the outside in."""
        inner = tuple((self.address(i), ROUTER_PORT) for i in range(len(self.hosts)))
        outside = f"g{self.number}"
        if self.kind is not Kind.DOUBLE:
            return {outside: Gateway(self.kind, self.outer, inner)}
        inside = Gateway(Kind.PORT_RESTRICTED, f"10.64.{self.number}.2", inner)
        between = tuple((inside.outer, inside.outer_port(n + 1)) for n in range(len(self.hosts)))
        # Ports of its own, or the second translation would not show.
        outer = Gateway(Kind.PORT_RESTRICTED, self.outer, between, nats.FIRST_OUTER_PORT + 500)
        return {outside: outer, f"{outside}x": inside}


class Internet(Lab):
    """The public host h1 and sites; a context manager, cleaned up at exit in any case."""

    def __init__(self, kinds: Sequence[tuple[Kind, int]], *, seconds: float = 0.0) -> None:
        """For each site what it is behind, and how many hosts it has: named h2, h3 … in order.
        `seconds`: how long it takes from a site to another."""
        sites, last = [], 1
        for number, (kind, count) in enumerate(kinds, start=1):
            hosts = tuple(f"h{last + n}" for n in range(1, count + 1))
            sites.append(Site(number, kind, hosts))
            last += count
        self.sites = tuple(sites)
        self.seconds = seconds
        self._long_cable: subprocess.Popen[bytes] | None = None
        self.gateways: dict[str, Gateway] = {}
        names = tuple(f"h{n}" for n in range(1, last + 1))
        super().__init__(Topology("full", names, ()))

    def open(self) -> Self:
        """Create everything; HostError (and nothing left behind) if the kernel refuses."""
        commands.require("nft")
        super().open()
        try:
            self._batch(SWITCH, [f"link add name {NETWORK} type bridge", f"link set {NETWORK} up"])
            self._plug(PUBLIC, PUBLIC_ADDRESS)
            for site in self.sites:
                self._build(site)
            plugged = (PUBLIC, *(f"g{site.number}" for site in self.sites))
            for name in plugged:
                self._batch(name, self._routes(name))
            if self.seconds:
                ports = [f"p-{name}" for name in plugged]
                cable = [sys.executable, "-m", "weave_py.lab.distance", str(self.seconds), *ports]
                self._long_cable = self.popen(SWITCH, cable)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """See Lab."""
        if self._long_cable is not None:
            self._long_cable.kill()
            self._long_cable.wait()
            self._long_cable = None
        super().close()

    def address(self, host: str, seen_from: str, *, ipv6: bool = False) -> str:
        """See Lab; only the public host has one that others reach."""
        if host != PUBLIC or host == seen_from or ipv6:
            raise ValueError(f"{seen_from} does not reach {host} in this internet")
        return PUBLIC_ADDRESS

    def drawing(self) -> str:
        """See Lab."""
        sites = (f"{', '.join(site.hosts)} behind {site.kind}" for site in self.sites)
        return f"an internet: {PUBLIC}, {', '.join(sites)}"

    def rebind(self, name: str) -> None:
        """A gateway forgets its mappings, as if it had been restarted: the hosts behind it get
        other outer UDP ports."""
        first = self.gateways[name].first_port + REBOUND_PORTS
        self.gateways[name] = self.gateways[name]._replace(first_port=first)
        self._load(name)
        run_inside(resolve_namespace(str(self.path(name))), _forget_connections)

    # --- inside --------------------------------------------------------------------------

    def _build(self, site: Site) -> None:
        gateways = site.gateways()
        self.gateways.update(gateways)
        names = list(gateways)
        for name in names:
            commands.run(["ip", "netns", "add", self.ns(name)])
            self.exec(name, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
            self._batch(name, ["link set dev lo up"])
        self._plug(names[0], site.outer, "out")
        if len(names) > 1:
            near, far = f"10.64.{site.number}.1", f"10.64.{site.number}.2"
            self._cable(names[0], "in1", near, names[1], "out", far)
        for index, host in enumerate(site.hosts):
            ends = site.gateway_address(index), site.address(index)
            self._cable(names[-1], f"in{index + 1}", ends[0], host, "eth0", ends[1])
        for name in names:
            self._load(name)

    def _load(self, name: str) -> None:
        self.exec(name, ["nft", "-f", "-"], stdin=nats.rules(self.gateways[name]))

    def _plug(self, name: str, address: str, device: str = "eth0") -> None:
        """Onto the internet."""
        port, wire = f"p-{name}", "" if self.seconds else f"master {NETWORK}"
        self._batch(
            SWITCH,
            [
                f"link add name {port} type veth peer name {device} netns {self.ns(name)}",
                f"link set dev {port} {wire} up",
            ],
        )
        self._batch(name, [f"addr add {address}/24 dev {device}", f"link set dev {device} up"])

    def _cable(
        self, gateway: str, port: str, near: str, name: str, device: str, address: str
    ) -> None:
        """From a gateway to what is behind it, for which it is the default route."""
        peer = f"peer name {device} netns {self.ns(name)}"
        self._batch(gateway, [f"link add name {port} type veth {peer}"])
        self._batch(gateway, [f"addr add {near}/30 dev {port}", f"link set dev {port} up"])
        lines = [f"addr add {address}/30 dev {device}", f"link set dev {device} up"]
        self._batch(name, [*lines, f"route add default via {near}"])

    def _routes(self, name: str) -> Iterator[str]:
        for site in self.sites:
            if site.block is not None and name != f"g{site.number}":
                yield f"route add {site.block} via {site.outer}"

    def _batch(self, name: str, lines: Sequence[str] | Iterator[str]) -> None:
        text = "\n".join([*lines, ""])
        commands.run(["ip", "-n", self.ns(name), "-batch", "-"], stdin=text)


def pair_of(one: Kind, other: Kind) -> Internet:
    """The public host and two hosts, h2 and h3, behind these. Two behind hairpins are behind the
    same one, which lets them reach each other only by their outer addresses. Two masquerades are
    apart, as they are in the world: on one wire nobody's datagrams are under way at the same time.
    """
    if one is other is Kind.HAIRPIN:
        return Internet([(Kind.HAIRPIN, 2)])
    if one is other is Kind.MASQUERADE:
        return Internet([(one, 1), (other, 1)], seconds=APART_SECONDS)
    return Internet([(one, 1), (other, 1)])


def _forget_connections() -> None:
    """Flush the connection tracking of the namespace we are in (linux/nfnetlink_conntrack.h)."""
    delete_all = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE without a tuple
    with NetlinkSocket(_NETFILTER) as netlink:
        netlink.change((delete_all, 0, bytes(4)))  # nfgenmsg: of all families
