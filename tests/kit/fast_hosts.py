"""How does a test play routers around the real kernel's fast datapath?

Each host of a lab gets a bridge and a container; a pump between the TAPs plays the sleeve.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TypeVar

from fastdp.kernel.devices import Kernel
from fastdp.plan.desired import plan
from fastdp.plan.diff import diff
from fastdp.plan.operations import Operation
from fastdp.plan.state import Device, KernelState
from tests.kit.inside import inside, udp_socket
from weave_py.host.netlink import Netlink
from weave_py.host.tap import Tap, open_tap
from weave_py.lab.namespaces import Lab
from weave_py.model.fast import VXLAN_PORT, DesiredPort, DesiredVxlan, FastRemote
from weave_py.model.names import PeerName

T = TypeVar("T")
BRIDGE, MTU = "weave", 1376
_RECEIVE_BUFFER = 1 << 22


def peer_name(host: str) -> PeerName:
    return PeerName(bytes([0x8A, 0x3E, 0, 0, 0, int(host[1:])]))


def overlay_address(host: str) -> str:
    return f"10.32.0.{host[1:]}"


class RealHost:
    """One host of a lab. What it does to the kernel happens in threads inside."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.taps: dict[str, Tap] = {}
        self.desired_ports: dict[str, DesiredVxlan | None] = {}

    def open(self) -> None:
        number = self.name[1:]
        container = f"c{number}"

        def make_bridge() -> None:
            with Netlink() as netlink:
                netlink.ensure_bridge(BRIDGE, f"8a:3e:00:00:00:{int(number):02x}", MTU)

        self.run(make_bridge)
        for line in (
            f"link add vethc mtu {MTU} type veth peer name eth0 mtu {MTU} "
            f"netns {self.lab.ns(container)}",
            f"link set vethc master {BRIDGE} up",
        ):
            self.lab.exec(self.name, ["ip", *line.split()])
        for line in (
            f"addr add {overlay_address(self.name)}/24 broadcast 10.32.0.255 dev eth0",
            "link set eth0 up",
        ):
            self.lab.exec(container, ["ip", *line.split()])

    def run(self, action: Callable[[], T]) -> T:
        """Call `action` in the host's namespace."""
        return inside(self.lab, self.name, action)

    def kernel(self, action: Callable[[Kernel], T]) -> T:
        """Call `action` with a Kernel of this host."""

        def work() -> T:
            with Kernel(BRIDGE) as kernel:
                return action(kernel)

        return self.run(work)

    def open_tap(self, peer: str) -> None:
        tap = self.run(lambda: open_tap(Device.TAP.ifname(peer_name(peer))))
        self.taps[peer] = tap
        self.desired_ports.setdefault(peer, None)

    def close(self) -> None:
        """Close the TAPs, and wait until they are gone: the sleeve may just be reading them."""
        names = {Device.TAP.ifname(peer_name(peer)) for peer in self.taps}
        for tap in self.taps.values():
            tap.close()
        self.taps.clear()
        deadline = time.monotonic() + 5
        while names & self.run(lambda: {name for _, name in socket.if_nameindex()}):
            assert time.monotonic() < deadline, "the TAPs are still there"
            time.sleep(0.01)

    def observe(self) -> KernelState:
        return self.kernel(lambda kernel: kernel.observe())

    def reconcile(self, kernel: Kernel, keep: Collection[PeerName] = ()) -> list[Operation]:
        """Do what is to be done; everything that was. (Inside the host only.)"""
        desired_ports = [
            DesiredPort(peer_name(peer), desired) for peer, desired in self.desired_ports.items()
        ]
        done: list[Operation] = []
        for _ in range(10):
            actual = kernel.observe()
            script = diff(plan(BRIDGE, MTU, VXLAN_PORT, desired_ports, actual, keep), actual)
            if not script:
                return done
            for operation in script:
                kernel.apply(operation)
            done += script
        raise AssertionError(f"never done: {script}")

    def settle(self) -> list[Operation]:
        return self.kernel(self.reconcile)

    def desired(self, peer: str, through: bool, *, vni: int = 7000, ipv6: bool = False) -> None:
        """A fast wish whose remote is the host `peer`, which receives under the same VNI."""
        remote = FastRemote(
            self.lab.address(self.name, peer, ipv6=ipv6),
            self.lab.address(peer, self.name, ipv6=ipv6),
            VXLAN_PORT,
            vni,
        )
        self.desired_ports[peer] = DesiredVxlan(vni, ipv6, remote, through)

    def flip(self, peer: str, through: bool) -> None:
        desired = self.desired_ports[peer]
        assert desired is not None
        self.desired_ports[peer] = replace(desired, through=through)


@contextmanager
def real_hosts(lab: Lab) -> Iterator[dict[str, RealHost]]:
    """All hosts, each with a TAP for each other one, and the sleeve between them running."""
    with ExitStack() as stack:
        hosts = {name: RealHost(lab, name) for name in lab.topology.hosts}
        for host in hosts.values():
            stack.callback(host.close)
            host.open()
            for peer in hosts:
                if peer != host.name:
                    host.open_tap(peer)
        stack.enter_context(sleeve(hosts))
        yield hosts


@contextmanager
def sleeve(hosts: dict[str, RealHost]) -> Iterator[None]:
    """What is read from the TAP of a peer is written to the peer's TAP of the host."""
    done = threading.Event()
    thread = threading.Thread(target=_pump, args=(hosts, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _pump(hosts: dict[str, RealHost], done: threading.Event) -> None:
    while not done.is_set():
        # (A host may close its TAPs at any moment.)
        ends = [
            (tap.fd, far.fd)
            for host in hosts.values()
            for peer, tap in list(host.taps.items())
            if (far := hosts[peer].taps.get(host.name)) is not None
        ]
        ways = {near: far for near, far in ends if near >= 0}
        poll = select.poll()
        for fd in ways:
            poll.register(fd, select.POLLIN)
        for fd, events in poll.poll(50):
            if events & select.POLLIN and fd in ways:
                _carry(fd, ways[fd])


def _carry(source: int, target: int) -> None:
    for _ in range(64):
        try:
            frame = os.read(source, 70_000)
        except OSError:
            return
        try:
            os.write(target, frame)
        except OSError:
            continue


class Stream:
    """Numbered datagrams from one container to others; counts what arrives where."""

    def __init__(
        self, lab: Lab, source: str, targets: Collection[str], address: str, port: int, pause: float
    ) -> None:
        """`address`: of a target, or the subnet's broadcast. `pause`: seconds between two."""
        self._address = (address, port)
        self._pause = pause
        self._sender = udp_socket(lab, f"c{source[1:]}")
        self._receivers = {
            target: udp_socket(lab, f"c{target[1:]}", "", port) for target in targets
        }
        self.sent = 0
        self.arrived: dict[str, Counter[int]] = {target: Counter() for target in targets}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Stream:
        for target, sock in self._receivers.items():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.settimeout(0.5)
            self._threads.append(threading.Thread(target=self._receive, args=(target, sock)))
        self._threads.append(threading.Thread(target=self._send))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        for sock in self._receivers.values():
            sock.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            self._sender.sendto(self.sent.to_bytes(8, "big"), self._address)
            self.sent += 1
            time.sleep(self._pause)

    def _receive(self, target: str, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(64)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            self.arrived[target][int.from_bytes(data, "big")] += 1

    def outcome(self) -> dict[str, tuple[int, int]]:
        """Target → (lost, doubled)."""
        return {
            target: (self.sent - len(arrived), arrived.total() - len(arrived))
            for target, arrived in self.arrived.items()
        }
