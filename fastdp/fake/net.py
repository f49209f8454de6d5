"""How do frames travel between fake hosts? Bridges, TAPs and VXLAN in Python, for tests.

They forward Ethernet frames as Linux does where that matters here: a bridge that learns, floods
and isolates, VXLAN devices that send to every forwarding entry, redirects by priority. A TAP is a
queue that whoever plays the router reads and writes. Frames are delivered at once, except for
what waits in the queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

from fastdp.plan.state import PROBE_TARGET, Device, Port, Remote
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName

BROADCAST: Final = "ff:ff:ff:ff:ff:ff"
_MOST_HOPS: Final = 64
"""Bridges that one frame crosses before we call it a loop."""


class Frame(NamedTuple):
    """An Ethernet frame."""

    target: str
    source: str
    payload: int

    @property
    def is_probe(self) -> bool:
        return self.target == PROBE_TARGET


@dataclass(slots=True)
class FakeDevice:
    """What TAPs, VXLAN devices and containers' ports have in common."""

    name: str
    up: bool = False
    mtu: int = 1500
    is_port: bool = False
    isolated: bool = False
    floods: bool = True

    @property
    def port(self) -> Port | None:
        return Port(self.isolated, self.floods) if self.is_port else None


@dataclass(slots=True)
class FakeContainer(FakeDevice):
    """The host's end of a veth pair."""

    received: Callable[[Frame], None] = lambda frame: None


@dataclass(slots=True)
class FakeTap(FakeDevice):
    """A TAP and the frames that its router has not read yet."""

    frames: deque[Frame] = field(default_factory=deque)
    queue: int = 1000
    into: FakeVxlan | None = None
    hooked: bool = False


@dataclass(slots=True)
class FakeVxlan(FakeDevice):
    """A VXLAN device."""

    vni: int = 0
    udp_port: int = 0
    ipv6: bool = False
    local: str | None = None
    remotes: list[Remote] = field(default_factory=list)
    redirects: dict[int, FakeTap | None] = field(default_factory=dict)
    guarded: bool = True


class FakeNet:
    """The underlay: brings what a VXLAN device sends to the host that has the address."""

    def __init__(self) -> None:
        self.hosts: dict[str, FakeBridge] = {}
        self.hops = count()

    def send(self, remote: Remote, frame: Frame) -> None:
        if (host := self.hosts.get(remote.host)) is not None:
            host.received(remote, frame)


class FakeBridge:
    """One host: its bridge, and whatever is plugged in or stands behind a port."""

    def __init__(self, net: FakeNet, address: str) -> None:
        self.net = net
        self.devices: dict[str, FakeDevice] = {}
        self.learned: dict[str, FakeDevice] = {}
        self.probes: list[tuple[str, Frame]] = []
        """What was put aside, and the device it came by."""
        net.hosts[address] = self

    def add_container(self, name: str, received: Callable[[Frame], None]) -> None:
        self.devices[name] = FakeContainer(name, up=True, is_port=True, received=received)

    def open_tap(self, peer: PeerName) -> FakeTap:
        """What the router process does: the TAP is down, and no port."""
        name = Device.TAP.ifname(peer)
        if name in self.devices:
            raise HostError(f"interface {name} exists already")
        tap = FakeTap(name)
        self.devices[name] = tap
        return tap

    def close_tap(self, peer: PeerName) -> None:
        """The router process is gone."""
        self.remove(Device.TAP.ifname(peer))

    def send(self, container: str, frame: Frame) -> None:
        """A container sends a frame."""
        self.net.hops = count()
        self._forward(frame, self.devices[container])

    def probe(self, peer: PeerName, frame: Frame) -> None:
        """The router sends a frame by the VXLAN device itself."""
        self._egress(self.vxlan(peer), frame)

    def written(self, peer: PeerName, frame: Frame) -> None:
        """The router writes a frame to the TAP of a peer."""
        self.net.hops = count()
        tap = self.tap(peer)
        if not tap.up:
            return
        if not tap.hooked:
            self._forward(frame, tap)
        elif tap.into is not None and not frame.is_probe:
            self._ingress(tap.into, frame)

    def received(self, at: Remote, frame: Frame) -> None:
        """A VXLAN packet arrives."""
        for device in list(self.devices.values()):
            if isinstance(device, FakeVxlan) and (device.udp_port, device.vni) == at[1:]:
                self._ingress(device, frame)

    # The bridge

    def _ingress(self, device: FakeDevice, frame: Frame) -> None:
        if not device.up:
            return
        if isinstance(device, FakeVxlan) and device.guarded and frame.is_probe:
            self.probes.append((device.name, frame))
        else:
            self._forward(frame, device)

    def _forward(self, frame: Frame, source: FakeDevice) -> None:
        if frame.is_probe or not (source.is_port and source.up):
            return  # bridges do not forward link-local groups
        if next(self.net.hops) > _MOST_HOPS:
            raise AssertionError(f"a loop: {frame}")
        self.learned[frame.source] = source
        known = None if frame.target == BROADCAST else self.learned.get(frame.target)
        targets = list(self.devices.values()) if known is None else [known]
        for target in targets:
            if target is source or not (target.is_port and target.up):
                continue
            if target.isolated and source.isolated:
                continue
            if known is not None or target.floods:
                self._egress(target, frame)

    def _egress(self, device: FakeDevice, frame: Frame) -> None:
        match device:
            case FakeContainer():
                device.received(frame)
            case FakeTap():
                device.frames.append(frame)
            case FakeVxlan():
                if device.redirects and not (device.guarded and frame.is_probe):
                    tap = device.redirects[min(device.redirects)]
                    if tap is not None and tap.up:
                        tap.frames.append(frame)
                    return
                for remote in device.remotes:
                    self.net.send(remote, frame)

    # Devices

    def forget(self, device: FakeDevice) -> None:
        """Which MACs are behind it."""
        self.learned = {mac: port for mac, port in self.learned.items() if port is not device}

    def remove(self, name: str) -> None:
        """The device is gone; what led to it leads nowhere."""
        device = self.devices.pop(name)
        self.forget(device)
        for other in self.devices.values():
            if isinstance(other, FakeTap) and other.into is device:
                other.into = None
            if isinstance(other, FakeVxlan):
                for slot, tap in other.redirects.items():
                    other.redirects[slot] = None if tap is device else tap

    def device(self, device: Device, peer: PeerName) -> FakeDevice:
        if (found := self.devices.get(device.ifname(peer))) is None:
            raise HostError(f"there is no interface {device.ifname(peer)}")
        return found

    def tap(self, peer: PeerName) -> FakeTap:
        device = self.device(Device.TAP, peer)
        assert isinstance(device, FakeTap)
        return device

    def vxlan(self, peer: PeerName) -> FakeVxlan:
        device = self.device(Device.VXLAN, peer)
        assert isinstance(device, FakeVxlan)
        return device
