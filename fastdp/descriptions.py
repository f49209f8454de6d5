"""What do we say about the fast datapath to people? Words for codes and for operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
from fastdp.plan.state import Device

_HOST: Final = {
    "disabled": "it is switched off (--no-fastdp)",
    "no-vxlan": "this kernel has no VXLAN: load the module (modprobe vxlan)",
    "no-tc": "this kernel lacks filters (sch_ingress, cls_u32, act_mirred): load those modules",
    "port-taken": "other programs have all the UDP ports that VXLAN could use, 4789 among them",
    "no-privileges": "this process may not do what it needs: run as root, with CAP_NET_RAW and a "
    "writable /proc/sys",
    "no-guard": "others' VXLAN cannot be kept out without nft: install nftables",
}
_DEVICES: Final = {Device.TAP: "TAP", Device.VXLAN: "VXLAN device"}


def why_never(code: str) -> str:
    """Why this host has no fast datapath (model.fast.FastHost.why), and what to do."""
    return _HOST.get(code, code)


def done(operations: Iterable[Operation]) -> str:
    """What was done to a peer's port, each thing once."""
    return ", ".join(dict.fromkeys(map(_one, operations)))


def _one(operation: Operation) -> str:
    match operation:
        case SetMtu(_, device):
            return f"{_DEVICES[device]}'s MTU set"
        case SetUp(_, device):
            return f"{_DEVICES[device]} brought up"
        case Plug(_, device):
            return f"{_DEVICES[device]} put into the bridge"
        case Isolate(_, device):
            return f"{_DEVICES[device]} isolated"
        case Forget(_, device) | Unplug(_, device):
            return f"{_DEVICES[device]} taken out of the bridge"
    return _OTHERS[type(operation)]


_OTHERS: Final[dict[type[Operation], str]] = {
    AddVxlan: "VXLAN device made",
    DeleteVxlan: "VXLAN device removed",
    Guard: "filters for probes renewed",
    SetLocal: "source address set",
    AddRemote: "forwarding entry added",
    DeleteRemote: "forwarding entry removed",
    Divert: "redirect to the router added",
    Undivert: "redirect to the router removed",
    ConfigureTap: "TAP set up",
    IntoPort: "filters of the TAP renewed",
    OntoItself: "filters of the TAP removed",
    HandOver: "flooding handed over",
}
