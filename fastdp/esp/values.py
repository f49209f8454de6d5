"""What does the kernel hold for encrypted VXLAN? ESP states, XFRM policies, and changes to them.

A *state* is one key for one direction (RFC 4301 calls it a security association). A *policy* says
what must hold for packets: that a state sealed them, or that they do not pass at all. All of ours
carry a request id of ours, also those policies that need no state, and that is how they are
recognised: nothing without it is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

ANY_IPV4 = IPv4Network("0.0.0.0/0")
ANY_IPV6 = IPv6Network("::/0")

_REQUEST_IDS = 0x7770_0000  # far above what strongSwan, libreswan, Cilium and Docker count or use


def request_id(udp_port: int) -> int:
    """The request id of whatever protects the VXLAN devices that listen on `udp_port`.

    The port is part of it, so that two routers on one host leave each other's alone.
    """
    return _REQUEST_IDS | udp_port


def is_ours(number: int) -> bool:
    """Whether a request id is that of a router of ours, whatever its port."""
    return number & ~0xFFFF == _REQUEST_IDS


class Direction(IntEnum):
    """Which packets a policy is about (linux/xfrm.h)."""

    IN = 0
    """Those for this host."""
    OUT = 1
    """Those it sends, or passes on."""


class Rule(Enum):
    """What must hold for a packet that a policy selects."""

    SEALED = "sealed"
    """A state with our request id sealed it (or will)."""
    ANYTHING = "anything"
    """It passes, sealed or not."""
    NOTHING = "nothing"
    """It does not pass."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Identity of a policy: UDP to one port. The source port of VXLAN is a hash of the inner flow
    (RFC 7348 §5), so it selects nothing."""

    direction: Direction
    source: Network
    destination: Network
    port: int


@dataclass(frozen=True, slots=True)
class Policy:
    """One XFRM policy of ours."""

    selector: Selector
    rule: Rule
    reqid: int
    spi: int = 0
    """The one state that seals; 0: any with our request id."""
    priority: int = 100
    """Lower wins. Other programs' are in the thousands."""


@dataclass(frozen=True, slots=True)
class StateId:
    """Identity of a state in the kernel."""

    destination: Address
    spi: int


@dataclass(frozen=True, slots=True)
class State:
    """One ESP state of ours, but for its key. It seals and opens UDP to `port` only: a packet to
    anything else does not become trustworthy (to somebody's IPsec firewall rule) by our key."""

    destination: Address
    spi: int
    source: Address
    port: int
    reqid: int
    packets: int = field(default=0, compare=False)
    """Sealed or opened with it so far."""

    @property
    def id(self) -> StateId:
        return StateId(self.destination, self.spi)


@dataclass(frozen=True, slots=True)
class XfrmTables:
    """All that is ours in the kernel."""

    states: frozenset[State] = frozenset()
    policies: frozenset[Policy] = frozenset()

    def of(self, reqid: int) -> XfrmTables:
        """What protects the devices of one UDP port (see `request_id`)."""
        return XfrmTables(
            frozenset(state for state in self.states if state.reqid == reqid),
            frozenset(policy for policy in self.policies if policy.reqid == reqid),
        )


@dataclass(frozen=True, slots=True)
class AddState:
    state: State
    key: bytes = field(repr=False)
    """32 bytes of key and 4 of salt (RFC 4106 §8.1)."""


@dataclass(frozen=True, slots=True)
class DeleteState:
    state: State


@dataclass(frozen=True, slots=True)
class AddPolicy:
    """Refused where there is one with the same selector: it is not ours then."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """Swap a policy of ours in one step: no packet sees neither."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class DeletePolicy:
    policy: Policy


Operation: TypeAlias = AddState | DeleteState | AddPolicy | UpdatePolicy | DeletePolicy


def any_of(version: int) -> Network:
    """All addresses of IPv4 or IPv6."""
    return ANY_IPV4 if version == 4 else ANY_IPV6


def only(address: Address) -> Network:
    """The network that is this one address."""
    return ip_network(int(address).to_bytes(address.max_prefixlen // 8, "big"))
