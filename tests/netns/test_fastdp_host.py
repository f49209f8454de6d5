"""Does the self-test tell the truth, and does the guard keep strangers out?"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from fastdp.kernel import nft
from fastdp.kernel.selftest import PORTS, probe_host
from tests.kit.fast_hosts import BRIDGE, RealHost, real_hosts
from tests.netns.conftest import MakeLab
from weave_py.lab import commands
from weave_py.lab.namespaces import Lab
from weave_py.model.fast import FastHost

FREE, TAKEN = PORTS[1], PORTS[0]


def names(lab: Lab) -> str:
    return lab.exec("h1", ["ls", "/sys/class/net"]).stdout


def udp(address: str, port: int) -> Callable[[], socket.socket]:
    def bind() -> socket.socket:
        is_ipv6 = ":" in address
        sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
        if is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        return sock

    return bind


def test_what_a_host_can_do(make_lab: MakeLab) -> None:
    lab = make_lab("full", 2)
    host = RealHost(lab, "h1")
    before = names(lab)
    assert host.run(lambda: probe_host(BRIDGE)) == FastHost(TAKEN)
    assert host.run(lambda: probe_host(BRIDGE, 5555)) == FastHost(5555)
    assert host.run(lambda: probe_host(BRIDGE, enabled=False)) == FastHost(0, "disabled")
    assert names(lab) == before


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_taken_port_is_left_to_its_owner(make_lab: MakeLab, address: str) -> None:
    lab = make_lab("full", 2, ipv6=True)
    host = RealHost(lab, "h1")
    with ExitStack() as stack:
        stack.enter_context(host.run(udp(address, TAKEN)))
        assert host.run(lambda: probe_host(BRIDGE)) == FastHost(FREE)
        for port in PORTS[1:]:
            stack.enter_context(host.run(udp(address, port)))
        assert host.run(lambda: probe_host(BRIDGE)) == FastHost(0, "port-taken")
    assert "wvx" not in names(lab)


@pytest.mark.parametrize("moved", [False, True])
def test_the_port_of_others_vxlan_devices_is_left_to_them(make_lab: MakeLab, moved: bool) -> None:
    """t24: also if the device itself is in another namespace by now, as Docker has it."""
    lab = make_lab("full", 2)
    host = RealHost(lab, "h1")
    line = f"link add flannel.1 type vxlan id 1 dstport {TAKEN} local 10.99.1.1 nolearning"
    lab.exec("h1", ["ip", *line.split()])
    if moved:
        commands.run(["ip", "-n", lab.ns("h1"), "link", "set", "flannel.1", "netns", lab.ns("c1")])
    where = "c1" if moved else "h1"
    lab.exec(where, ["ip", "link", "set", "flannel.1", "up"])
    assert host.run(lambda: probe_host(BRIDGE)) == FastHost(FREE)
    assert host.run(lambda: probe_host(BRIDGE, avoid={FREE})) == FastHost(PORTS[2])


def test_a_predecessors_port_is_left_to_others_that_came(make_lab: MakeLab) -> None:
    """t24"""
    lab = make_lab("full", 2)
    host = RealHost(lab, "h1")
    for name, vni in (("wvx8a3e00000002", 2), ("vx9", 9)):
        line = f"link add {name} type vxlan id {vni} dstport {TAKEN} local 10.99.1.1 nolearning"
        lab.exec("h1", ["ip", *line.split()])
    lab.exec("h1", ["ip", "link", "set", "wvx8a3e00000002", "alias", f"weave-py {BRIDGE}"])
    assert host.run(lambda: probe_host(BRIDGE)) == FastHost(FREE)


def test_a_predecessors_port_is_kept(make_lab: MakeLab) -> None:
    lab = make_lab("full", 2)
    host = RealHost(lab, "h1")
    for name, alias in (("wvx8a3e00000002", f"weave-py {BRIDGE}"), ("wvx8a3e00000003", "other")):
        port = FREE if alias != "other" else 1234
        line = f"link add {name} type vxlan id {port} dstport {port} local 10.99.1.1 nolearning"
        lab.exec("h1", ["ip", *line.split()])
        lab.exec("h1", ["ip", "link", "set", name, "alias", alias])
    assert host.run(lambda: probe_host(BRIDGE)) == FastHost(FREE)
    assert host.run(lambda: probe_host("another")) == FastHost(TAKEN)


def test_another_routers_port_is_not_shared(make_lab: MakeLab) -> None:
    """Or each would take the other's ESP for its own, of which nobody wishes anything."""
    lab = make_lab("full", 2)
    host = RealHost(lab, "h1")
    line = f"link add wvx8a3e00000009 type vxlan id 9 dstport {TAKEN} local 10.99.1.1 nolearning"
    lab.exec("h1", ["ip", *line.split()])
    lab.exec("h1", ["ip", "link", "set", "wvx8a3e00000009", "alias", "weave-py other"])
    assert host.run(lambda: probe_host(BRIDGE)) == FastHost(FREE)
    assert host.run(lambda: probe_host("other")) == FastHost(TAKEN)


