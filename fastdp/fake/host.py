"""How would a kernel behave that is told these operations? One in Python, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastdp.fake.net import FakeBridge, FakeDevice, FakeNet, FakeTap, FakeVxlan
from fastdp.plan.operations import (
    AddRemote,
    AddVxlan,
    ConfigureTap,
    DeleteRemote,
    DeleteVxlan,
    Divert,
    Forget,
    Guard,
    HandOver,
    IntoPort,
    Isolate,
    OntoItself,
    Operation,
    Plug,
    SetLocal,
    SetMtu,
    SetUp,
    Undivert,
    Unplug,
    VniTaken,
)
from fastdp.plan.state import (
    REDIRECT_SLOTS,
    Device,
    KernelState,
    Redirect,
    Remote,
    TapFilters,
    TapLink,
    VxlanLink,
)
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName


class FakeHost(FakeBridge):
    """A host that can be told what `fastdp.kernel.devices.Kernel` can be told."""

    def __init__(self, net: FakeNet, address: str) -> None:
        super().__init__(net, address)
        self.taken_ports: set[int] = set()
        """UDP ports that some program has."""
        self.taken_vnis: set[int] = set()
        """VNIs of somebody else's devices."""
        self.foreign: set[int] = set()
        """UDP ports where they listen."""
        self.owners: Mapping[int, PeerName] = {}

    def close(self) -> None:
        """As `Kernel.close`: nothing is removed."""

    def remove_strays(self) -> list[str]:
        """As `Kernel.remove_strays`."""
        strays = [
            name
            for name, device in self.devices.items()
            if isinstance(device, FakeVxlan) and not name.startswith(Device.VXLAN.value)
        ]
        for name in strays:
            self.remove(name)
        return strays

    def remotes_of_others(self) -> list[Remote]:
        """As `Kernel.remotes_of_others`: there are none."""
        return []

    def foreign_ports(self) -> set[int]:
        """As `Kernel.foreign_ports`."""
        return set(self.foreign)

    def observe(self, peers: Iterable[PeerName] | None = None) -> KernelState:
        """As `Kernel.observe`."""
        wanted = None if peers is None else frozenset(peers)
        taps: dict[PeerName, TapLink] = {}
        vxlans: dict[PeerName, VxlanLink] = {}
        for device in self.devices.values():
            peer = PeerName(bytes.fromhex(device.name[3:])) if device.name[:2] == "wv" else None
            if wanted is not None and peer not in wanted:
                continue
            if isinstance(device, FakeTap) and peer is not None:
                filters = self._filters(device, peer)
                taps[peer] = TapLink(device.up, device.mtu, device.queue, device.port, filters)
            elif isinstance(device, FakeVxlan) and peer is not None:
                vxlans[peer] = self._seen(device, peer)
        return KernelState(taps, vxlans)

    def _filters(self, tap: FakeTap, peer: PeerName) -> TapFilters:
        if not tap.hooked:
            return TapFilters.NONE
        vxlan = self.devices.get(Device.VXLAN.ifname(peer))
        is_its = tap.into is not None and tap.into is vxlan
        return TapFilters.INTO_PORT if is_its else TapFilters.OTHER

    def _seen(self, device: FakeVxlan, peer: PeerName) -> VxlanLink:
        tap = self.devices.get(Device.TAP.ifname(peer))
        return VxlanLink(
            vni=device.vni,
            udp_port=device.udp_port,
            ipv6=device.ipv6,
            local=device.local,
            remotes=tuple(device.remotes),
            up=device.up,
            mtu=device.mtu,
            port=device.port,
            guarded=device.guarded,
            redirects=tuple(
                Redirect(slot, to is not None and to is tap)
                for slot, to in sorted(device.redirects.items())
            ),
        )

    def apply(self, operation: Operation) -> None:
        """HostError when the device it is about is not there, or its port is taken."""
        peer = operation.peer
        match operation:
            case AddVxlan():
                self._add_vxlan(operation)
            case DeleteVxlan():
                self.remove(self.vxlan(peer).name)
            case HandOver(_, source, target):
                for device, floods in ((source, False), (target, True)):
                    if device is not None:
                        self.device(device, peer).floods = floods
            case SetMtu() | SetUp() | Plug() | Isolate() | Forget() | Unplug():
                self._change_link(operation, self.device(operation.device, peer))
            case ConfigureTap() | IntoPort() | OntoItself():
                self._change_tap(operation, self.tap(peer))
            case _:
                self._change_vxlan(operation, self.vxlan(peer))

    def _add_vxlan(self, new: AddVxlan) -> None:
        name = Device.VXLAN.ifname(new.peer)
        if name in self.devices:
            raise HostError(f"interface {name} exists already")
        if new.vni in self.taken_vnis:
            raise VniTaken(f"cannot create {name}: another device has VNI {new.vni}")
        self.devices[name] = FakeVxlan(
            name,
            mtu=new.mtu,
            vni=new.vni,
            udp_port=new.udp_port,
            ipv6=new.ipv6,
            local=new.local,
            redirects={REDIRECT_SLOTS[0]: self.tap(new.peer)},
        )

    def _change_vxlan(self, operation: Operation, vxlan: FakeVxlan) -> None:
        match operation:
            case Guard():
                vxlan.guarded = True
            case SetLocal(_, _, local):
                vxlan.local = local
            case AddRemote(_, remote):
                vxlan.remotes.append(remote)
            case DeleteRemote(_, remote):
                vxlan.remotes.remove(remote)
            case Divert(peer, slot):
                vxlan.redirects[slot] = self.tap(peer)
            case Undivert(_, slot):
                vxlan.redirects.pop(slot, None)
            case _:
                raise AssertionError(f"not known: {operation}")

    def _change_tap(self, operation: ConfigureTap | IntoPort | OntoItself, tap: FakeTap) -> None:
        match operation:
            case ConfigureTap(_, mtu, queue, _):
                tap.mtu, tap.queue = mtu, queue
            case IntoPort(peer):
                tap.into, tap.hooked = self.vxlan(peer), True
            case OntoItself():
                tap.into, tap.hooked = None, False

    def _change_link(
        self, operation: SetMtu | SetUp | Plug | Isolate | Forget | Unplug, device: FakeDevice
    ) -> None:
        match operation:
            case SetMtu(_, _, mtu):
                device.mtu = mtu
            case SetUp():
                self._set_up(device)
            case Plug():
                device.is_port, device.isolated, device.floods = True, True, False
            case Isolate():
                device.isolated = True
            case Forget():
                self.forget(device)
            case Unplug():
                device.is_port = False
                self.forget(device)

    def _set_up(self, device: FakeDevice) -> None:
        if isinstance(device, FakeVxlan) and device.udp_port in self.taken_ports:
            self.remove(device.name)
            raise HostError(f"cannot bring {device.name} up: UDP port taken")
        device.up = True
