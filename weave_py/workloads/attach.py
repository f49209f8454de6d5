"""How do containers, and this host itself, get plugged into the overlay?

A container gets one end of a veth pair (`ethwe`), the bridge the other. The host end's name is made
from the namespace's inode: it is found again without keeping any state, and another attachment of
the same namespace is the same attachment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from weave_py.host.name_servers import name_servers
from weave_py.host.netlink import Netlink
from weave_py.host.route_list import routes
from weave_py.host.sysctl import try_sysctl
from weave_py.model.addresses import usable_addresses, written_addresses
from weave_py.model.errors import ConfigError, HostError
from weave_py.model.marks import CONTAINER_IFNAME, VETH_PREFIX
from weave_py.workloads import conflicts
from weave_py.workloads.claim import Address
from weave_py.workloads.netns import Namespace, own_namespace, run_inside
from weave_py.workloads.overlap import Points, what_is_hidden

GSO_MAX_BYTES: Final = 61440
"""Super-frames fit a 64 KiB record with all its headers."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_FORWARDING_SECONDS = 1.0
_MULTICAST = "224.0.0.0/4"
# A container that moved to another host is looked for again within seconds, not half a minute.
_NEIGHBOUR_SETTINGS = {
    "base_reachable_time_ms": 5000,
    "delay_first_probe_time": 2,
    "ucast_solicit": 1,
}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A namespace plugged into the bridge, as seen from the host."""

    ifname: str
    ifindex: int
    namespace_inode: int


def attach(
    bridge: str,
    mtu: int,
    namespace: Namespace,
    addresses: Sequence[str],
    *,
    multicast_route: bool = True,
    force: bool = False,
) -> list[str]:
    """Plug `namespace` into `bridge` with `addresses` (CIDR); returns those it did not have yet.

    Repeating it is harmless. HostError, with everything as before, when an address is in use on
    the network, the kernel refuses, or (without `force`) the address would hide what the namespace
    reaches by other interfaces; ConfigError for what is no address.
    """
    wanted = _checked(addresses, usable_addresses)
    _refuse_own(namespace)
    host_ifname = host_ifname_of(namespace)
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        created = _ensure_pair(netlink, bridge, namespace, host_ifname, mtu)
        try:
            netlink.mark(host_ifname)
            netlink.plug_port(
                host_ifname, bridge, mtu=mtu, isolated=False, gso_max_size=GSO_MAX_BYTES
            )
            run_inside(namespace, _prepare_inside)
            # Probes sent while the bridge holds the port back would find nobody.
            netlink.wait_forwarding(host_ifname, _FORWARDING_SECONDS)
            return run_inside(
                namespace,
                lambda: _configure_inside(wanted, multicast_route, None if force else {}),
            )
        except BaseException:
            if created:
                netlink.delete_link(host_ifname)
            raise


def detach(bridge: str, namespace: Namespace, addresses: Sequence[str]) -> list[str]:
    """Take `addresses` (all if none are given) from `namespace`; returns those it had.

    With the last address the interface goes. HostError when it is not attached to `bridge`.
    """
    wanted = _checked(addresses, written_addresses)
    host_ifname = host_ifname_of(namespace)
    with Netlink() as netlink:
        if not netlink.link_exists(host_ifname) or netlink.master_of(host_ifname) != bridge:
            raise HostError(
                f"{namespace.target} is not attached to bridge {bridge}: there is nothing to detach"
            )
        removed, left = run_inside(namespace, lambda: _remove(CONTAINER_IFNAME, wanted))
        if not left:
            netlink.delete_link(host_ifname)
    return removed


def expose(
    bridge: str, addresses: Sequence[str], *, peers: Collection[Address] = (), force: bool = False
) -> list[str]:
    """Give this host `addresses` (CIDR) on the bridge itself; returns those it did not have yet.

    HostError as for `attach`. Without `force` also when an address would hide one of `peers`
    (where their routers are reached), or a name server.
    """
    wanted = _checked(addresses, usable_addresses)
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        _tune_neighbours(bridge)
        points = dict.fromkeys(name_servers(), "the name server") | dict.fromkeys(peers, "the peer")
        try:
            return _add(bridge, wanted, None if force else points)
        finally:  # what was refused leaves nothing
            netlink.silence_ipv6(bridge)


def hide(bridge: str, addresses: Sequence[str]) -> list[str]:
    """Take `addresses` (all if none are given) from the bridge; returns those it had."""
    wanted = _checked(addresses, written_addresses)
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        removed, _ = _remove(bridge, wanted)
        netlink.silence_ipv6(bridge)
    return removed


def attachments(bridge: str) -> list[Attachment]:
    """Every namespace that `attach` plugged into `bridge`."""
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        return [
            Attachment(port.ifname, port.ifindex, int(port.ifname[len(VETH_PREFIX) :], 36))
            for port in netlink.our_ports(bridge)
            if _is_host_end(port.ifname)
        ]


def host_ifname_of(namespace: Namespace) -> str:
    """The host end's name: the prefix and the inode in base 36 (7 digits hold 36 bits)."""
    number, digits = namespace.inode, ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return VETH_PREFIX + digits[-7:]


