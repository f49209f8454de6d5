"""Are the lab's underlays what their names say?"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.lab.topology import KINDS, MAX_HOSTS, Topology, build, container_of, host_of, pairs
from weave_py.model.errors import ConfigError

shapes = st.builds(build, st.sampled_from(KINDS), st.integers(3, MAX_HOSTS))


def direct_pairs(topology: Topology) -> set[tuple[str, str]]:
    return {pair for pair in pairs(topology.hosts) if topology.direct(*pair)}


def test_a_chain_joins_neighbours_only() -> None:
    assert direct_pairs(build("chain", 4)) == {("h1", "h2"), ("h2", "h3"), ("h3", "h4")}


def test_a_ring_is_a_closed_chain() -> None:
    assert direct_pairs(build("ring", 4)) == direct_pairs(build("chain", 4)) | {("h1", "h4")}


def test_a_star_joins_everybody_to_the_first_host_only() -> None:
    assert direct_pairs(build("star", 4)) == {("h1", "h2"), ("h1", "h3"), ("h1", "h4")}


def test_full_is_one_wire() -> None:
    topology = build("full", 4)
    assert len(topology.wires) == 1
    assert len(direct_pairs(topology)) == 6


@given(shapes)
def test_every_host_is_joined_by_seeds_it_can_call(topology: Topology) -> None:
    joined = {topology.hosts[0]}
    for host in topology.hosts:
        for seed in topology.seeds(host):
            assert topology.direct(host, seed)
            if seed in joined:
                joined.add(host)
    assert joined == set(topology.hosts)


@given(shapes)
def test_addresses_are_unique_and_on_their_wire(topology: Topology) -> None:
    seen: set[str] = set()
    for wire in topology.wires:
        for ipv6, network in ((False, "10.99.{}.0/24"), (True, "fd00:99:{}::/64")):
            inside = ipaddress.ip_network(network.format(wire.number))
            for host in wire.members:
                address = topology.address(host, wire, ipv6=ipv6)
                assert ipaddress.ip_address(address) in inside
                assert address not in seen
                seen.add(address)


@given(shapes)
def test_device_names_are_unique_where_they_live_and_short(topology: Topology) -> None:
    ports = [topology.switch_port(host, wire) for wire in topology.wires for host in wire.members]
    assert len(set(ports)) == len(ports)
    for host in topology.hosts:
        devices = [topology.device(host, wire) for wire in topology.wires_of(host)]
        assert len(set(devices)) == len(devices)
        assert all(len(name) <= 15 for name in (*devices, *ports))  # IFNAMSIZ - 1


def test_a_host_shares_no_wire_with_itself_or_a_stranger() -> None:
    chain = build("chain", 3)
    with pytest.raises(ValueError, match="h1 and h3 share no wire"):
        chain.wire_between("h1", "h3")
    with pytest.raises(ValueError, match="share no wire"):
        chain.wire_between("h1", "h1")


@pytest.mark.parametrize(
    ("kind", "hosts"), [("chain", 1), ("ring", 2), ("full", MAX_HOSTS + 1), ("mesh", 3)]
)
def test_what_cannot_be_built_is_refused(kind: str, hosts: int) -> None:
    with pytest.raises(ConfigError):
        build(kind, hosts)


def test_containers_and_hosts_name_each_other() -> None:
    assert build("chain", 2).containers == ("c1", "c2")
    assert container_of("h12") == "c12"
    assert host_of("c12") == "h12"


@pytest.mark.parametrize("kind", KINDS)
def test_the_drawing_names_every_host(kind: str) -> None:
    topology = build(kind, 4)
    assert all(host in topology.drawing() for host in topology.hosts)
