"""What does a peer look like after an operation? On values, for whoever plans ahead. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

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
)
from fastdp.plan.state import REDIRECT_SLOTS, Device, Port, Redirect, TapFilters, TapLink, VxlanLink

Link = TypeVar("Link", TapLink, VxlanLink)


def after(
    operation: Operation, tap: TapLink | None, vxlan: VxlanLink | None
) -> tuple[TapLink | None, VxlanLink | None]:
    """The peer's TAP and VXLAN device; those that an operation needs must be there."""
    match operation:
        case AddVxlan(_, vni, udp_port, ipv6, local, _, mtu):
            redirects = (Redirect(REDIRECT_SLOTS[0], True),)
            new = VxlanLink(vni, udp_port, ipv6, local, (), False, mtu, None, True, redirects)
            return tap, new
        case DeleteVxlan():
            if tap is not None and tap.filters is TapFilters.INTO_PORT:
                tap = replace(tap, filters=TapFilters.OTHER)
            return tap, None
        case ConfigureTap() | IntoPort() | OntoItself():
            assert tap is not None
            return _tap_after(operation, tap), vxlan
        case HandOver(_, source, target):
            tap, vxlan = _flooding(source, False, tap, vxlan)
            return _flooding(target, True, tap, vxlan)
        case SetMtu() | SetUp() | Plug() | Isolate() | Forget() | Unplug():
            if operation.device is Device.TAP:
                assert tap is not None
                return _link_after(operation, tap), vxlan
            assert vxlan is not None
            return tap, _link_after(operation, vxlan)
        case _:
            assert vxlan is not None
            return tap, _vxlan_after(operation, vxlan)


def _tap_after(operation: ConfigureTap | IntoPort | OntoItself, tap: TapLink) -> TapLink:
    match operation:
        case ConfigureTap(_, mtu, queue, _):
            return replace(tap, mtu=mtu, queue=queue)
        case IntoPort():
            return replace(tap, filters=TapFilters.INTO_PORT)
        case OntoItself():
            return replace(tap, filters=TapFilters.NONE)


def _vxlan_after(operation: Operation, vxlan: VxlanLink) -> VxlanLink:
    match operation:
        case Guard():
            return replace(vxlan, guarded=True)
        case SetLocal(_, _, local):
            return replace(vxlan, local=local)
        case AddRemote(_, remote):
            return replace(vxlan, remotes=(*vxlan.remotes, remote))
        case DeleteRemote(_, remote):
            return replace(vxlan, remotes=tuple(r for r in vxlan.remotes if r != remote))
        case Divert(_, slot):
            others = [redirect for redirect in vxlan.redirects if redirect.slot != slot]
            return replace(vxlan, redirects=tuple(sorted([*others, Redirect(slot, True)])))
        case Undivert(_, slot):
            left = tuple(redirect for redirect in vxlan.redirects if redirect.slot != slot)
            return replace(vxlan, redirects=left)
    raise AssertionError(f"no effect known: {operation}")


def _link_after(operation: Operation, link: Link) -> Link:
    match operation:
        case SetMtu(_, _, mtu):
            return replace(link, mtu=mtu)
        case SetUp():
            return replace(link, up=True)
        case Plug():
            return replace(link, port=Port(isolated=True, floods=False))
        case Isolate():
            assert link.port is not None
            return replace(link, port=replace(link.port, isolated=True))
        case Unplug():
            return replace(link, port=None)
        case Forget():
            return link
    raise AssertionError(f"no effect known: {operation}")


def _flooding(
    device: Device | None, floods: bool, tap: TapLink | None, vxlan: VxlanLink | None
) -> tuple[TapLink | None, VxlanLink | None]:
    if device is Device.TAP and tap is not None and tap.port is not None:
        tap = replace(tap, port=replace(tap.port, floods=floods))
    if device is Device.VXLAN and vxlan is not None and vxlan.port is not None:
        vxlan = replace(vxlan, port=replace(vxlan.port, floods=floods))
    return tap, vxlan
