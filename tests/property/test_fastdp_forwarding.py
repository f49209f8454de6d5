"""Does every frame arrive exactly once, whatever the kernel is being told meanwhile?

Several fake hosts, each with a reconciler that is interrupted after every operation. Between
operations containers send frames; what goes by a TAP waits in its queue until a router that takes
its time carries it on.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from fastdp.fake.host import FakeHost
from fastdp.fake.net import BROADCAST, FakeNet, Frame
from fastdp.plan.desired import plan
from fastdp.plan.diff import diff
from fastdp.plan.effects import after
from fastdp.plan.operations import Operation, Undivert
from fastdp.plan.state import PROBE_TARGET, Device
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastRemote
from weave_py.model.names import PeerName

MTU, UDP_PORT = 1376, 4789
CONTAINERS = 2


def name_of(host: int) -> PeerName:
    return PeerName(bytes([0x0A, 0, 0, 0, 0, host]))


def address_of(host: int, second: bool = False) -> str:
    return f"10.0.{int(second)}.{host + 1}"


def mac_of(container: tuple[int, int]) -> str:
    return "02:00:00:00:{:02x}:{:02x}".format(*container)


@dataclass
class Mesh:
    """All hosts, what their engines wish, and what became of the frames."""

    hosts: int
    net: FakeNet = field(default_factory=FakeNet)
    kernels: list[FakeHost] = field(default_factory=list)
    desired_ports: dict[tuple[int, int], DesiredVxlan | None] = field(default_factory=dict)
    """(Host, peer) → what the host's engine wishes for the peer's port."""
    pending: list[deque[Operation]] = field(default_factory=list)
    arrived: Counter[tuple[int, tuple[int, int]]] = field(default_factory=Counter)
    """(Frame's number, container) → how often."""
    sent: list[tuple[tuple[int, int], tuple[int, int] | None]] = field(default_factory=list)
    """By number: source, and target or None for a broadcast."""
    vnis: count[int] = field(default_factory=lambda: count(5000))

    def __post_init__(self) -> None:
        for host in range(self.hosts):
            kernel = FakeHost(self.net, address_of(host))
            self.net.hosts[address_of(host, second=True)] = kernel
            self.kernels.append(kernel)
            self.pending.append(deque())
            for number in range(CONTAINERS):
                self._add_container(kernel, (host, number))
            for peer in self.peers(host):
                kernel.open_tap(name_of(peer))
                self.desired_ports[host, peer] = None
        self.settle()

    def _add_container(self, kernel: FakeHost, container: tuple[int, int]) -> None:
        def received(frame: Frame) -> None:
            self.arrived[frame.payload, container] += 1

        kernel.add_container(mac_of(container), received)

    def peers(self, host: int) -> list[int]:
        return [peer for peer in range(self.hosts) if peer != host]

    # The reconcilers

    def wanted(self, host: int) -> list[Operation]:
        kernel = self.kernels[host]
        desired_ports = [
            DesiredPort(name_of(peer), self.desired_ports[host, peer]) for peer in self.peers(host)
        ]
        actual = kernel.observe()
        return diff(plan("weave", MTU, UDP_PORT, desired_ports, actual), actual)

    def step(self, host: int) -> bool:
        """Execute one operation; look anew when the list is done. False: nothing to do."""
        if not self.pending[host]:
            self.pending[host].extend(self.wanted(host))
        if not self.pending[host]:
            return False
        operation = self.pending[host].popleft()
        before = self.kernels[host].observe()
        self.kernels[host].apply(operation)
        self.check(host)
        now, peer = self.kernels[host].observe(), operation.peer
        expected = after(operation, before.taps.get(peer), before.vxlans.get(peer))
        assert (now.taps.get(peer), now.vxlans.get(peer)) == expected, operation
        return True

    def settle(self) -> None:
        for host in range(self.hosts):
            for _ in range(1000):
                if not self.step(host):
                    break
            else:
                raise AssertionError(f"never done: {self.wanted(host)}")

    def check(self, host: int) -> None:
        state = self.kernels[host].observe()
        for peer, tap in state.taps.items():
            vxlan = state.vxlans.get(peer)
            ports = [link.port for link in (tap, vxlan) if link is not None and link.port]
            assert all(port.isolated for port in ports)
            assert sum(port.floods for port in ports) <= 1
            if vxlan is not None and vxlan.port is not None:
                assert vxlan.guarded
            if vxlan is not None and len(vxlan.remotes) > 1:
                assert not vxlan.through

    # The engines, as far as they must agree with each other

    def is_fast(self, host: int, peer: int) -> bool:
        return self.desired_ports[host, peer] is not None

    def is_through(self, host: int, peer: int) -> bool:
        vxlan = self.kernels[host].observe().vxlans.get(name_of(peer))
        desired = self.desired_ports[host, peer]
        flips = any(isinstance(o, Undivert) and o.peer == name_of(peer) for o in self.pending[host])
        is_wished = desired is not None and desired.through
        return (vxlan is not None and vxlan.through) or is_wished or flips

    def become_fast(self, host: int, peer: int) -> None:
        if not self.is_fast(host, peer):
            self.desired_ports[host, peer] = DesiredVxlan(next(self.vnis), False, None, False)

    def become_slow(self, host: int, peer: int) -> None:
        """Only when the peer's frames do not come by the kernel."""
        if not self.is_through(peer, host):
            self.desired_ports[host, peer] = None

    def renumber(self, host: int, peer: int) -> None:
        desired = self.desired_ports[host, peer]
        if desired is not None and not self.is_through(peer, host):
            self.desired_ports[host, peer] = replace(desired, vni=next(self.vnis))

    def flip(self, host: int, peer: int) -> None:
        desired, far = self.desired_ports[host, peer], self.desired_ports[peer, host]
        if desired is None:
            return
        if desired.through:
            self.desired_ports[host, peer] = replace(desired, through=False)
        elif far is not None:
            remote = FastRemote(address_of(host), address_of(peer), UDP_PORT, far.vni)
            proven = self.receives(peer, host, far.vni)
            self.desired_ports[host, peer] = replace(desired, remote=remote, through=proven)

    def readdress(self, host: int, peer: int, second: bool) -> None:
        """The peer is found at another address; the wish goes on to be `through`."""
        desired = self.desired_ports[host, peer]
        if desired is not None and desired.remote is not None:
            address = address_of(peer, second)
            self.desired_ports[host, peer] = replace(
                desired, remote=replace(desired.remote, host=address)
            )

    def receives(self, host: int, peer: int, vni: int) -> bool:
        """What probes would prove."""
        link = self.kernels[host].observe().vxlans.get(name_of(peer))
        return link is not None and link.vni == vni and link.up and link.port is not None

    # Containers and routers

    def send(self, source: tuple[int, int], target: tuple[int, int] | None) -> None:
        number = len(self.sent)
        self.sent.append((source, target))
        to = BROADCAST if target is None else mac_of(target)
        self.kernels[source[0]].send(mac_of(source), Frame(to, mac_of(source), number))

    def carry(self, host: int, peer: int, most: int = 1000) -> None:
        """The router of `host` reads the peer's TAP, the peer's router writes."""
        frames = self.kernels[host].tap(name_of(peer)).frames
        for _ in range(min(most, len(frames))):
            self.kernels[peer].written(name_of(host), frames.popleft())

    def carry_all(self) -> None:
        for host in range(self.hosts):
            for peer in self.peers(host):
                self.carry(host, peer)

    def everyone(self) -> list[tuple[int, int]]:
        return [(host, number) for host in range(self.hosts) for number in range(CONTAINERS)]

    def check_arrivals(self) -> None:
        for number, (source, target) in enumerate(self.sent):
            for container in self.everyone():
                times = self.arrived[number, container]
                if container == source:
                    assert times == 0, f"frame {number} came back"
                elif target is None or container == target:
                    assert times == 1, f"frame {number} of {source}: {times} at {container}"
                else:
                    assert times <= 1, f"frame {number} of {source}: {times} at {container}"


ACTIONS = [
    "become_fast",
    "become_fast",
    "become_slow",
    "renumber",
    "flip",
    "flip",
    "flip",
    "readdress",
    "unicast",
    "broadcast",
    "carry",
    "step",
    "step",
    "step",
    "settle",
]


def act(mesh: Mesh, data: st.DataObject) -> None:
    host = data.draw(st.integers(0, mesh.hosts - 1))
    peer = data.draw(st.sampled_from(mesh.peers(host)))
    container = (host, data.draw(st.integers(0, CONTAINERS - 1)))
    match data.draw(st.sampled_from(ACTIONS)):
        case "become_fast":
            mesh.become_fast(host, peer)
            mesh.become_fast(peer, host)
        case "become_slow":
            mesh.become_slow(host, peer)
        case "renumber":
            mesh.renumber(host, peer)
        case "flip":
            mesh.flip(host, peer)
        case "readdress":
            mesh.readdress(host, peer, data.draw(st.booleans()))
        case "unicast":
            mesh.send(container, data.draw(st.sampled_from(others(mesh, container))))
        case "broadcast":
            mesh.send(container, None)
        case "carry":
            mesh.carry(host, peer, data.draw(st.integers(1, 3)))
        case "settle":
            mesh.settle()
        case "step":
            mesh.step(host)


def others(mesh: Mesh, container: tuple[int, int]) -> list[tuple[int, int]]:
    return [other for other in mesh.everyone() if other != container]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 5), st.data())
