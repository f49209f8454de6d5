"""What can be done to the kernel? One value for each change; `diff` orders them.

`kernel.Kernel.apply` and `fake.FakeHost.apply` execute them. To frames, each happens at one
moment, whatever it is made of. Refused operations raise HostError and leave no half of themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastdp.plan.state import Device, Remote
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName


class VniTaken(HostError):
    """Somebody else's VXLAN device on our UDP port has that VNI: another one is needed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One change; all are about one peer."""

    peer: PeerName


@dataclass(frozen=True, slots=True)
class AddVxlan(Operation):
    """Make the VXLAN device: down, no port, with all its filters, diverted to the peer's TAP."""

    vni: int
    udp_port: int
    ipv6: bool
    local: str | None
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class DeleteVxlan(Operation):
    """Delete the VXLAN device, if it is marked as ours."""


@dataclass(frozen=True, slots=True)
class Guard(Operation):
    """Renew the filters for probes of the VXLAN device."""


@dataclass(frozen=True, slots=True)
class SetLocal(Operation):
    """Change the source address of what the VXLAN device sends."""

    ipv6: bool
    local: str | None


@dataclass(frozen=True, slots=True)
class AddRemote(Operation):
    """Have the VXLAN device send what it is given there, too."""

    remote: Remote


@dataclass(frozen=True, slots=True)
class DeleteRemote(Operation):
    """Have the VXLAN device not send there any more."""

    remote: Remote


@dataclass(frozen=True, slots=True)
class Divert(Operation):
    """Flip to the sleeve: what leaves by the VXLAN device goes to the peer's TAP."""

    slot: int


@dataclass(frozen=True, slots=True)
class Undivert(Operation):
    """Remove a redirect; if it was the only one, this flips to the kernel."""

    slot: int


@dataclass(frozen=True, slots=True)
class ConfigureTap(Operation):
    """Set the TAP's sizes, and have it say nothing of its own."""

    mtu: int
    queue: int
    hooks: bool
    """Whether to prepare it for filters: on a device that is up, that costs frames."""


@dataclass(frozen=True, slots=True)
class IntoPort(Operation):
    """What the router writes to the TAP enters the bridge by the VXLAN device."""


@dataclass(frozen=True, slots=True)
class OntoItself(Operation):
    """What the router writes to the TAP enters the bridge by the TAP."""


@dataclass(frozen=True, slots=True)
class SetMtu(Operation):
    """Change the MTU of a device, bytes."""

    device: Device
    mtu: int


@dataclass(frozen=True, slots=True)
class SetUp(Operation):
    """Bring a device up. A VXLAN device whose UDP port is taken refuses, and is deleted."""

    device: Device


@dataclass(frozen=True, slots=True)
class Plug(Operation):
    """Make a device an isolated port of the bridge that no frame is flooded to yet."""

    device: Device


@dataclass(frozen=True, slots=True)
class Isolate(Operation):
    """Isolate a device that is a port."""

    device: Device


@dataclass(frozen=True, slots=True)
class HandOver(Operation):
    """Stop flooding to one device (or none) and flood to the other (or none) instead."""

    source: Device | None
    target: Device | None


@dataclass(frozen=True, slots=True)
class Forget(Operation):
    """Forget which MACs are behind a port: frames to them are flooded until they are heard of."""

    device: Device


@dataclass(frozen=True, slots=True)
class Unplug(Operation):
    """Take a device out of the bridge; it stays up."""

    device: Device
