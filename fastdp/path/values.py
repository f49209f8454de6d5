"""How does a path stand, and what may it use? The values around its engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from fastdp.path.reasons import Reason
from weave_py.model.fast import FastHost


class FastState(StrEnum):
    OFF = "off"
    PROBING = "probing"
    FAST = "fast"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class Direct:
    """The sleeve reaches the peer straight at `host`, from our address `local`."""

    local: str
    host: str


@dataclass(frozen=True, slots=True)
class Permission:
    """What the path may use."""

    host: FastHost
    direct: Direct | None
    """None: only relays. That keeps a path from being used, but is no reason to leave it."""
    encrypted: bool
    """Whether plain VXLAN to the peer is forbidden."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Worth a line in the log."""

    old: FastState
    new: FastState
    why: str


@dataclass(frozen=True, slots=True)
class SendStatus:
    """For the peer, as a control record on whatever way works."""

    body: bytes


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send this frame out of the peer's VXLAN device."""

    frame: bytes


PathOutput = SendStatus | SendProbe | Changed


def unreachable(direct: Direct | None) -> Reason:
    """Why VXLAN cannot go this way; NONE if it can."""
    if direct is None:
        return Reason.NO_DIRECT_PATH
    if (":" in direct.local) != (":" in direct.host):
        return Reason.FAMILY
    address = ip_address(direct.host.partition("%")[0])
    if address.version == 6 and address.is_link_local:
        return Reason.LINK_LOCAL
    return Reason.NONE


def obstacle(permission: Permission | None) -> str:
    """Why there is no fast path as far as we can tell alone; empty if there could be one."""
    if permission is None:
        return Reason.PEER_SILENT
    if not permission.host.udp_port:
        return permission.host.why or Reason.DISABLED
    if permission.encrypted and not permission.host.esp:
        return Reason.NO_KERNEL_ESP
    return unreachable(permission.direct)