def test_every_frame_arrives_exactly_once(hosts: int, data: st.DataObject) -> None:
    mesh = Mesh(hosts)
    for _ in range(data.draw(st.integers(10, 80))):
        act(mesh, data)
    mesh.settle()
    mesh.carry_all()
    mesh.check_arrivals()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_frames_between_any_two_operations(data: st.DataObject) -> None:
    """Two hosts, all that one pair can go through, a frame of each kind before every operation."""
    mesh = Mesh(2)
    pair = data.draw(st.sampled_from([(0, 1), (1, 0)]))
    for action in data.draw(
        st.lists(st.sampled_from(["fast", "slow", "flip", "new", "move"]), max_size=8)
    ):
        for host, peer in (pair, pair[::-1]):
            match action:
                case "fast":
                    mesh.become_fast(host, peer)
                case "slow":
                    mesh.become_slow(host, peer)
                case "flip":
                    mesh.flip(host, peer)
                case "new":
                    mesh.renumber(host, peer)
                case "move":
                    mesh.readdress(host, peer, data.draw(st.booleans()))
        for host in (0, 1):
            while mesh.step(host):
                for source, target in (((0, 0), (1, 0)), ((1, 0), (0, 0)), ((0, 1), None)):
                    mesh.send(source, target)
                if data.draw(st.booleans()):
                    mesh.carry_all()
    mesh.carry_all()
    mesh.check_arrivals()


