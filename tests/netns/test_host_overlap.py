"""Is nothing hidden that a host, or a container, reaches by other networks?"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.kit.one_host import OneHost, on, one_host, shell
from weave_py.host.route_list import routes
from weave_py.model.errors import HostError
from weave_py.workloads import attach as attaching
from weave_py.workloads.attach import attach, attachments, expose, hide
from weave_py.workloads.netns import Namespace

pytestmark = pytest.mark.netns


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[OneHost]:
    # (That of the machine the tests run on would be another host's.)
    monkeypatch.setattr(attaching, "name_servers", lambda: {ip_address("10.53.0.53")})
    with one_host() as made:
        yield made


def give_underlay(namespace: Namespace) -> None:
    """An interface with addresses, gateways and routes, one of them of a policy's table."""
    shell(
        namespace,
        "ip link set lo up; ip link add eth0 type veth peer name far0; "
        "ip link set far0 up; ip link set eth0 up; "
        "ip address add 192.168.77.2/24 dev eth0; ip address add fd77::2/64 dev eth0 nodad; "
        "ip address add 10.255.0.1/32 dev lo; "
        "ip route add 172.20.0.0/16 via 192.168.77.9; "
        "ip route add 100.64.0.0/10 dev eth0 table 52; "
        "ip route add blackhole 10.200.0.0/16; "
        "ip route add default via 169.254.7.1 dev eth0 onlink; "
        "ip -6 route add default via fd99::1 dev eth0 onlink",
    )


@pytest.mark.parametrize(
    ("cidr", "hidden"),
    [
        ("192.168.77.100/24", "overlaps the route to 192.168.77.0/24 (eth0) of this host"),
        ("192.168.77.100/25", "overlaps the route to 192.168.77.0/24 (eth0) of this host"),
        ("192.168.77.2/32", "overlaps the route to 192.168.77.0/24 (eth0) of this host"),
        ("192.168.77.99/32", "overlaps the route to 192.168.77.0/24 (eth0) of this host"),
        ("192.168.0.1/16", "overlaps the route to 192.168.77.0/24 (eth0) of this host"),
        ("172.20.3.1/24", "overlaps the route to 172.20.0.0/16 (eth0) of this host"),
        ("100.100.0.1/24", "overlaps the route to 100.64.0.0/10 (eth0) of this host"),
        ("10.200.1.1/24", "overlaps the route to 10.200.0.0/16 of this host"),
        ("10.255.0.7/24", "overlaps the route to 10.255.0.1/32 (lo) of this host"),
        ("169.254.7.9/24", "contains the gateway 169.254.7.1 of this host"),
        ("10.53.0.1/24", "contains the name server 10.53.0.53 of this host"),
        ("10.66.0.1/24", "contains the peer 10.66.0.2 of this host"),
        ("10.2.1.1/0", "overlaps the route to 0.0.0.0/0 (eth0) of this host"),
        ("fd77::100/64", "overlaps the route to fd77::/64 (eth0) of this host"),
        ("fd77::2/128", "overlaps the route to fd77::/64 (eth0) of this host"),
        ("fd77::1:0:0:1/80", "overlaps the route to fd77::/64 (eth0) of this host"),
        ("fd77::1/48", "overlaps the route to fd77::/64 (eth0) of this host"),
        ("fd99::9/64", "contains the gateway fd99::1 of this host"),
    ],
)
def test_expose_hides_nothing(lab: OneHost, cidr: str, hidden: str) -> None:
    """t18"""
    host, _, _ = lab
    give_underlay(host)
    peers = [ip_address("10.66.0.2")]
    with pytest.raises(HostError) as refusal:
        on(host, lambda: expose("weave", ["10.2.2.1/24", cidr], peers=peers))
    assert str(refusal.value) == (
        f"{cidr} {hidden}, which would be cut off: choose another network, or insist with --force"
    )
    assert on(host, lambda: hide("weave", [])) == []  # nothing stays of the good one, either
    if cidr not in ("10.2.1.1/0", "192.168.77.2/32"):
        assert on(host, lambda: expose("weave", [cidr], peers=peers, force=True)) != []


def test_expose_beside_other_networks(lab: OneHost) -> None:
    """t18: what overlaps nothing but the default route, or the overlay itself, is fine."""
    host, _, _ = lab
    give_underlay(host)
    some = ["10.2.1.1/24", "10.9.9.9/32", "fd44::1/64"]
    assert on(host, lambda: expose("weave", some)) == some
    assert on(host, lambda: expose("weave", some)) == []
    more = ["10.2.1.2/24", "10.2.0.1/16", "fd44::2/64"]
    assert on(host, lambda: expose("weave", more)) == more


@pytest.mark.parametrize(
    ("cidr", "hidden"),
    [
        ("192.168.77.100/25", "overlaps the route to 192.168.77.0/24 (eth0) in the container"),
        ("169.254.7.9/24", "contains the gateway 169.254.7.1 in the container"),
        ("fd77::100/64", "overlaps the route to fd77::/64 (eth0) in the container"),
    ],
)
def test_attach_hides_nothing_of_the_container(lab: OneHost, cidr: str, hidden: str) -> None:
    """t18: the container's gateway above all."""
    host, first, second = lab
    give_underlay(first)
    with pytest.raises(HostError) as refusal:
        on(host, lambda: attach("weave", 1376, first, [cidr]))
    assert hidden in str(refusal.value)
    assert on(host, lambda: attachments("weave")) == []
    assert on(host, lambda: attach("weave", 1376, second, [cidr])) == [cidr]
    other = cidr.replace("0/", "1/").replace("9/", "8/")
    assert on(host, lambda: attach("weave", 1376, first, [other], force=True)) == [other]
    assert on(host, lambda: attach("weave", 1376, first, [other])) == []  # it has it: repeated


def test_attach_does_not_ask_the_host(lab: OneHost) -> None:
    """t18: what the host reaches is not the container's concern."""
    host, first, _ = lab
    give_underlay(host)
    pair = ["192.168.77.100/24", "10.53.0.1/24"]
    assert on(host, lambda: attach("weave", 1376, first, pair)) == pair


def test_routes_with_several_next_hops(lab: OneHost) -> None:
    host, _, _ = lab
    give_underlay(host)
    shell(
        host,
        "ip route add 10.77.0.0/16 nexthop via 192.168.77.3 nexthop via 192.168.77.4; "
        "ip route add 10.78.0.0/16 via inet6 fd77::3 dev eth0; "
        "ip -6 route add fd78::/64 nexthop via fd77::3 nexthop via fd77::4",
    )
    found = {str(route.destination): route for route in on(host, routes)}
    for network, gateways in {
        "10.77.0.0/16": ["192.168.77.3", "192.168.77.4"],
        "10.78.0.0/16": ["fd77::3"],
        "fd78::/64": ["fd77::3", "fd77::4"],
    }.items():
        assert found[network].ifnames == {"eth0"}
        assert sorted(map(str, found[network].gateways)) == gateways