def _checked(addresses: Sequence[str], check: Callable[[Iterable[str]], list[str]]) -> list[str]:
    """The addresses as `check` lets them pass; ConfigError for one that it does not."""
    try:
        return check(addresses)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _ensure_pair(
    netlink: Netlink, bridge: str, namespace: Namespace, host_ifname: str, mtu: int
) -> bool:
    """True if the pair was created, False if it was there; HostError if `ethwe` is another's."""
    if netlink.link_exists(host_ifname):
        if (other := netlink.master_of(host_ifname)) not in (None, bridge):
            raise HostError(f"{namespace.target} is attached to bridge {other}: detach it first")
        return False
    if run_inside(namespace, _has_container_end):
        raise HostError(
            f"{namespace.target} has an interface {CONTAINER_IFNAME} that we did not make: "
            f"remove it (or detach it from the other network) first"
        )
    with namespace.open() as fd:
        netlink.create_veth(host_ifname, CONTAINER_IFNAME, fd, mtu)
    return True


def _has_container_end() -> bool:
    with Netlink() as netlink:
        return netlink.link_exists(CONTAINER_IFNAME)


def _prepare_inside() -> None:
    _tune_neighbours(CONTAINER_IFNAME)
    with Netlink() as netlink:
        netlink.limit_gso(CONTAINER_IFNAME, GSO_MAX_BYTES)
        netlink.set_up(CONTAINER_IFNAME)


def _tune_neighbours(ifname: str) -> None:
    for setting, value in _NEIGHBOUR_SETTINGS.items():
        for family in ("ipv4", "ipv6"):
            try_sysctl(f"{family}/neigh/{ifname}/{setting}", value)


def _configure_inside(
    wanted: Sequence[str], multicast_route: bool, points: Points | None
) -> list[str]:
    added = _add(CONTAINER_IFNAME, wanted, points)
    if multicast_route:
        with Netlink() as netlink:
            # Last: programs that wait for the network wait for this route.
            netlink.add_link_route(_MULTICAST, CONTAINER_IFNAME)
    return added


def _add(ifname: str, wanted: Sequence[str], points: Points | None) -> list[str]:
    """Add what is missing, all or (on a conflict) nothing; the interface is up.

    `points` must stay reachable, as all that routes lead to; None: nothing must.
    """
    with Netlink() as netlink:
        present = netlink.addresses(ifname)
        missing = [cidr for cidr in wanted if cidr not in present]
        if points is not None and missing:
            _refuse_hiding(ifname, missing, points)
        held = _hosts_of(present)
        unheld = [address for address in _hosts_of(missing) if address not in held]
        if (claim := conflicts.find_conflict(ifname, unheld)) is not None:
            raise HostError(
                f"{claim.address} is already in use on this network (by MAC {claim.mac.hex(':')}): "
                f"choose another address"
            )
        added: list[str] = []
        try:
            for cidr in missing:
                if netlink.add_address(ifname, cidr):
                    added.append(cidr)
        except HostError:
            for cidr in added:
                netlink.remove_address(ifname, cidr)
            raise
    conflicts.announce(ifname, _hosts_of(added))
    return added


def _refuse_hiding(ifname: str, missing: Sequence[str], points: Points) -> None:
    known = routes()
    for cidr in missing:
        network = ipaddress.ip_interface(cidr).network
        if hidden := what_is_hidden(network, ifname, known, points):
            where = "in the container" if ifname == CONTAINER_IFNAME else "of this host"
            raise HostError(
                f"{cidr} {hidden} {where}, which would be cut off: choose another network, or "
                f"insist with --force"
            )


def _hosts_of(cidrs: Sequence[str]) -> list[Address]:
    return [ipaddress.ip_interface(cidr).ip for cidr in cidrs]


def _remove(ifname: str, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """(removed, left)"""
    with Netlink() as netlink:
        if not netlink.link_exists(ifname):
            return [], []
        going = wanted or netlink.addresses(ifname)
        removed = [cidr for cidr in going if netlink.remove_address(ifname, cidr)]
        return removed, netlink.addresses(ifname)


def _require_bridge(netlink: Netlink, bridge: str) -> None:
    if not netlink.link_exists(bridge):
        raise HostError(f"there is no bridge {bridge}: is the router running (weave-py launch)?")


def _refuse_own(namespace: Namespace) -> None:
    if namespace.identity == own_namespace().identity:
        raise HostError(
            f"{namespace.target} shares this host's network: use 'weave-py expose' instead"
        )


def _is_host_end(ifname: str) -> bool:
    digits = ifname.removeprefix(VETH_PREFIX)
    return digits != ifname and digits != "" and all(digit in _DIGITS for digit in digits)
