"""Does the real kernel end up as wanted, whoever else was at it?"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fastdp.kernel.devices import Kernel
from fastdp.kernel.events import RECEIVE_BYTES, concerned, open_events
from fastdp.plan.desired import TAP_QUEUE_FRAMES
from fastdp.plan.operations import AddVxlan, DeleteVxlan, SetUp
from fastdp.plan.state import Device, KernelState, Port, Redirect, Remote
from tests.kit.fast_hosts import (
    BRIDGE,
    MTU,
    RealHost,
    Stream,
    overlay_address,
    peer_name,
    real_hosts,
)
from tests.netns.conftest import MakeLab
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName
from weave_py.wire import fast_probe
from weave_py.wire.fast_probe import ETHERTYPE

VXLAN = Device.VXLAN.ifname(peer_name("h2"))
TAP = Device.TAP.ifname(peer_name("h2"))
PEER = peer_name("h2")


def shell(host: RealHost, command: str) -> str:
    return host.lab.exec(host.name, ["sh", "-c", command]).stdout


def fast_pair(hosts: dict[str, RealHost], through: bool) -> tuple[RealHost, RealHost]:
    first, second = hosts["h1"], hosts["h2"]
    for host, peer in ((first, "h2"), (second, "h1")):
        host.desired(peer, False)
        host.settle()
        host.flip(peer, through)
        host.settle()
    return first, second


def works(hosts: dict[str, RealHost]) -> bool:
    """Both ways; each end speaks first once. (While a TAP is plugged, a broadcast goes back where
    it came from, and the bridge there looks for its sender on the wrong side until it speaks.)"""

    def reaches(one: str, other: str) -> bool:
        argv = ["ping", "-c", "2", "-i", "0.05", "-W", "2", overlay_address(f"h{other[1:]}")]
        return hosts["h1"].lab.exec(one, argv, check=False).returncode == 0

    return reaches("c2", "c1") and reaches("c1", "c2")


def test_the_device_is_as_wanted(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        host = hosts["h1"]
        host.desired("h2", False)
        host.settle()
        described = shell(host, f"ip -d link show {VXLAN}")
        for part in (
            "vxlan id 7000 local 10.99.1.1",
            "dstport 4789 nolearning",
            "df set",
            "noudpcsum",
            f"mtu {MTU}",
            "alias weave-py weave",
            "isolated on",
        ):
            assert part in described, described
        assert "link/ether 8a:3e" not in described  # a peer's name is the MAC of its bridge
        if shell(host, "ls /proc/sys/net/ipv6 2>/dev/null || true"):
            for name in (VXLAN, TAP):
                assert shell(host, f"cat /proc/sys/net/ipv6/conf/{name}/disable_ipv6") == "1\n"
        assert f"qlen {TAP_QUEUE_FRAMES}" in shell(host, f"ip link show {TAP}")
        link = host.observe().vxlans[PEER]
        assert (link.vni, link.udp_port, link.ipv6, link.local) == (7000, 4789, False, "10.99.1.1")
        assert link.remotes == (Remote("10.99.1.2", 4789, 7000),)
        assert link.port == Port(isolated=True, floods=True)
        assert link.redirects == (Redirect(2, True),)
        assert link.guarded
        assert host.settle() == []


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_what_is_not_known_yet_comes_later(make_lab: MakeLab, ipv6: bool) -> None:
    with real_hosts(make_lab("full", 2, ipv6=ipv6)) as hosts:
        host = hosts["h1"]
        host.desired("h2", False, ipv6=ipv6)
        known = host.desired_ports["h2"]
        assert known is not None
        assert known.remote is not None
        host.desired_ports["h2"] = replace(known, remote=None)
        host.settle()
        first = host.observe().vxlans[PEER]
        assert (first.local, first.remotes, first.ipv6) == (None, (), ipv6)
        host.desired_ports["h2"] = replace(
            known, remote=replace(known.remote, udp_port=6784, vni=9)
        )
        host.settle()
        index = shell(host, f"cat /sys/class/net/{VXLAN}/ifindex")
        link = host.observe().vxlans[PEER]
        assert link.local == known.remote.local
        assert link.remotes == (Remote(known.remote.host, 6784, 9),)
        host.desired_ports["h2"] = known
        host.settle()
        assert host.observe().vxlans[PEER].remotes == (Remote(known.remote.host, 4789, 7000),)
        assert shell(host, f"cat /sys/class/net/{VXLAN}/ifindex") == index
        host.desired_ports["h2"] = replace(known, vni=7777)
        host.settle()
        assert host.observe().vxlans[PEER].vni == 7777
        assert shell(host, f"cat /sys/class/net/{VXLAN}/ifindex") != index


MEDDLING = {
    "redirect deleted": f"tc filter del dev {VXLAN} egress protocol all prio 2",
    "all filters deleted": f"tc qdisc del dev {VXLAN} clsact",
    "filters of the TAP deleted": f"tc filter del dev {TAP} ingress",
    "device down": f"ip link set {VXLAN} down",
    "TAP down": f"ip link set {TAP} down",
    "device deleted": f"ip link del {VXLAN}",
    "unplugged": f"ip link set {VXLAN} nomaster",
    "TAP plugged": f"ip link set {TAP} master {BRIDGE}",
    "not isolated": f"bridge link set dev {VXLAN} isolated off",
    "not flooded to": f"bridge link set dev {VXLAN} bcast_flood off",
    "sent elsewhere": f"bridge fdb append 00:00:00:00:00:00 dev {VXLAN} dst 10.99.1.9",
    "sent nowhere": f"bridge fdb del 00:00:00:00:00:00 dev {VXLAN} dst 10.99.1.2",
    "another MTU": f"ip link set {VXLAN} mtu 1300",
}


@pytest.mark.parametrize("through", [False, True], ids=["sleeve", "kernel"])
def test_whatever_was_changed_is_repaired(make_lab: MakeLab, through: bool) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        host, _ = fast_pair(hosts, through)
        wanted = host.observe()
        for what, command in MEDDLING.items():
            if what == "redirect deleted" and through:
                continue
            shell(host, command)
            assert host.observe() != wanted, what
            assert host.settle() != [], what
            assert host.observe() == wanted, what
            assert works(hosts), what


def test_a_device_that_somebody_renamed_sends_no_more(make_lab: MakeLab) -> None:
    """It is still a port of the bridge, but nothing leads its frames to the TAP any more."""
    with real_hosts(make_lab("full", 2)) as hosts:
        host, _ = fast_pair(hosts, True)
        wanted = host.observe()
        shell(host, f"ip link set {VXLAN} name bar0")
        assert host.kernel(lambda kernel: kernel.remove_strays()) == ["bar0"]
        assert host.settle() != []
        assert host.observe() == wanted
        assert host.kernel(lambda kernel: kernel.remove_strays()) == []
        assert works(hosts)


def test_a_taken_port_leaves_everything_as_it_was(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        host = hosts["h1"]
        for each in hosts.values():
            each.settle()
        before = host.observe()

        def bind() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("", 4789))
            return sock

        with host.run(bind):
            host.desired("h2", False)
            with pytest.raises(HostError, match="another program has its UDP port"):
                host.settle()
            assert host.observe() == before
            assert VXLAN not in shell(host, "ip link")
            assert works(hosts)
        host.settle()
        assert PEER in host.observe().vxlans


def test_the_kernels_path_outlives_the_router(make_lab: MakeLab) -> None:
    lab = make_lab("full", 2)
    with real_hosts(lab) as hosts:
        first, second = fast_pair(hosts, True)
        index = shell(first, f"cat /sys/class/net/{VXLAN}/ifindex")
        streams = [
            Stream(lab, "h1", ["h2"], overlay_address("h2"), 5000, 0.002),
            Stream(lab, "h2", ["h1"], "10.32.0.255", 5001, 0.002),
        ]
        with streams[0], streams[1]:
            time.sleep(0.1)
            first.close()
            assert first.settle() == []  # nothing is done without its TAP
            time.sleep(0.1)
            first.open_tap("h2")
            assert first.settle() != []
            time.sleep(0.1)
        for stream in streams:
            assert set(stream.outcome().values()) == {(0, 0)}
        assert shell(first, f"cat /sys/class/net/{VXLAN}/ifindex") == index
        # And the new TAP is one that can be fallen back to.
        first.flip("h2", False)
        second.flip("h1", False)
        for host in (first, second):
            host.settle()
        assert works(hosts)


def test_a_dead_redirect_is_replaced_without_a_moment_in_the_kernel(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        first, _ = fast_pair(hosts, False)
        first.close()
        assert first.observe().vxlans[PEER].redirects == (Redirect(2, False),)
        first.open_tap("h2")
        first.settle()
        assert first.observe().vxlans[PEER].redirects == (Redirect(3, True),)
        assert works(hosts)


def test_nothing_is_left(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        host, _ = fast_pair(hosts, True)
        host.desired_ports["h2"] = None
        host.settle()
        assert host.observe().vxlans == {}
        assert "filter" not in shell(host, f"tc filter show dev {TAP} ingress")
        host.desired("h2", False)
        host.settle()
        host.desired_ports.clear()
        assert DeleteVxlan(PEER) in host.settle()
        host.close()
        assert host.observe() == KernelState()
        assert "wv" not in shell(host, "ls /sys/class/net")


def test_strangers_devices_are_left_alone(make_lab: MakeLab) -> None:
    new = AddVxlan(PEER, 7000, 4789, False, None, "02:00:00:00:00:07", MTU)
    with real_hosts(make_lab("full", 2)) as hosts:
        host = hosts["h1"]
        shell(host, f"ip link add {VXLAN} type vxlan id 9 dstport 4789 local 10.99.1.1")
        assert host.observe().vxlans == {}
        with pytest.raises(HostError, match="exists already and is not ours"):
            host.kernel(lambda kernel: kernel.apply(new))
        with pytest.raises(HostError, match="left alone"):
            host.kernel(lambda kernel: kernel.apply(DeleteVxlan(PEER)))
        shell(host, f"ip link set {VXLAN} alias 'weave-py weave1'")  # another network's
        assert host.observe().vxlans == {}
        # What we left when we were killed right after its creation is ours.
        shell(host, f"ip link set {VXLAN} alias '' address {new.mac}")
        host.kernel(lambda kernel: kernel.apply(new))
        assert host.observe().vxlans[PEER].vni == 7000
        host.kernel(lambda kernel: kernel.apply(DeleteVxlan(PEER)))
        with pytest.raises(HostError, match="no such interface"):
            host.kernel(lambda kernel: kernel.apply(SetUp(PEER, Device.VXLAN)))


def capture(host: RealHost, ifname: str) -> socket.socket:
    """A packet socket for probes: put aside to `lo`, or wherever they should not be."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        sock.bind((ifname, ETHERTYPE))
        return sock

    return host.run(make)


