"""Is an overlap seen whichever network is the wider one, and only where there is one?"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.host.route_list import KernelRoute, Network
from weave_py.workloads.overlap import hides, what_is_hidden


def network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def route(text: str, *ifnames: str, via: tuple[str, ...] = ()) -> KernelRoute:
    return KernelRoute(
        network(text), frozenset(ifnames), tuple(ipaddress.ip_address(each) for each in via)
    )


@st.composite
def networks(draw: st.DrawFn, shortest: int = 0) -> Network:
    """Few addresses at few places, so that they meet."""
    version, bits = draw(st.sampled_from([(4, 32), (6, 128)]))
    length = draw(st.integers(shortest, bits))
    base = draw(st.sampled_from([0, 10 << bits - 8, 0xFD << bits - 8]))
    address = base + draw(st.integers(0, 7)) + (draw(st.integers(0, 3)) << bits // 2)
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    return kind((address, length), strict=False)


@given(networks(shortest=4), networks(shortest=4))
def test_neither_side_matters(one: Network, other: Network) -> None:
    assert hides(one, other) == hides(other, one)
    common = one.version == other.version and (
        max(int(one[0]), int(other[0])) <= min(int(one[-1]), int(other[-1]))
    )
    assert hides(one, other) == common


@given(networks())
def test_the_same_network_and_its_parts(one: Network) -> None:
    assert hides(one, one)
    for end in (one[0], one[-1]):
        assert hides(one, network(f"{end}/{one.max_prefixlen}"))


@pytest.mark.parametrize(
    ("wanted", "default"),
    [
        ("10.2.1.1/24", "0.0.0.0/0"),
        ("10.2.1.1/24", "0.0.0.0/1"),  # a VPN's half of it
        ("fd44::1/64", "::/0"),
        ("2001:db8::1/64", "2000::/3"),
    ],
)
def test_the_default_route_is_for_whatever_is_nowhere_else(wanted: str, default: str) -> None:
    assert not hides(network(wanted), network(default))
    assert hides(network(default), network(default))


def test_networks_of_the_other_family_are_elsewhere() -> None:
    assert not hides(network("0.0.0.0/2"), network("::/4"))


def test_the_widest_route_is_named() -> None:
    known = [route("10.1.2.3/32", "eth0"), route("10.1.0.0/16", "eth0"), route("0.0.0.0/0", "eth0")]
    hidden = what_is_hidden(network("10.1.2.0/24"), "weave", known, {})
    assert hidden == "overlaps the route to 10.1.0.0/16 (eth0)"


def test_the_overlays_own_routes_hide_nothing() -> None:
    point = ipaddress.ip_address("10.2.1.53")
    wanted = network("10.2.1.0/24")
    own = [route("10.2.1.0/24", "weave"), route("10.2.1.9/32", "weave")]
    assert what_is_hidden(wanted, "weave", own, {point: "the name server"}) is None
    assert what_is_hidden(wanted, "weave", [], {point: "the name server"}) == (
        "contains the name server 10.2.1.53"
    )
    shared = [route("10.2.1.0/24", "weave", "eth0")]
    assert what_is_hidden(wanted, "weave", shared, {}) is not None


def test_a_gateway_beyond_the_default_route() -> None:
    known = [route("0.0.0.0/0", "eth0", via=("169.254.1.1",))]
    assert what_is_hidden(network("10.2.1.0/24"), "ethwe", known, {}) is None
    assert what_is_hidden(network("169.254.0.0/16"), "ethwe", known, {}) == (
        "contains the gateway 169.254.1.1"
    )
    behind = [route("0.0.0.0/0", "ethwe", via=("10.2.1.254",))]
    assert what_is_hidden(network("10.2.1.0/24"), "ethwe", behind, {}) is None


def test_link_local_addresses_are_each_interfaces_own() -> None:
    known = [route("fe80::/64", "eth0"), route("::/0", "eth0", via=("fe80::1",))]
    assert what_is_hidden(network("fe80::5/64"), "weave", known, {}) is None
    assert what_is_hidden(network("fd44::/64"), "weave", known, {}) is None
    zeroconf = [route("169.254.0.0/16", "eth0")]
    assert what_is_hidden(network("169.254.1.0/24"), "weave", zeroconf, {}) is not None
