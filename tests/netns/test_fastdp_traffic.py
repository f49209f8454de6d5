"""Does not a single frame get lost or doubled while real kernels are told to flip and move?"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fastdp.kernel.devices import Kernel
from fastdp.plan.operations import Divert, Undivert
from fastdp.plan.state import Device
from tests.kit.fast_hosts import RealHost, Stream, overlay_address, peer_name, real_hosts
from tests.netns.conftest import MakeLab
from weave_py.lab.namespaces import Lab

FLIPS = 300
SUBNET_BROADCAST = "10.32.0.255"
PAUSE = 0.002


@pytest.fixture(autouse=True)
def _patient_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pump is a thread of this process and may have to wait for its turn."""
    monkeypatch.setattr("fastdp.plan.desired.TAP_QUEUE_FRAMES", 1000)


def ping(lab: Lab, source: str, target: str, *more: str) -> bool:
    argv = ["ping", "-c", "3", "-i", "0.05", "-W", "2", *more, overlay_address(target)]
    return lab.exec(f"c{source[1:]}", argv, check=False).returncode == 0


def diverted_to_tap(host: RealHost, peer: str) -> int:
    name = Device.TAP.ifname(peer_name(peer))
    path = f"/sys/class/net/{name}/statistics/tx_packets"
    return int(host.lab.exec(host.name, ["cat", path]).stdout)


def between(host: RealHost, peer: RealHost) -> list[Stream]:
    """A unicast and a broadcast stream each way."""
    lab, ends = host.lab, (host.name, peer.name)
    streams = []
    for port, (source, target) in ((5000, ends), (5002, ends[::-1])):
        streams += [
            Stream(lab, source, [target], overlay_address(target), port, PAUSE),
            Stream(lab, source, [target], SUBNET_BROADCAST, port + 1, PAUSE),
        ]
    return streams


def run_under(streams: list[Stream], action: Callable[[], object]) -> None:
    for stream in streams:
        stream.__enter__()
    try:
        time.sleep(0.1)
        action()
        time.sleep(0.1)
    finally:
        for stream in reversed(streams):
            stream.__exit__()
    for stream in streams:
        assert stream.sent > 100
        assert set(stream.outcome().values()) == {(0, 0)}, (stream.sent, stream.outcome())


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_frames_go_where_they_are_told(make_lab: MakeLab, ipv6: bool) -> None:
    lab = make_lab("full", 2, ipv6=ipv6)
    with real_hosts(lab) as hosts:
        first, second = hosts["h1"], hosts["h2"]
        for host in (first, second):
            host.settle()
        assert ping(lab, "h1", "h2"), "the TAPs as ports"
        first.desired("h2", False, ipv6=ipv6)
        second.desired("h1", False, ipv6=ipv6)
        for host in (first, second):
            host.settle()
        assert ping(lab, "h1", "h2"), "behind VXLAN devices, by the sleeve"
        assert diverted_to_tap(first, "h2") > 0
        first.flip("h2", True)
        second.flip("h1", True)
        assert first.settle() == [Undivert(peer_name("h2"), 2)]
        assert second.settle() == [Undivert(peer_name("h1"), 2)]
        before = diverted_to_tap(first, "h2")
        # As large as the inner MTU allows: nothing on the way is cut.
        assert ping(lab, "h1", "h2", "-s", "1348", "-M", "do")
        assert diverted_to_tap(first, "h2") == before, "something still went to the router"


def test_flips_cost_nothing(make_lab: MakeLab) -> None:
    with real_hosts(make_lab("full", 2)) as hosts:
        first, second = hosts["h1"], hosts["h2"]
        for host, peer in ((first, "h2"), (second, "h1")):
            host.desired(peer, False)
            host.settle()
            host.flip(peer, True)
            host.settle()

        def flip_often(kernel: Kernel) -> None:
            peer = peer_name("h2")
            for number in range(FLIPS):
                kernel.apply(Undivert(peer, 2) if number % 2 else Divert(peer, 2))
                time.sleep(0.005)

        run_under(between(first, second), lambda: first.kernel(flip_often))


def test_moves_cost_nothing(make_lab: MakeLab) -> None:
    """From the TAP to the VXLAN device as the port, and back."""
    with real_hosts(make_lab("full", 2)) as hosts:
        first, second = hosts["h1"], hosts["h2"]
        second.desired("h1", False)
        for host in (first, second):
            host.settle()

        def move_often(kernel: Kernel) -> None:
            for number in range(20):
                if number % 2:
                    first.desired_ports["h2"] = None
                else:
                    first.desired("h2", False)
                first.reconcile(kernel)
                time.sleep(0.02)

        run_under(between(first, second), lambda: first.kernel(move_often))


def test_broadcasts_arrive_once_at_each_of_three(make_lab: MakeLab) -> None:
    """Fast, slow and flapping peers, and one whose TAP is the port."""
    lab = make_lab("full", 3)
    with real_hosts(lab) as hosts:
        for host in hosts.values():
            for peer in hosts:
                if peer != host.name and {host.name, peer} != {"h2", "h3"}:
                    host.desired(peer, False, vni=7000 + int(host.name[1:]) * int(peer[1:]))
            host.settle()
        for name, far in (("h1", "h3"), ("h3", "h1")):
            hosts[name].flip(far, True)
            hosts[name].settle()

        def flap(kernel: Kernel) -> None:
            for number in range(100):
                hosts["h1"].flip("h2", number % 2 == 0)
                hosts["h1"].reconcile(kernel)
                time.sleep(0.005)

        streams = [
            Stream(
                lab,
                name,
                [other for other in hosts if other != name],
                SUBNET_BROADCAST,
                5000 + number,
                PAUSE,
            )
            for number, name in enumerate(hosts)
        ]
        run_under(streams, lambda: hosts["h1"].kernel(flap))