def test_without_privileges_it_says_so(make_lab: MakeLab) -> None:
    lab = make_lab("full", 2)
    code = f"from fastdp.kernel.selftest import probe_host; print(probe_host({BRIDGE!r}).why)"
    argv = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    done = lab.exec("h1", [*argv, sys.executable, "-c", code])
    assert done.stdout.strip() == "no-privileges"


def vxlan_packet(vni: int) -> bytes:
    """A frame from nowhere to everybody, as VXLAN (RFC 7348 §5)."""
    frame = b"\xff" * 6 + bytes.fromhex("020000000099") + struct.pack("!H", 0x9000) + bytes(50)
    return struct.pack("!II", 0x0800_0000, vni << 8) + frame


def test_strangers_are_kept_out(make_lab: MakeLab) -> None:
    commands.require("nft")
    lab = make_lab("full", 3)
    with real_hosts(lab) as hosts:
        host = hosts["h1"]
        host.desired("h2", False)
        host.settle()

        def came_of(source: str) -> int:
            """How many of ten packets with the right VNI get into the bridge."""
            path = "/sys/class/net/wvx8a3e00000002/statistics/rx_packets"
            before = int(lab.exec("h1", ["cat", path]).stdout)
            with hosts[source].run(udp("0.0.0.0", 0)) as sock:
                for _ in range(10):
                    sock.sendto(vxlan_packet(7000), ("10.99.1.1", 4789))
            return int(lab.exec("h1", ["cat", path]).stdout) - before

        def load(networks: list[str] | None) -> None:
            allowed = None if networks is None else [ip_network(text) for text in networks]
            host.run(nft.Guard(BRIDGE, nft.ruleset(BRIDGE, 4789, allowed)).apply)

        assert (came_of("h2"), came_of("h3")) == (10, 10)
        load(["10.99.1.1/32", "10.99.1.2/32", "fd00::/8"])
        assert (came_of("h2"), came_of("h3")) == (10, 0)
        load(["10.99.1.2/32"])
        assert (came_of("h2"), came_of("h3")) == (0, 0), "where to is not trusted"
        load(["10.99.1.0/24"])
        assert (came_of("h2"), came_of("h3")) == (10, 10)
        load([])
        assert (came_of("h2"), came_of("h3")) == (0, 0)
        kept = nft.Guard(BRIDGE, nft.ruleset(BRIDGE, 4789, []))
        host.run(kept.apply)
        assert not host.run(kept.restore)
        for meddling in (["flush", "ruleset"], ["flush", "table", "inet", "weave-py-weave"]):
            lab.exec("h1", ["nft", *meddling])
            assert (came_of("h2"), came_of("h3")) == (10, 10)
            assert host.run(kept.restore)
            assert (came_of("h2"), came_of("h3")) == (0, 0)
        assert not host.run(kept.restore)
        load(None)
        assert (came_of("h2"), came_of("h3")) == (10, 10)
        for _ in range(2):
            host.run(lambda: nft.remove(BRIDGE))
        assert lab.exec("h1", ["nft", "list", "ruleset"]).stdout == ""