def restart(mesh: Mesh, host: int) -> None:
    """The router of a host dies and comes back: its TAPs are new."""
    mesh.pending[host].clear()
    for peer in mesh.peers(host):
        mesh.kernels[host].close_tap(name_of(peer))
        mesh.kernels[host].open_tap(name_of(peer))


def meddle(mesh: Mesh, host: int, peer: int, what: str) -> None:
    """Somebody else changes something."""
    kernel, name = mesh.kernels[host], name_of(peer)
    mesh.pending[host].clear()
    device = kernel.devices.get(Device.VXLAN.ifname(name))
    tap = kernel.tap(name)
    match what:
        case "delete" if device is not None:
            kernel.remove(device.name)
        case "down" if device is not None:
            device.up = False
        case "unplug" if device is not None:
            device.is_port = False
            kernel.forget(device)
        case "unfilter" if device is not None:
            kernel.vxlan(name).redirects.clear()
        case "unguard" if device is not None:
            kernel.vxlan(name).guarded = False
        case "loosen" if device is not None:
            device.isolated = False
        case "plug":
            tap.is_port, tap.isolated, tap.floods = True, False, True
        case "drown":
            tap.up = False
        case "unhook":
            tap.hooked, tap.into = False, None
        case "forward" if device is not None:
            kernel.vxlan(name).remotes.clear()


MEDDLING = [
    "delete",
    "down",
    "unplug",
    "unfilter",
    "unguard",
    "loosen",
    "plug",
    "drown",
    "unhook",
    "forward",
]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 4), st.data())
def test_everything_is_repaired(hosts: int, data: st.DataObject) -> None:
    """After restarts of routers and whatever somebody else did, frames arrive once again."""
    mesh = Mesh(hosts)
    for _ in range(data.draw(st.integers(1, 30))):
        act(mesh, data)
    for _ in range(data.draw(st.integers(1, 5))):
        host = data.draw(st.integers(0, hosts - 1))
        if data.draw(st.booleans()):
            restart(mesh, host)
        else:
            peer = data.draw(st.sampled_from(mesh.peers(host)))
            meddle(mesh, host, peer, data.draw(st.sampled_from(MEDDLING)))
    for host in range(hosts):
        settle_checked_once(mesh, host)
    mesh.carry_all()
    for host, peer in mesh.desired_ports:
        desired = mesh.desired_ports[host, peer]
        # What was through a deleted or renumbered device is the engines' to prove anew.
        if desired is not None and desired.through:
            mesh.desired_ports[host, peer] = replace(desired, through=False)
    mesh.settle()
    mesh.arrived.clear()
    mesh.sent.clear()
    for container in mesh.everyone():
        mesh.send(container, None)
        mesh.send(container, data.draw(st.sampled_from(others(mesh, container))))
    mesh.carry_all()
    mesh.check_arrivals()


def settle_checked_once(mesh: Mesh, host: int) -> None:
    """As `settle`; the first operations may find ports that somebody else made unsafe."""
    for _ in range(1000):
        if not mesh.pending[host]:
            mesh.pending[host].extend(mesh.wanted(host))
        if not mesh.pending[host]:
            mesh.check(host)
            return
        mesh.kernels[host].apply(mesh.pending[host].popleft())
    raise AssertionError(f"never done: {mesh.wanted(host)}")


@given(st.booleans())
def test_probes_take_the_kernel_and_enter_no_bridge(through: bool) -> None:
    mesh = Mesh(2)
    mesh.become_fast(0, 1)
    mesh.become_fast(1, 0)
    mesh.settle()
    mesh.flip(0, 1)
    if not through:
        mesh.flip(0, 1)
    mesh.settle()
    probe = Frame(PROBE_TARGET, "00:00:00:00:00:00", 0)
    mesh.kernels[0].probe(name_of(1), probe)
    assert mesh.kernels[1].probes == [(Device.VXLAN.ifname(name_of(0)), probe)]
    mesh.kernels[0].send(mac_of((0, 0)), probe)  # a container's forgery
    mesh.kernels[1].written(name_of(0), probe)  # a router's: by the sleeve
    mesh.carry_all()
    assert len(mesh.kernels[1].probes) == 1
    assert not mesh.arrived