def received(sock: socket.socket, seconds: float = 0.3) -> list[bytes]:
    """What comes in; not what goes out."""
    found = []
    while select.select([sock], [], [], seconds)[0]:
        data, (_, _, kind, _, _) = sock.recvfrom(2048)
        if kind != socket.PACKET_OUTGOING:
            found.append(data)
    return found


@pytest.mark.parametrize("through", [False, True], ids=["sleeve", "kernel"])
def test_probes_take_the_kernel_and_enter_no_bridge(make_lab: MakeLab, through: bool) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        first, second = fast_pair(hosts, through)
        probe = fast_probe.encode(fast_probe.FastProbe(1, 2, True), MTU + 14, bytes(16))
        with (
            capture(first, VXLAN) as sender,
            capture(second, "lo") as aside,
            capture(second, "vethc") as beyond,
            capture(second, BRIDGE) as bridge,
        ):
            sender.send(probe)
            assert received(aside) == [probe]
            # By the sleeve none comes, and so none can be taken for a proof.
            os.write(second.taps["h1"].fd, bytes(second.taps["h1"].vnet_header_bytes) + probe)
            assert received(aside) == []
            assert received(beyond) == []
            assert received(bridge) == []


def test_events_say_whom_they_are_about(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        host, _ = fast_pair(hosts, False)

        def owners_now(kernel: Kernel) -> Mapping[int, PeerName]:
            kernel.observe()
            return kernel.owners

        owners = host.kernel(owners_now)
        with host.run(open_events) as events:

            def whom(command: str) -> tuple[set[PeerName], bool]:
                shell(host, command)
                peers: set[PeerName] = set()
                bridge = False
                while select.select([events], [], [], 0.2)[0]:
                    found = concerned(events.recv(RECEIVE_BYTES), BRIDGE, owners)
                    peers |= found.peers
                    bridge = bridge or found.bridge
                return peers, bridge

            for what, command in MEDDLING.items():
                if what != "device deleted":
                    assert whom(command)[0] == {PEER}, what
                    host.settle()
            whom("true")  # what settling changed
            assert whom("ip link add other type bridge") == (set(), False)
            assert whom(f"ip link set {BRIDGE} mtu 1300")[1]
            assert whom(f"ip link del {VXLAN}")[0] == {PEER}
            # A MAC that the bridge learns is nobody's business.
            learned = "bridge fdb replace 02:00:00:00:00:99 dev vethc master dynamic"
            assert whom(learned) == (set(), False)
