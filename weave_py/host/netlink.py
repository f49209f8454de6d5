"""How is the kernel's switch set up, and what does it know?

A typed façade of rtnetlink: what a router does itself by `host.rtnl`, what only attaching a
container takes by pyroute2 (see host.pyroute). It works in any thread, and sees the network
namespace of the thread that made it and calls it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from types import TracebackType
from typing import Final

from weave_py.host import link_requests
from weave_py.host.link_requests import IFINFO, IFLA_IFNAME
from weave_py.host.linkinfo import (
    Address,
    Interface,
    PortInfo,
    address_fields,
    address_of,
    interface_of,
    learned_of,
    port_info,
)
from weave_py.host.pyroute import iproute
from weave_py.host.refusal import checked_ifname, doing
from weave_py.host.rtnl import RTM_GETLINK, RTM_GETNEIGH, RouteSocket
from weave_py.host.sysctl import require_sysctl
from weave_py.model.errors import HostError
from weave_py.model.marks import MARK

# linux/if_addr.h, rtnetlink.h, if_bridge.h
_IFA_F_NODAD = 0x02
_SCOPE_LINK = 253
_PORT_FORWARDING = 3
_RTM_GETADDR = 22
_EVERY_ADDRESS = bytes(8)

_POLL_SECONDS: Final = 0.01


class Netlink:
    """A netlink socket; a context manager. Every method raises HostError when refused."""

    def __init__(self) -> None:
        with doing("cannot talk to the kernel by netlink"):
            self._route = RouteSocket()

    def close(self) -> None:
        self._route.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- bridges and their ports

    def ensure_bridge(self, name: str, mac: str, mtu: int) -> bool:
        """Make bridge `name` exist, be up, and never wait or snoop; True if it was created."""
        link = self._find(name)
        if link is not None and link.kind != "bridge":
            raise HostError(
                f"interface {name} exists and is not a bridge: remove it or choose another --bridge"
            )
        with doing(f"cannot set up bridge {name}"):
            if created := link is None:
                # With an address from the start, or udev would choose one later.
                self._route.change(link_requests.creating(name, "bridge", mac=mac))
                index = self._get(name).index
                self._route.change(link_requests.changing(index, alias=MARK))
            try:
                self._tune_bridge(name, mac, mtu)
            except BaseException:
                if created:
                    self.delete_link(name)
                raise
        return created

    def _tune_bridge(self, name: str, mac: str, mtu: int) -> None:
        index = self._get(name).index
        # The MTU must be set on its own: given at creation, it follows that of the ports.
        self._route.change(link_requests.changing(index, mac=mac, mtu=mtu))
        at_once = link_requests.changing_kind(index, "bridge", link_requests.BRIDGE_AT_ONCE)
        self._route.change(at_once)
        # A router advertisement from a container must not become this host's default route.
        require_sysctl(f"ipv6/conf/{name}/accept_ra", 0)
        # Nor may it ask by the bridge for this host's addresses elsewhere.
        require_sysctl(f"ipv4/conf/{name}/arp_ignore", 1)
        self.silence_ipv6(name)
        self._route.change(link_requests.changing(index, up=True))

    def silence_ipv6(self, name: str) -> None:
        """Have this host speak no IPv6 on bridge `name` unless it has an address of its own there:
        link-local ones would be a way in for containers. `add_address` undoes it."""
        if not any(":" in address for address in self.addresses(name)):
            require_sysctl(f"ipv6/conf/{checked_ifname(name)}/disable_ipv6", 1)

    def is_our_bridge(self, name: str) -> bool:
        """Whether we made it."""
        link = self._find(name)
        return link is not None and link.kind == "bridge" and link.alias == MARK

    def delete_bridge(self, name: str) -> None:
        """Delete bridge `name`, if we made it; missing is fine."""
        link = self._find(name)
        if link is None:
            return
        if link.kind != "bridge":
            raise HostError(f"interface {name} is not a bridge: it was left alone")
        if link.alias != MARK:
            raise HostError(f"bridge {name} was not made by weave-py: it was left alone")
        self.delete_link(name)

    def calls_netfilter(self, bridge: str) -> tuple[bool, bool]:
        """Whether `bridge` itself asks that (IPv4, IPv6) packets of its frames pass netfilter."""
        link = self._find(bridge)
        return (False, False) if link is None else link.calls_netfilter

    def plug_port(
        self,
        ifname: str,
        bridge: str,
        *,
        mtu: int,
        isolated: bool,
        txqueuelen: int | None = None,
        gso_max_size: int | None = None,
    ) -> None:
        """Make `ifname` a port of `bridge` and bring it up; repeating it is harmless.

        `gso_max_size` (bytes) is dropped silently where the kernel does not take it.
        """
        master = self._get(bridge).index
        link = self._get(ifname)
        index = link.index
        # This end only passes frames on: it must not speak IPv6 (MLD, ND) to the other side.
        require_sysctl(f"ipv6/conf/{checked_ifname(ifname)}/disable_ipv6", 1)
        if gso_max_size is not None:
            self.limit_gso(ifname, gso_max_size)
        with doing(f"cannot plug {ifname} into bridge {bridge}"):
            self._route.change(link_requests.changing(index, mtu=mtu, queue=txqueuelen))
            if link.master != master:
                # Down until isolated: not one frame may pass between two peers' ports.
                self._route.change(link_requests.changing(index, up=False))
                self._route.change(link_requests.changing(index, master=master))
            self._route.change(link_requests.isolating(index, isolated))
            self._route.change(link_requests.changing(index, up=True))

    def seclude_port(self, ifname: str, mac: str) -> None:
        """Port `ifname` gets what is addressed to `mac`, and nothing that is flooded."""
        index = self._get(ifname).index
        with doing(f"cannot set up port {ifname}"):
            self._route.change(link_requests.quieting(index))
            self._route.change(link_requests.knowing(index, mac))

    def unplug(self, ifname: str) -> None:
        """Take `ifname` out of its bridge and down; a missing interface is fine."""
        if (link := self._find(ifname)) is not None:
            with doing(f"cannot unplug {ifname}", errno.ENODEV):
                self._route.change(link_requests.changing(link.index, up=False))
                self._route.change(link_requests.changing(link.index, master=0))

    def ports(self, bridge: str) -> list[PortInfo]:
        """The ports of `bridge`, by index."""
        master = self._get(bridge).index
        with doing(f"cannot list the ports of {bridge}"):
            links = [link for link in self._links() if link.master == master]
        return sorted(map(port_info, links), key=lambda port: port.ifindex)

    def our_ports(self, bridge: str) -> list[PortInfo]:
        """The ports of `bridge` that `mark` was called for, whoever made the bridge."""
        return [port for port in self.ports(bridge) if port.alias == MARK]

    def macs(self, bridge: str, most: int) -> tuple[list[tuple[str, str, float]], int]:
        """What `bridge` learned, (MAC, port's name, seconds since a frame came from it) of at most
        so many; and how many there are (where the kernel does not count: that are listed)."""
        link = self._get(bridge)
        names = {port.ifindex: port.ifname for port in self.ports(bridge)}
        ticks = os.sysconf("SC_CLK_TCK")
        # (With this older header the kernel leaves out other bridges' entries.)
        ours = IFINFO.pack(socket.AF_BRIDGE, 0, 0, 0, 0)
        ours += link_requests.u32(link_requests.IFLA_MASTER, link.index)
        macs: list[tuple[str, str, float]] = []
        # A socket of its own: what is not read any more goes with it.
        with doing(f"cannot list the MACs of {bridge}"), RouteSocket() as route:
            for found in map(learned_of, route.walk(RTM_GETNEIGH, ours)):
                if len(macs) == most:
                    break
                if found is not None and found.index in names:
                    macs.append((found.mac, names[found.index], found.ticks / ticks))
        return macs, max(len(macs), link.learned or 0)

    def wait_forwarding(self, ifname: str, seconds: float) -> bool:
        """Wait until the bridge passes frames to and from port `ifname`; False if it does not."""
        deadline = time.monotonic() + seconds
        while self._get(ifname).port_state != _PORT_FORWARDING:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    # --- interfaces

    def link_exists(self, ifname: str) -> bool:
        return self._find(ifname) is not None

    def mtu_of(self, ifname: str) -> int:
        """Bytes of the largest IP packet that `ifname` takes."""
        return self._get(ifname).mtu

    def master_of(self, ifname: str) -> str | None:
        """The bridge that `ifname` is a port of."""
        master = self._get(ifname).master
        if not master:
            return None
        with doing(f"cannot look up the bridge of {ifname}"):
            return interface_of(self._route.ask(RTM_GETLINK, IFINFO.pack(0, 0, master, 0, 0))).name

    def set_up(self, ifname: str) -> None:
        index = self._get(ifname).index
        with doing(f"cannot bring {ifname} up"):
            self._route.change(link_requests.changing(index, up=True))

    def limit_gso(self, ifname: str, gso_max_size: int) -> bool:
        """Have the kernel build super-frames of at most that many bytes; False if it will not."""
        index = self._get(ifname).index
        try:
            self._route.change(link_requests.changing(index, gso_max_size=gso_max_size))
        except OSError:
            return False
        return True

    def create_veth(self, ifname: str, inside: str, namespace_fd: int, mtu: int) -> None:
        """A pair: `ifname` here, `inside` created right in the other namespace; both down."""
        peer = {"ifname": checked_ifname(inside), "net_ns_fd": namespace_fd, "mtu": mtu}
        with doing(f"cannot create the veth pair {ifname}–{inside}"), iproute() as ip:
            ip.link("add", ifname=checked_ifname(ifname), kind="veth", mtu=mtu, peer=peer)

    def mark(self, ifname: str) -> None:
        """Write on `ifname` that it is ours. Names tell nothing: others use the same."""
        index = self._get(ifname).index
        with doing(f"cannot mark {ifname}"):
            self._route.change(link_requests.changing(index, alias=MARK))

    def delete_link(self, ifname: str) -> None:
        """Delete an interface; missing is fine."""
        if (link := self._find(ifname)) is not None:
            with doing(f"cannot delete {ifname}", errno.ENODEV):
                self._route.change(link_requests.deleting(link.index))

    # --- addresses and routes

    def addresses(self, ifname: str) -> list[str]:
        """`ADDRESS/LENGTH` of each address, without the link-local IPv6 ones the kernel makes."""
        index = self._get(ifname).index
        with doing(f"cannot list the addresses of {ifname}"):
            found = self._addresses()
        return [each.text for each in found if each.index == index and not each.is_link_local]

    def add_address(self, ifname: str, cidr: str) -> bool:
        """False if it was there. IPv6 is usable at once (no DAD)."""
        index = self._get(ifname).index
        interface = ipaddress.ip_interface(cidr)
        more: dict[str, int] = {}
        if interface.version == 6:
            # Container engines switch IPv6 off in namespaces that they gave no IPv6 address.
            require_sysctl(f"ipv6/conf/{ifname}/disable_ipv6", 0)
            more["flags"] = _IFA_F_NODAD
        with doing(f"cannot add {cidr} to {ifname}", errno.EEXIST) as outcome, iproute() as ip:
            ip.addr("add", index=index, **address_fields(interface), **more)
        return not outcome

    def remove_address(self, ifname: str, cidr: str) -> bool:
        """False if it was not there. Other addresses of the subnet stay."""
        index = self._get(ifname).index
        # Or the kernel would remove the subnet's other addresses with its first one.
        require_sysctl(f"ipv4/conf/{ifname}/promote_secondaries", 1)
        fields = address_fields(ipaddress.ip_interface(cidr))
        what = f"cannot remove {cidr} from {ifname}"
        with doing(what, errno.EADDRNOTAVAIL) as outcome, iproute() as ip:
            ip.addr("del", index=index, **fields)
        return not outcome

    def add_link_route(self, destination: str, ifname: str) -> bool:
        """A route without gateway; False if there is one to that destination already."""
        index = self._get(ifname).index
        what = f"cannot route {destination} to {ifname}"
        with doing(what, errno.EEXIST) as outcome, iproute() as ip:
            ip.route("add", dst=destination, oif=index, scope=_SCOPE_LINK)
        return not outcome

    def _links(self) -> list[Interface]:
        return [*map(interface_of, self._route.dump(RTM_GETLINK, IFINFO.pack(0, 0, 0, 0, 0)))]

    def _addresses(self) -> list[Address]:
        return [*map(address_of, self._route.dump(_RTM_GETADDR, _EVERY_ADDRESS))]

    def _find(self, ifname: str) -> Interface | None:
        name = link_requests.string(IFLA_IFNAME, checked_ifname(ifname))
        with doing(f"cannot look up {ifname}", errno.ENODEV):
            return interface_of(self._route.ask(RTM_GETLINK, IFINFO.pack(0, 0, 0, 0, 0) + name))
        return None

    def _get(self, ifname: str) -> Interface:
        if (link := self._find(ifname)) is None:
            raise HostError(f"there is no interface {ifname}: was it deleted by another program?")
        return link
