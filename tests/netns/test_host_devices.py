"""Do the kernel's devices do what `host.tap`, `host.netlink` and `host.locks` say they do?"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.kit.super_frames import super_frame
from weave_py.datapath.super_frame import examine, write_piece
from weave_py.host.link_requests import MOST_LEARNED
from weave_py.host.locks import claim_bridge
from weave_py.host.netlink import Netlink
from weave_py.host.tap import VNET_HEADER_BYTES, Tap, open_tap
from weave_py.host.underlay import RouteFinder, look
from weave_py.model.errors import ConfigError, HostError
from weave_py.model.underlay import NO_ROUTE, Route
from weave_py.workloads.netns import Namespace, resolve_namespace, run_inside

pytestmark = pytest.mark.netns

MAC = "8a:3e:00:00:00:01"
_numbers = count()


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A fresh namespace in the place of a host."""
    name = f"wphd-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield resolve_namespace(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def shell(command: str) -> str:
    """Run in the namespace of the calling thread."""
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    return done.stdout


def within(host: Namespace, work: Callable[[Netlink], None]) -> None:
    def inside() -> None:
        with Netlink() as netlink:
            work(netlink)

    run_inside(host, inside)


def read_frame(tap: Tap, wanted: Callable[[bytes], bool], seconds: float = 2.0) -> bytes | None:
    """The first frame (without its virtio header) that is wanted."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([tap.fd], [], [], left)[0]:
            frame = os.read(tap.fd, 70_000)[VNET_HEADER_BYTES:]
            if wanted(frame):
                return frame
    return None


def frame_from(mac: str, payload: bytes = b"") -> bytes:
    source = bytes.fromhex(mac.replace(":", ""))
    return bytes(VNET_HEADER_BYTES) + b"\xff" * 6 + source + b"\x88\xb5" + payload.ljust(46, b"\0")


def test_threads_may_make_netlink_sockets(host: Namespace) -> None:
    seen: list[str] = []

    def work() -> None:
        with Netlink() as netlink:
            seen.append(f"{netlink.link_exists('lo')} {netlink.link_exists('weave')}")

    def workers() -> None:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    run_inside(host, workers)
    assert seen == ["True False"] * 4
    work()
    assert len(seen) == 5


def test_tap_carries_frames_with_a_header(host: Namespace) -> None:
    def inside() -> None:
        with open_tap("wptap") as tap:
            assert {"csum", "tso4", "tso6"} <= tap.offloads
            assert os.get_blocking(tap.fd) is False
            shell("ip link set wptap up")
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
                raw.bind(("wptap", 0x88B5))
                os.write(tap.fd, frame_from("02:00:00:00:00:09", b"to the kernel"))
                raw.settimeout(2)
                assert b"to the kernel" in raw.recv(2000)
                raw.send(frame_from("02:00:00:00:00:08", b"to us")[VNET_HEADER_BYTES:])
            assert read_frame(tap, lambda frame: b"to us" in frame) is not None
            assert read_frame(tap, lambda frame: False, 0.05) is None  # drained
            with pytest.raises(BlockingIOError):
                os.read(tap.fd, 70_000)
        tap.close()
        assert "wptap" not in shell("ip link")

    run_inside(host, inside)


def test_tap_hands_out_super_frames(host: Namespace) -> None:
    def inside() -> None:
        with open_tap("wptap") as tap:
            if "uso4" not in tap.offloads:
                pytest.skip("this kernel has no UDP segmentation offload for TAPs")
            shell("ip link set wptap up; ip address add 10.9.0.1/24 dev wptap")
            shell("ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev wptap")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.IPPROTO_UDP, 103, 1000)
                sock.sendto(b"x" * 20_000, ("10.9.0.2", 9))
            frame = read_frame(tap, lambda frame: len(frame) > 20_000)
            assert frame is not None
            assert frame.endswith(b"x" * 20_000)

    run_inside(host, inside)


def test_tap_takes_each_piece_of_a_super_frame_that_lay_in_one_piece(host: Namespace) -> None:
    """F1's neighbour: the kernel takes no frame shorter than the headers it is told of, and for a
    frame without fragments that is all of the frame."""

    def inside() -> None:
        with open_tap("wptap") as tap:
            shell("ip link set wptap up")
            frame = bytearray(super_frame(bytes(20_000), 1324))
            frame[2:4] = (len(frame) - VNET_HEADER_BYTES).to_bytes(2, "little")
            cut = examine(memoryview(frame), 0, len(frame))
            assert cut is not None
            for skip in range(0, cut.payload, cut.gso_size):
                take = min(cut.gso_size, cut.payload - skip)
                write_piece(memoryview(frame), skip, cut, skip, take)
                piece = frame[skip : skip + len(cut.headers) + take]
                assert os.write(tap.fd, piece) == len(piece)

    run_inside(host, inside)


def test_tap_name_taken(host: Namespace) -> None:
    def inside() -> None:
        shell("ip link add wpdummy type bridge; ip tuntap add dev wppersist mode tap")
        for name in ("wpdummy", "wppersist"):
            with pytest.raises(HostError, match=f"interface {name} exists already"):
                open_tap(name)
        with open_tap("wptap"), pytest.raises(HostError, match="exists already"):
            open_tap("wptap")
        with pytest.raises(ConfigError):
            open_tap("wp%d")

    run_inside(host, inside)


def test_tap_without_privilege() -> None:
    code = (
        "import os\nfrom weave_py.host.tap import open_tap\n"
        "from weave_py.model.errors import HostError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    open_tap('wptap')\nexcept HostError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "CAP_NET_ADMIN: run as root" in done.stdout, done.stderr


def test_a_bridge_that_somebody_else_made_is_not_deleted(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        shell("ip link add others type bridge")
        assert netlink.ensure_bridge("others", MAC, 1376) is False
        assert not netlink.is_our_bridge("others")
        with pytest.raises(HostError, match="bridge others was not made by weave-py"):
            netlink.delete_bridge("others")
        assert netlink.link_exists("others")
        assert netlink.ensure_bridge("ours", MAC, 1376) is True
        assert netlink.is_our_bridge("ours")
        assert not netlink.is_our_bridge("missing")

    within(host, work)


def test_bridge_is_made_adopted_and_deleted(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        assert netlink.ensure_bridge("weave", MAC, 1376) is True
        described = shell("ip -d link show weave")
        for part in (MAC, "mtu 1376", "stp_state 0", "forward_delay 0", "mcast_snooping 0", "UP"):
            assert part in described
        assert "ageing_time 30000" in described
        if os.path.exists("/proc/sys/net/ipv6"):
            assert shell("cat /proc/sys/net/ipv6/conf/weave/accept_ra") == "0\n"
        shell("ip link set weave down mtu 1500")
        other = MAC.replace("8a", "8e")
        assert netlink.ensure_bridge("weave", other, 1400) is False
        assert netlink.mtu_of("weave") == 1400
        assert other in shell("ip link show weave")
        netlink.delete_bridge("weave")
        netlink.delete_bridge("weave")
        assert not netlink.link_exists("weave")

    within(host, work)


def test_other_devices_are_not_taken_for_bridges(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        shell("ip tuntap add dev weave mode tap")
        with pytest.raises(HostError, match="is not a bridge: remove it or choose another"):
            netlink.ensure_bridge("weave", MAC, 1400)
        with pytest.raises(HostError, match="left alone"):
            netlink.delete_bridge("weave")
        assert netlink.link_exists("weave")
        with pytest.raises(ConfigError):
            netlink.ensure_bridge("../weave", MAC, 1400)
        with pytest.raises(HostError, match=r"^cannot set up bridge weave1: "):
            netlink.ensure_bridge("weave1", MAC, 10)
        assert not netlink.link_exists("weave1")

    within(host, work)


def test_ports_are_silent_isolated_and_listed(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        netlink.ensure_bridge("weave", MAC, 1400)
        with open_tap("wp0") as one, open_tap("wp1") as other, open_tap("wp2") as local:
            for tap in (one, other, local):
                netlink.plug_port(
                    tap.name,
                    "weave",
                    mtu=1400,
                    isolated=tap is not local,
                    txqueuelen=64,
                    gso_max_size=61440,
                )
            found = [(port.ifname, port.kind, port.isolated) for port in netlink.ports("weave")]
            assert found == [("wp0", "tun", True), ("wp1", "tun", True), ("wp2", "tun", False)]
            described = shell("ip -d link show wp0")
            assert "qlen 64" in described
            assert "gso_max_size 61440" in described
            assert netlink.mtu_of("weave") == 1400
            assert netlink.wait_forwarding("wp0", 2)
            assert netlink.wait_forwarding("wp2", 2)

            os.write(one.fd, frame_from("02:00:00:00:00:09", b"broadcast"))
            assert read_frame(local, lambda frame: b"broadcast" in frame) is not None
            assert read_frame(other, lambda frame: b"broadcast" in frame, 0.1) is None
            # The port itself says nothing: no frame comes from its own MAC.
            described = shell("ip -o link show wp0")
            own = bytes.fromhex(described.partition("link/ether ")[2][:17].replace(":", ""))
            assert read_frame(one, lambda frame: frame[6:12] == own, 0.1) is None

            ((mac, ifname, age),), _ = netlink.macs("weave", 10)
            assert (mac, ifname) == ("02:00:00:00:00:09", "wp0")
            assert 0 <= age < 5
            assert netlink.master_of("wp0") == "weave"
            netlink.plug_port("wp0", "weave", mtu=1380, isolated=False)  # again, changed
            assert netlink.mtu_of("wp0") == 1380
            assert not netlink.ports("weave")[0].isolated
            assert netlink.mtu_of("weave") == 1400  # stays what it was set to
            assert netlink.macs("weave", 10)[0] != []  # not flushed by plugging again
            netlink.unplug("wp0")
            assert netlink.master_of("wp0") is None
            netlink.delete_link("wp1")
            assert [port.ifname for port in netlink.ports("weave")] == ["wp2"]
        netlink.unplug("wp0")
        netlink.delete_link("wp0")
        with pytest.raises(HostError, match="no interface wp0"):
            netlink.plug_port("wp0", "weave", mtu=1400, isolated=True)

    within(host, work)


def test_a_bridge_learns_so_many_macs_and_tells_of_as_many_as_it_is_asked_for(
    host: Namespace,
) -> None:
    """F6: it learned one for each frame, and all were read. Without the rules about ports."""

    def work(netlink: Netlink) -> None:
        netlink.ensure_bridge("weave", MAC, 1400)
        with open_tap("wp0") as tap:
            netlink.plug_port("wp0", "weave", mtu=1400, isolated=False)
            assert netlink.wait_forwarding("wp0", 2)
            local = b"\x01\x80\xc2\x00\x00\x0e"  # LLDP: goes no further, and past nft
            frame = bytes(VNET_HEADER_BYTES) + local + b"\x02" + bytes(5) + b"\x88\xcc"
            os.write(tap.fd, frame + bytes(46))
            assert netlink.macs("weave", 10)[1] == 0
            for number in range(MOST_LEARNED + 1000):
                os.write(tap.fd, frame_from((b"\x02" + number.to_bytes(5, "big")).hex(":")))
            macs, count = netlink.macs("weave", 10)
            assert (len(macs), count) == (10, MOST_LEARNED)

    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
        pytest.skip("this kernel does not limit what a bridge learns")
    within(host, work)


def test_a_bridge_speaks_no_ipv6_without_an_address_of_its_own(host: Namespace) -> None:
    """t60, F12: the kernel gave it a link-local one."""

    def work(netlink: Netlink) -> None:
        assert netlink.ensure_bridge("weave", MAC, 1400) is True
        assert shell("ip -6 -o addr show dev weave") == ""
        netlink.add_address("weave", "fd00::1/64")
        netlink.ensure_bridge("weave", MAC, 1400)  # as by a router that starts again
        assert netlink.addresses("weave") == ["fd00::1/64"]
        netlink.remove_address("weave", "fd00::1/64")
        netlink.silence_ipv6("weave")
        assert shell("ip -6 -o addr show dev weave") == ""
        assert shell("cat /proc/sys/net/ipv4/conf/weave/arp_ignore") == "1\n"

    within(host, work)


def test_addresses_come_and_go_alone(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        netlink.ensure_bridge("weave", MAC, 1400)
        all_three = ["10.2.1.1/24", "10.2.1.2/24", "fd00::1/64"]
        shell("echo 1 > /proc/sys/net/ipv6/conf/weave/disable_ipv6 || true")
        for cidr in all_three:
            assert netlink.add_address("weave", cidr) is True
            assert netlink.add_address("weave", cidr) is False
        assert netlink.addresses("weave") == all_three
        assert "tentative" not in shell("ip address show weave scope global")
        # The kernel's habit is to remove 10.2.1.2 with 10.2.1.1, the first of their subnet.
        assert netlink.remove_address("weave", "10.2.1.1/24") is True
        assert netlink.remove_address("weave", "10.2.1.1/24") is False
        assert netlink.addresses("weave") == all_three[1:]
        assert netlink.add_link_route("224.0.0.0/4", "weave") is True
        assert netlink.add_link_route("224.0.0.0/4", "weave") is False
        assert "224.0.0.0/4 dev weave" in shell("ip route")

    within(host, work)


def test_underlay_is_what_others_can_reach(host: Namespace) -> None:
    """t02, t38: addresses on `lo` that are not loopback's count, those inside do not."""

    def work(netlink: Netlink) -> None:
        netlink.ensure_bridge("weave", MAC, 1400)
        shell(
            "ip link set lo up; ip address add 192.0.2.9/32 dev lo;"
            "ip link add wpeth type veth peer name wpfar; ip link set wpeth up;"
            "ip link set wpfar up; ip link add wpv0 type veth peer name wpv1;"
            "ip link set wpv0 up; ip link set wpv1 up; ip link set wpv0 master weave;"
            "ip address add 10.2.9.2/24 dev wpv1;"
            "ip address add 192.0.2.1/24 dev wpeth; ip address add 169.254.0.1/16 dev wpeth"
            " scope link; ip address add 2001:db8::1/64 dev wpeth nodad;"
            "ip address add 192.0.2.3/24 dev wpv0;"
            "ip tuntap add dev wpdown mode tap; ip address add 192.0.2.2/24 dev wpdown;"
            "ip address add 10.2.1.1/24 dev weave"
        )
        found = look("weave", lambda name: False)
        assert sorted(address.host for address in found.addresses) == [
            "192.0.2.1",
            "192.0.2.9",
            "2001:db8::1",
        ]
        with RouteFinder() as finder:
            ways = finder.find(
                ["192.0.2.77", "192.0.2.1", "10.2.1.7", "10.2.9.7", "8.8.8.8"], found.inside
            )
        assert ways == {
            "192.0.2.77": Route("192.0.2.1"),
            "192.0.2.1": Route("192.0.2.1", here=True),
            "10.2.1.7": Route("10.2.1.1", inside=True),
            "10.2.9.7": Route("10.2.9.2", inside=True),
            "8.8.8.8": NO_ROUTE,
        }

    within(host, work)


def test_one_router_a_bridge_and_namespace(host: Namespace) -> None:
    def inside() -> None:
        with claim_bridge("weave"), claim_bridge("weave1"):
            pass

    with claim_bridge("weave"):
        run_inside(host, inside)
        with pytest.raises(HostError, match="another --bridge"), claim_bridge("weave"):
            pass
    with claim_bridge("weave"):
        pass


def test_refusals_are_one_line(host: Namespace) -> None:
    def work(netlink: Netlink) -> None:
        with pytest.raises(HostError, match=r"^there is no interface weave: "):
            netlink.mtu_of("weave")
        with (
            host.open() as fd,
            pytest.raises(HostError, match=r"^cannot create the veth pair .*: "),
        ):
            netlink.create_veth("lo", "ethwe", fd, 1400)

    within(host, work)
