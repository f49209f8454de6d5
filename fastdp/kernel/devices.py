"""How is the kernel made to look as wanted? Executes operations, one after the other.

Synchronous, for one thread, in the network namespace of the thread that made it. All of it goes by
`weave_py.host.rtnl`. A flip takes about 30 µs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final

from fastdp.kernel import observe, selftest, tc, vxlan
from fastdp.kernel.netdev import (
    adding_remote,
    flooding,
    forgetting,
    index_of,
    isolating,
    link_named,
    links_of_kind,
    remotes_of,
    removing_remote,
    setting,
)
from fastdp.kernel.tc import EVERYTHING, PASS, PROBES, Action, Hook
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
    INTO_PORT_SLOT,
    PROBE_IN_SLOT,
    PROBE_OUT_SLOT,
    REDIRECT_SLOTS,
    Device,
    KernelState,
    Remote,
    alias_of,
    is_other,
    peer_of,
)
from weave_py.host.link_requests import deleting
from weave_py.host.refusal import doing
from weave_py.host.rtnl import RouteSocket
from weave_py.host.sysctl import require_sysctl
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName

_UNPLUGGED: Final = 0


class Kernel:
    """The devices of one bridge; a context manager. Methods raise HostError when refused."""

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge
        self.owners: Mapping[int, PeerName] = {}
        """Whose each device is, by index, as of the last look at all of them."""
        with doing("cannot talk to the kernel by netlink"):
            self._route = RouteSocket()

    def close(self) -> None:
        self._route.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def observe(self, peers: Iterable[PeerName] | None = None) -> KernelState:
        """How these peers' devices are now, or (None) those of all peers."""
        with doing("cannot look at the fast datapath's devices"):
            state, owners = observe.read(self._route, self._bridge, peers)
        self.owners = owners if peers is None else {**self.owners, **owners}
        return state

    def apply(self, operation: Operation) -> None:
        """Execute one operation."""
        peer = operation.peer
        match operation:
            case AddVxlan():
                self._add_vxlan(operation)
            case DeleteVxlan():
                self._delete_vxlan(Device.VXLAN.ifname(peer))
            case ConfigureTap() | IntoPort() | OntoItself():
                self._change_tap(operation)
            case HandOver(_, source, target):
                self._hand_over(peer, source, target)
            case SetMtu(_, device) | SetUp(_, device) | Plug(_, device) | Isolate(_, device):
                self._change_link(operation, device.ifname(peer))
            case Forget(_, device) | Unplug(_, device):
                self._change_link(operation, device.ifname(peer))
            case _:
                self._change_vxlan(operation)

    def remove_strays(self) -> list[str]:
        """Delete VXLAN devices of ours that somebody has renamed: they would go on sending past
        the TAP, and everything would be sent twice. The names that they had."""
        with doing("cannot look for renamed VXLAN devices"):
            strays = [
                link
                for link in links_of_kind(self._route, "vxlan")
                if link.alias == alias_of(self._bridge) and not _is_vxlan_name(link.name)
            ]
        for stray in strays:
            with doing(f"cannot delete {stray.name}", errno.ENODEV):
                self._route.change(deleting(stray.index))
        return [stray.name for stray in strays]

    def remotes_of_others(self) -> list[Remote]:
        """Where VXLAN devices of other routers of ours on this host send."""
        with doing("cannot look at other routers' VXLAN devices"):
            theirs = {
                link.index: link
                for link in links_of_kind(self._route, "vxlan")
                if is_other(link.alias, self._bridge)
            }
            found = remotes_of(self._route, theirs)
        return [remote for remotes in found.values() for remote in remotes]

    def foreign_ports(self) -> set[int]:
        """UDP ports where VXLAN devices listen that no router of ours made."""
        with doing("cannot look at others' VXLAN devices"):
            return selftest.foreign_ports(self._route)

    # VXLAN devices

    def _add_vxlan(self, new: AddVxlan) -> None:
        name, alias = Device.VXLAN.ifname(new.peer), alias_of(self._bridge)
        vxlan.remove_unfinished(self._route, name, new.mac)
        with doing(f"cannot create VXLAN device {name}"):
            try:
                index = vxlan.create(self._route, name, alias, new)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise
                raise VniTaken(
                    f"cannot create VXLAN device {name}: another device has VNI {new.vni} "
                    f"on UDP port {new.udp_port}"
                ) from None
            try:
                self._guard(index)
                self._divert(new.peer, REDIRECT_SLOTS[0])
            except BaseException:
                self._route.change(deleting(index))
                raise

    def _delete_vxlan(self, name: str) -> None:
        with doing(f"cannot delete {name}", errno.ENODEV):
            link = link_named(self._route, name)
            if link is None:
                return
            if link.kind == "vxlan" and link.alias == alias_of(self._bridge):
                self._route.change(deleting(link.index))
                return
        raise HostError(f"interface {name} is not ours: it was left alone")

    def _change_vxlan(self, operation: Operation) -> None:
        name = Device.VXLAN.ifname(operation.peer)
        with doing(f"cannot change where {name} sends"):
            index = index_of(name)
            match operation:
                case Guard():
                    self._guard(index)
                case SetLocal(_, ipv6, local):
                    self._route.change(vxlan.moving(index, ipv6, local))
                case AddRemote(_, remote):
                    self._route.change(adding_remote(index, remote))
                case DeleteRemote(_, remote):
                    self._route.change(removing_remote(index, remote))
                case Divert(peer, slot):
                    self._divert(peer, slot)
                case Undivert(_, slot):
                    tc.delete(self._route, index, Hook.EGRESS, slot, EVERYTHING)
                case _:
                    raise AssertionError(f"not known: {operation}")

    def _guard(self, index: int) -> None:
        tc.add_hooks(self._route, index)
        for hook, slot, action in (
            (Hook.INGRESS, PROBE_IN_SLOT, observe.aside()),
            (Hook.EGRESS, PROBE_OUT_SLOT, PASS),
        ):
            tc.delete(self._route, index, hook, slot, PROBES)
            tc.add(self._route, index, hook, slot, PROBES, action)

    def _divert(self, peer: PeerName, slot: int) -> None:
        tap = Action(index_of(Device.TAP.ifname(peer)))
        index = index_of(Device.VXLAN.ifname(peer))
        tc.add(self._route, index, Hook.EGRESS, slot, EVERYTHING, tap)

    # TAPs

    def _change_tap(self, operation: ConfigureTap | IntoPort | OntoItself) -> None:
        name = Device.TAP.ifname(operation.peer)
        with doing(f"cannot set up {name}"):
            index = index_of(name)
            match operation:
                case ConfigureTap(_, mtu, queue, hooks):
                    if hooks:
                        tc.add_hooks(self._route, index)
                    require_sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
                    self._route.change(setting(index, mtu=mtu, queue=queue))
                case IntoPort(peer):
                    self._lead(index, index_of(Device.VXLAN.ifname(peer)))
                case OntoItself():
                    for slot, match in (
                        (INTO_PORT_SLOT, EVERYTHING),
                        (PROBE_IN_SLOT, PROBES),
                    ):
                        tc.delete(self._route, index, Hook.INGRESS, slot, match)

    def _lead(self, tap: int, port: int) -> None:
        """Probes stay on the TAP, where nobody waits for them: the sleeve is no proof."""
        tc.add_hooks(self._route, tap)
        for slot, match, action in (
            (PROBE_IN_SLOT, PROBES, PASS),
            (INTO_PORT_SLOT, EVERYTHING, Action(port, ingress=True)),
        ):
            tc.delete(self._route, tap, Hook.INGRESS, slot, match)
            tc.add(self._route, tap, Hook.INGRESS, slot, match, action)

    # Both

    def _hand_over(self, peer: PeerName, source: Device | None, target: Device | None) -> None:
        with doing(f"cannot hand over the port of peer {peer.hex(':')}"):
            # In one message: a broadcast in between is lost, and there are 20 µs of between.
            self._route.change(
                *(
                    flooding(index_of(device.ifname(peer)), floods)
                    for device, floods in ((source, False), (target, True))
                    if device is not None
                )
            )

    def _change_link(self, operation: Operation, name: str) -> None:
        with doing(f"cannot change {name}"):
            index = index_of(name)
            match operation:
                case SetMtu(_, _, mtu):
                    self._route.change(setting(index, mtu=mtu))
                case SetUp(_, device):
                    self._set_up(index, name, device)
                case Plug():
                    self._plug(index, name)
                case Isolate():
                    self._route.change(isolating(index))
                case Forget():
                    self._route.change(forgetting(index))
                case Unplug():
                    self._route.change(setting(index, master=_UNPLUGGED))

    def _set_up(self, index: int, name: str, device: Device) -> None:
        try:
            self._route.change(setting(index, up=True))
            self._wake(index)
        except OSError as error:
            if device is Device.VXLAN:
                self._delete_vxlan(name)
            if error.errno == errno.EADDRINUSE:
                raise HostError(
                    f"cannot bring {name} up: another program has its UDP port: "
                    f"stop that program, or choose another port"
                ) from None
            raise

    def _plug(self, index: int, name: str) -> None:
        """A port that is not operational forwards nothing: so nobody sees it half done.

        Bringing the device down would do as well, but would lose what is on its way through it.
        """
        master = index_of(self._bridge)
        link = link_named(self._route, name)
        is_up = link is not None and link.up
        if is_up:
            self._route.change(setting(index, operational=False))
        self._route.change(setting(index, master=master))
        self._route.change(isolating(index), flooding(index, on=False))
        if is_up:
            self._wake(index)

    def _wake(self, index: int) -> None:
        self._route.change(setting(index, operational=True))


def _is_vxlan_name(name: str) -> bool:
    whose = peer_of(name)
    return whose is not None and whose[0] is Device.VXLAN
