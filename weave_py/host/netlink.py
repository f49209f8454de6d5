"""How is the kernel's switch set up, and what does it know?

A typed façade around pyroute2's synchronous `IPRoute` (see host.pyroute). It works in any thread,
and sees the network namespace of the thread that made it.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from weave_py.host.linkinfo import (
    BRIDGE_ALIAS,
    PortInfo,
    address_fields,
    address_of,
    alias_of,
    bridge_attribute,
    kind_of,
    port_attribute,
    port_info,
)
from weave_py.host.pyroute import IPRoute, NetlinkError
from weave_py.host.refusal import checked_ifname, refused
from weave_py.host.sysctl import require_sysctl
from weave_py.model.errors import HostError

# linux/if_addr.h, neighbour.h, rtnetlink.h, if_bridge.h
_IFA_F_NODAD = 0x02
_NUD_STATIC = 0x40
_NUD_NOT_LEARNED = _NUD_STATIC | 0x80  # static, local
_NTF_MASTER = 0x04
_SCOPE_LINK = 253
_PORT_FORWARDING = 3

_POLL_SECONDS: Final = 0.01


class Netlink:
    """A netlink socket; a context manager. Every method raises HostError when refused."""

    def __init__(self) -> None:
        try:
            self._ip: Any = IPRoute()
        except OSError as error:
            raise refused("cannot talk to the kernel by netlink", error.errno) from None

    def close(self) -> None:
        self._ip.close()

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
        if link is not None and kind_of(link) != "bridge":
            raise HostError(
                f"interface {name} exists and is not a bridge: remove it or choose another --bridge"
            )
        with _doing(f"cannot set up bridge {name}"):
            if created := link is None:
                # With an address from the start, or udev would choose one later.
                self._ip.link("add", ifname=name, kind="bridge", address=mac)
                index = self._get(name)["index"]
                self._ip.link("set", index=index, IFLA_IFALIAS=BRIDGE_ALIAS)
            try:
                self._tune_bridge(name, mac, mtu)
            except BaseException:
                if created:
                    self.delete_link(name)
                raise
        return created

    def _tune_bridge(self, name: str, mac: str, mtu: int) -> None:
        index = self._get(name)["index"]
        # The MTU must be set on its own: given at creation, it follows that of the ports.
        self._ip.link("set", index=index, address=mac, mtu=mtu)
        at_once = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0}
        self._ip.link("set", index=index, kind="bridge", **at_once)
        # A router advertisement from a container must not become this host's default route.
        require_sysctl(f"ipv6/conf/{name}/accept_ra", 0)
        self._ip.link("set", index=index, state="up")

    def is_our_bridge(self, name: str) -> bool:
        """Whether we made it."""
        link = self._find(name)
        return link is not None and kind_of(link) == "bridge" and alias_of(link) == BRIDGE_ALIAS

    def delete_bridge(self, name: str) -> None:
        """Delete bridge `name`, if we made it; missing is fine."""
        link = self._find(name)
        if link is None:
            return
        if kind_of(link) != "bridge":
            raise HostError(f"interface {name} is not a bridge: it was left alone")
        if alias_of(link) != BRIDGE_ALIAS:
            raise HostError(f"bridge {name} was not made by weave-py: it was left alone")
        self.delete_link(name)

    def calls_netfilter(self, bridge: str) -> tuple[bool, bool]:
        """Whether `bridge` itself asks that (IPv4, IPv6) packets of its frames pass netfilter."""
        link = self._find(bridge)
        ipv4, ipv6 = "IFLA_BR_NF_CALL_IPTABLES", "IFLA_BR_NF_CALL_IP6TABLES"
        return bool(bridge_attribute(link, ipv4)), bool(bridge_attribute(link, ipv6))

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
        master = self._get(bridge)["index"]
        link = self._get(ifname)
        index = link["index"]
        # This end only passes frames on: it must not speak IPv6 (MLD, ND) to the other side.
        require_sysctl(f"ipv6/conf/{checked_ifname(ifname)}/disable_ipv6", 1)
        if gso_max_size is not None:
            self.limit_gso(ifname, gso_max_size)
        with _doing(f"cannot plug {ifname} into bridge {bridge}"):
            self._ip.link("set", index=index, mtu=mtu)
            if txqueuelen is not None:
                self._ip.link("set", index=index, txqlen=txqueuelen)
            if link.get_attr("IFLA_MASTER") != master:
                # Down until isolated: not one frame may pass between two peers' ports.
                self._ip.link("set", index=index, state="down")
                self._ip.link("set", index=index, master=master)
            self._ip.brport("set", index=index, isolated=int(isolated))
            self._ip.link("set", index=index, state="up")

    def seclude_port(self, ifname: str, mac: str) -> None:
        """Port `ifname` gets what is addressed to `mac`, and nothing that is flooded."""
        index = self._get(ifname)["index"]
        quiet = dict.fromkeys(("learning", "unicast_flood", "mcast_flood", "bcast_flood"), 0)
        with _doing(f"cannot set up port {ifname}"):
            self._ip.brport("set", index=index, **quiet)
            self._ip.fdb("add", ifindex=index, lladdr=mac, flags=_NTF_MASTER, state=_NUD_STATIC)

    def unplug(self, ifname: str) -> None:
        """Take `ifname` out of its bridge and down; a missing interface is fine."""
        if (link := self._find(ifname)) is not None:
            with _doing(f"cannot unplug {ifname}", errno.ENODEV):
                self._ip.link("set", index=link["index"], state="down")
                self._ip.link("set", index=link["index"], master=0)

    def ports(self, bridge: str) -> list[PortInfo]:
        """The ports of `bridge`, by index."""
        master = self._get(bridge)["index"]
        with _doing(f"cannot list the ports of {bridge}"):
            links = [
                link for link in self._ip.get_links() if link.get_attr("IFLA_MASTER") == master
            ]
        return sorted(map(port_info, links), key=lambda port: port.ifindex)

    def macs(self, bridge: str) -> list[tuple[str, str, float]]:
        """What `bridge` learned: (MAC, port's name, seconds since a frame came from it)."""
        names = {port.ifindex: port.ifname for port in self.ports(bridge)}
        ticks = os.sysconf("SC_CLK_TCK")
        with _doing(f"cannot list the MACs of {bridge}"):
            entries = list(self._ip.get_neighbours(family=socket.AF_BRIDGE))
        return [
            (
                entry.get_attr("NDA_LLADDR"),
                names[entry["ifindex"]],
                entry.get_attr("NDA_CACHEINFO")["ndm_updated"] / ticks,
            )
            for entry in entries
            # Entries without a master are a device's own address filter.
            if entry.get_attr("NDA_MASTER") is not None
            and entry["ifindex"] in names
            and not entry["state"] & _NUD_NOT_LEARNED
        ]

    def wait_forwarding(self, ifname: str, seconds: float) -> bool:
        """Wait until the bridge passes frames to and from port `ifname`; False if it does not."""
        deadline = time.monotonic() + seconds
        while port_attribute(self._get(ifname), "IFLA_BRPORT_STATE") != _PORT_FORWARDING:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    # --- interfaces

    def link_exists(self, ifname: str) -> bool:
        return self._find(ifname) is not None

    def mtu_of(self, ifname: str) -> int:
        """Bytes of the largest IP packet that `ifname` takes."""
        return int(self._get(ifname).get_attr("IFLA_MTU"))

    def master_of(self, ifname: str) -> str | None:
        """The bridge that `ifname` is a port of."""
        if (master := self._get(ifname).get_attr("IFLA_MASTER")) is None:
            return None
        with _doing(f"cannot look up the bridge of {ifname}"):
            (link,) = self._ip.link("get", index=master)
        return str(link.get_attr("IFLA_IFNAME"))

    def set_up(self, ifname: str) -> None:
        index = self._get(ifname)["index"]
        with _doing(f"cannot bring {ifname} up"):
            self._ip.link("set", index=index, state="up")

    def limit_gso(self, ifname: str, gso_max_size: int) -> bool:
        """Have the kernel build super-frames of at most that many bytes; False if it will not."""
        index = self._get(ifname)["index"]
        try:
            self._ip.link("set", index=index, gso_max_size=gso_max_size)
        except NetlinkError:
            return False
        return True

    def create_veth(self, ifname: str, inside: str, namespace_fd: int, mtu: int) -> None:
        """A pair: `ifname` here, `inside` created right in the other namespace; both down."""
        peer = {"ifname": checked_ifname(inside), "net_ns_fd": namespace_fd, "mtu": mtu}
        with _doing(f"cannot create the veth pair {ifname}–{inside}"):
            self._ip.link("add", ifname=checked_ifname(ifname), kind="veth", mtu=mtu, peer=peer)

    def delete_link(self, ifname: str) -> None:
        """Delete an interface; missing is fine."""
        if (link := self._find(ifname)) is not None:
            with _doing(f"cannot delete {ifname}", errno.ENODEV):
                self._ip.link("del", index=link["index"])

    # --- addresses and routes

    def addresses(self, ifname: str) -> list[str]:
        """`ADDRESS/LENGTH` of each address, without the link-local IPv6 ones the kernel makes."""
        index = self._get(ifname)["index"]
        with _doing(f"cannot list the addresses of {ifname}"):
            found = list(self._ip.get_addr(index=index))
        return [
            f"{address_of(entry)}/{entry['prefixlen']}"
            for entry in found
            if not (entry["family"] == socket.AF_INET6 and entry["scope"] == _SCOPE_LINK)
        ]

    def add_address(self, ifname: str, cidr: str) -> bool:
        """False if it was there. IPv6 is usable at once (no DAD)."""
        index = self._get(ifname)["index"]
        interface = ipaddress.ip_interface(cidr)
        more: dict[str, int] = {}
        if interface.version == 6:
            # Container engines switch IPv6 off in namespaces that they gave no IPv6 address.
            require_sysctl(f"ipv6/conf/{ifname}/disable_ipv6", 0)
            more["flags"] = _IFA_F_NODAD
        with _doing(f"cannot add {cidr} to {ifname}", errno.EEXIST) as outcome:
            self._ip.addr("add", index=index, **address_fields(interface), **more)
        return not outcome

    def remove_address(self, ifname: str, cidr: str) -> bool:
        """False if it was not there. Other addresses of the subnet stay."""
        index = self._get(ifname)["index"]
        # Or the kernel would remove the subnet's other addresses with its first one.
        require_sysctl(f"ipv4/conf/{ifname}/promote_secondaries", 1)
        with _doing(f"cannot remove {cidr} from {ifname}", errno.EADDRNOTAVAIL) as outcome:
            self._ip.addr("del", index=index, **address_fields(ipaddress.ip_interface(cidr)))
        return not outcome

    def add_link_route(self, destination: str, ifname: str) -> bool:
        """A route without gateway; False if there is one to that destination already."""
        index = self._get(ifname)["index"]
        with _doing(f"cannot route {destination} to {ifname}", errno.EEXIST) as outcome:
            self._ip.route("add", dst=destination, oif=index, scope=_SCOPE_LINK)
        return not outcome

    def _find(self, ifname: str) -> Any | None:
        with _doing(f"cannot look up {ifname}", errno.ENODEV) as outcome:
            (link,) = self._ip.link("get", ifname=checked_ifname(ifname))
        return None if outcome else link

    def _get(self, ifname: str) -> Any:
        if (link := self._find(ifname)) is None:
            raise HostError(f"there is no interface {ifname}: was it deleted by another program?")
        return link


@contextmanager
def _doing(what: str, expected: int | None = None) -> Iterator[list[int]]:
    """Turn refusals into HostError, but for one errno: that one ends up in the list yielded."""
    outcome: list[int] = []
    try:
        yield outcome
    except NetlinkError as error:
        if error.code != expected:
            raise refused(what, error.code) from None
        outcome.append(error.code)
    except OSError as error:
        raise refused(what, error.errno) from None
