"""How do containers, and this host itself, get plugged into the overlay?

A container gets one end of a veth pair (`ethwe`), the bridge the other. The host end's name is made
from the namespace's inode: it is found again without keeping any state, and another attachment of
the same namespace is the same attachment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from weave_py.host.netlink import Netlink
from weave_py.host.sysctl import try_sysctl
from weave_py.model.addresses import usable_addresses, written_addresses
from weave_py.model.errors import ConfigError, HostError
from weave_py.model.marks import CONTAINER_IFNAME, VETH_PREFIX
from weave_py.workloads import arp
from weave_py.workloads.netns import Namespace, own_namespace, run_inside

GSO_MAX_BYTES: Final = 61440
"""Super-frames fit a 64 KiB record with all its headers."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_FORWARDING_SECONDS = 1.0
_MULTICAST = "224.0.0.0/4"
# A container that moved to another host is looked for again within seconds, not half a minute.
_NEIGHBOUR_SETTINGS = {"base_reachable_time": 5, "delay_first_probe_time": 2, "ucast_solicit": 1}


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
) -> list[str]:
    """Plug `namespace` into `bridge` with `addresses` (CIDR); returns those it did not have yet.

    Repeating it is harmless. HostError, with everything as before, when an address is in use on
    the network or the kernel refuses; ConfigError for what is no address.
    """
    wanted = _checked(addresses, usable_addresses)
    _refuse_own(namespace)
    host_ifname = host_ifname_of(namespace)
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        created = _ensure_pair(netlink, bridge, namespace, host_ifname, mtu)
        try:
            netlink.plug_port(
                host_ifname, bridge, mtu=mtu, isolated=False, gso_max_size=GSO_MAX_BYTES
            )
            run_inside(namespace, _prepare_inside)
            # Probes sent while the bridge holds the port back would find nobody.
            netlink.wait_forwarding(host_ifname, _FORWARDING_SECONDS)
            return run_inside(namespace, lambda: _configure_inside(wanted, multicast_route))
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


def expose(bridge: str, addresses: Sequence[str]) -> list[str]:
    """Give this host `addresses` (CIDR) on the bridge itself; returns those it did not have yet."""
    wanted = _checked(addresses, usable_addresses)
    with Netlink() as netlink:
        _require_bridge(netlink, bridge)
        try:
            return _add(bridge, wanted)
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
            for port in netlink.ports(bridge)
            if port.kind == "veth" and _is_ours(port.ifname)
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
    for setting, value in _NEIGHBOUR_SETTINGS.items():
        try_sysctl(f"ipv4/neigh/{CONTAINER_IFNAME}/{setting}", value)
    with Netlink() as netlink:
        netlink.limit_gso(CONTAINER_IFNAME, GSO_MAX_BYTES)
        netlink.set_up(CONTAINER_IFNAME)


def _configure_inside(wanted: Sequence[str], multicast_route: bool) -> list[str]:
    added = _add(CONTAINER_IFNAME, wanted)
    if multicast_route:
        with Netlink() as netlink:
            # Last: programs that wait for the network wait for this route.
            netlink.add_link_route(_MULTICAST, CONTAINER_IFNAME)
    return added


def _add(ifname: str, wanted: Sequence[str]) -> list[str]:
    """Add what is missing, all or (on a conflict) nothing; the interface is up."""
    with Netlink() as netlink:
        present = netlink.addresses(ifname)
        missing = [cidr for cidr in wanted if cidr not in present]
        held = arp.ipv4_of(present)
        unheld = [address for address in arp.ipv4_of(missing) if address not in held]
        if (claim := arp.find_conflict(ifname, unheld)) is not None:
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
    arp.announce(ifname, arp.ipv4_of(added))
    return added


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


def _is_ours(ifname: str) -> bool:
    digits = ifname.removeprefix(VETH_PREFIX)
    return digits != ifname and digits != "" and all(digit in _DIGITS for digit in digits)
