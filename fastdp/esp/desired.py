"""Which ESP states and policies must the kernel have, so that no frame ever crosses in clear? Pure.

In a network with a secret, *default-deny* (both IP versions, whatever peers there are):

    in   UDP to our VXLAN port, from anybody         only if a state of ours opened it
         the same, from a trusted subnet             passes
    out  UDP to a peer's address and VXLAN port      sealed by exactly one state, or not at all

Policies live in the kernel, so this holds while the router is dead and before the first key. It
cannot be by peer on the way in: whoever is no peer would have no rule then, and get through.

Keys are made before they are broken: an outgoing policy names its state by SPI and is swapped in
one step; states that are not needed any more stay for a grace (packets on their way, a peer that
has not swapped yet). Where a predecessor left something running, its states stay until the wish
says what comes after them. A key goes into the kernel once, ever: a second time its sequence
numbers would begin anew, and with them AES-GCM's nonces (RFC 4106 §2) and the replay window.

What this cannot see: VXLAN that comes in by the loopback device (the kernel checks no policy
there), and processes of this host, or containers that it masquerades, who send UDP to a peer's
VXLAN port: that is sealed like ours. `fastdp.kernel.nft` stops both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from fastdp.esp.values import (
    ANY_IPV4,
    ANY_IPV6,
    Address,
    AddState,
    DeletePolicy,
    DeleteState,
    Direction,
    Network,
    Operation,
    Policy,
    Rule,
    Selector,
    State,
    StateId,
    XfrmTables,
    any_of,
    only,
    request_id,
)
from weave_py.model.fast import FastRemote
from weave_py.model.names import PeerName

_TRUSTED_PRIORITY = 90  # before the rule for everybody


class Target(NamedTuple):
    """Where a VXLAN device sends."""

    host: Address
    port: int


@dataclass(frozen=True, slots=True)
class EspNetwork:
    """What the network demands of this host's VXLAN."""

    udp_port: int
    """Where our devices listen. Where `has_secret`, nobody else's device may share it."""
    has_secret: bool
    trusted: tuple[Network, ...] = ()
    """Subnets between whose hosts VXLAN may travel in clear."""

    def permits_clear(self, host: Address) -> bool:
        return not self.has_secret or any(
            host in network for network in self.trusted if network.version == host.version
        )


@dataclass(frozen=True, slots=True)
class Exit:
    """What may leave to one target."""

    outbound: AddState | None
    """None: not agreed yet."""
    keeps: bool = True
    """Whether what a predecessor agreed may go on until then."""


@dataclass(frozen=True, slots=True)
class PlannedEsp:
    """The desired ports for all peers, as states and policies."""

    network: EspNetwork
    entrances: tuple[Policy, ...]
    inbound: Mapping[StateId, AddState]
    exits: Mapping[Target, Exit]
    clear: frozenset[Target]
    """Where plain VXLAN is wanted, and permitted."""


def plan(network: EspNetwork, remotes: Mapping[PeerName, FastRemote]) -> PlannedEsp:
    """The wanted states and policies.

    A remote without keys that may not be plain is closed. So is a target that two peers claim with
    different keys (behind one address, say): neither may get frames sealed for the other.
    """
    claims: dict[Target, Exit] = {}
    inbound: dict[StateId, AddState] = {}
    clear: set[Target] = set()
    outbound_ids: Counter[StateId] = Counter()
    for remote in remotes.values():
        target = Target(ip_address(remote.host), remote.udp_port)
        if remote.esp is None and network.permits_clear(target.host):
            clear.add(target)
            continue
        local, out = ip_address(remote.local), None
        if remote.esp is not None:
            for key in remote.esp.inbound:
                state = _state(network, local, key.spi, target.host, network.udp_port)
                inbound[state.id] = AddState(state, key.key)
            if (key_out := remote.esp.outbound) is not None:
                state = _state(network, target.host, key_out.spi, local, target.port)
                out = AddState(state, key_out.key)
                outbound_ids[state.id] += 1
        claims[target] = Exit(None, keeps=False) if target in claims else Exit(out)
    for target, claim in claims.items():
        if target in clear or (claim.outbound and outbound_ids[claim.outbound.state.id] > 1):
            claims[target] = Exit(None, keeps=False)
    return PlannedEsp(
        network, tuple(_entrances(network)), inbound, claims, frozenset(clear - claims.keys())
    )


def newest_inbound(remote: FastRemote, actual: XfrmTables) -> int:
    """SPI of the last of the remote's inbound keys (newest last) that is in the kernel; 0: none.

    That is what to tell the peer: it may send under it from now on.
    """
    local = ip_address(remote.local)
    there = {state.id for state in actual.states}
    keys = remote.esp.inbound if remote.esp else ()
    return next((k.spi for k in reversed(keys) if StateId(local, k.spi) in there), 0)


def is_sealed(remote: FastRemote, actual: XfrmTables) -> bool:
    """Whether what is sent to the remote leaves sealed: by the policy there is, under a state
    that exists. It may be a predecessor's."""
    host = ip_address(remote.host)
    states = {state.id for state in actual.states if state.port == remote.udp_port}
    selector = way_out(Target(host, remote.udp_port))
    return any(
        policy.selector == selector
        and policy.rule is Rule.SEALED
        and StateId(host, policy.spi) in states
        for policy in actual.policies
    )


def removal(actual: XfrmTables, in_use: Collection[Target] = ()) -> list[Operation]:
    """Remove everything that is ours, once the VXLAN devices are gone.

    `in_use` is where devices of ours still send (another router's on this host, or one that could
    not be deleted): what protects them stays, and so do the rules of the same port on the way in.
    """
    used, hosts = {way_out(target) for target in in_use}, {target.host for target in in_use}
    kept = {policy.reqid for policy in actual.policies if policy.selector in used}
    steps: list[Operation] = [
        DeleteState(state)
        for state in sorted(actual.states, key=_by_id)
        if not {state.source, state.destination} & hosts
    ]
    ours = sorted(actual.policies, key=_priority)
    ways_out = [policy for policy in ours if policy.selector.direction is Direction.OUT]
    ways_in = [policy for policy in ours if policy.selector.direction is Direction.IN]
    steps += [DeletePolicy(policy) for policy in ways_out if policy.selector not in used]
    # The rule for everybody is last of all, and what is trusted before it.
    steps += [DeletePolicy(policy) for policy in ways_in if policy.reqid not in kept]
    return steps


def way_out(target: Target) -> Selector:
    """Identity of the policy for what leaves to a target, from whatever address."""
    return Selector(Direction.OUT, any_of(target.host.version), only(target.host), target.port)


def _entrances(network: EspNetwork) -> Iterator[Policy]:
    if not network.has_secret:
        return
    reqid, port = request_id(network.udp_port), network.udp_port
    for subnet in network.trusted:
        selector = Selector(Direction.IN, subnet, any_of(subnet.version), port)
        yield Policy(selector, Rule.ANYTHING, reqid, priority=_TRUSTED_PRIORITY)
    for everybody in (ANY_IPV4, ANY_IPV6):
        yield Policy(Selector(Direction.IN, everybody, everybody, port), Rule.SEALED, reqid)


def _state(
    network: EspNetwork, destination: Address, spi: int, source: Address, port: int
) -> State:
    return State(destination, spi, source, port, request_id(network.udp_port))


def _by_id(state: State) -> tuple[int, bytes, int]:
    return state.destination.version, state.destination.packed, state.spi


def _priority(policy: Policy) -> tuple[int, str]:
    return policy.priority, str(policy.selector)
