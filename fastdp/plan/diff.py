"""Which operations, in which order, turn the actual state into the wanted one? Pure.

Whatever prefix of the list has been executed when a frame comes, or when we die:

* it is forwarded at most once: at most one device of a peer is flooded to, and a device that
  sends to two remotes sends nothing but probes;
* there is no loop: a device is an isolated port or none;
* it is not lost: a device becomes the port while the other one still is, silently; then flooding
  is handed over in one operation; then the first one forgets its MACs and leaves. (In the real
  kernel the handover takes some 20 µs, in which a broadcast is lost rather than doubled.)

Nothing goes through the kernel because of a repair: `Undivert` as a flip is only ever the one
operation of a peer, when all the rest of it already was as wanted. Whoever executes the list can
thus tell the peer's engine of every other change before its wish counts.
"""

from __future__ import annotations

from fastdp.plan.desired import Planned, PlannedPort, PlannedVxlan
from fastdp.plan.effects import after
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
from fastdp.plan.state import REDIRECT_SLOTS, Device, KernelState, TapFilters, TapLink, VxlanLink
from weave_py.model.names import PeerName

_TAP, _VXLAN = Device.TAP, Device.VXLAN


def diff(wanted: Planned, actual: KernelState) -> list[Operation]:
    """In order: what makes the bridge safe, flips, everything else, removals."""
    first: list[Operation] = []
    flips: list[Operation] = []
    rest: list[Operation] = []
    for peer, port in wanted.ports.items():
        script = _Script(peer, actual.taps[peer], actual.vxlans.get(peer))
        _make_safe(script, port)
        first += script.operations
        safe = len(script.operations)
        _make_so(script, port)
        more = script.operations[safe:]
        is_flip = all(isinstance(operation, Divert | Undivert) for operation in more)
        (flips if is_flip else rest).extend(more)
    for peer, vxlan in actual.vxlans.items():
        if peer not in wanted.ports and peer not in wanted.untouched:
            rest += _removal(peer, actual.taps.get(peer), vxlan)
    return [*first, *flips, *rest]


class _Script:
    """Operations on one peer so far, and what it looks like after them."""

    def __init__(self, peer: PeerName, tap: TapLink, vxlan: VxlanLink | None) -> None:
        self.peer = peer
        self.tap = tap
        self.vxlan = vxlan
        self.operations: list[Operation] = []

    def do(self, operation: Operation) -> None:
        self.operations.append(operation)
        tap, self.vxlan = after(operation, self.tap, self.vxlan)
        assert tap is not None
        self.tap = tap


def _make_safe(script: _Script, wanted: PlannedPort) -> None:
    """What cannot wait: ports that somebody else has changed."""
    peer, tap, vxlan = script.peer, script.tap, script.vxlan
    ports = {_TAP: tap.port, _VXLAN: vxlan.port if vxlan else None}
    for device, port in ports.items():
        if port is not None and not port.isolated:
            script.do(Isolate(peer, device))
    if all(port is not None and port.floods for port in ports.values()):
        script.do(HandOver(peer, _VXLAN if wanted.vxlan is None else _TAP, None))


def _make_so(script: _Script, wanted: PlannedPort) -> None:
    if wanted.vxlan is None:
        _tap_alone(script, wanted)
        return
    if script.vxlan is not None and _is_another(wanted.vxlan, script.vxlan):
        # By way of the TAP as the port: nothing is lost on the sleeve meanwhile.
        _tap_alone(script, wanted)
    _behind_vxlan(script, wanted, wanted.vxlan)


def _is_another(wanted: PlannedVxlan, actual: VxlanLink) -> bool:
    return (wanted.vni, wanted.udp_port, wanted.ipv6) != (actual.vni, actual.udp_port, actual.ipv6)


# The TAP is the port.


def _tap_alone(script: _Script, wanted: PlannedPort) -> None:
    peer = script.peer
    _configure_tap(script, wanted)
    if script.tap.port is None:
        script.do(Plug(peer, _TAP))
    if not script.tap.up:
        script.do(SetUp(peer, _TAP))
    _divert(script)
    _hand_over(script, _VXLAN, _TAP)
    if script.tap.filters is not TapFilters.NONE:
        script.do(OntoItself(peer))
    if script.vxlan is not None:
        _unplug(script, _VXLAN)
        script.do(DeleteVxlan(peer))


# The VXLAN device is the port, the TAP is behind it.


def _behind_vxlan(script: _Script, wanted: PlannedPort, vxlan: PlannedVxlan) -> None:
    peer = script.peer
    if script.vxlan is None:
        script.do(
            AddVxlan(
                peer, vxlan.vni, vxlan.udp_port, vxlan.ipv6, vxlan.local, vxlan.mac, wanted.mtu
            )
        )
    _configure_tap(script, wanted)
    if script.tap.port is None:
        _lead_into_port(script)
    _repair(script, wanted, vxlan)
    # The TAP may have been the port so far: the other one is ready now, and silent.
    _lead_into_port(script)
    _hand_over(script, _TAP, _VXLAN)
    _unplug(script, _TAP)
    if vxlan.through and not script.operations:
        for redirect in script.vxlan.redirects if script.vxlan else ():
            script.do(Undivert(peer, redirect.slot))


def _lead_into_port(script: _Script) -> None:
    if script.tap.filters is not TapFilters.INTO_PORT:
        script.do(IntoPort(script.peer))
    if not script.tap.up:
        script.do(SetUp(script.peer, _TAP))


def _repair(script: _Script, wanted: PlannedPort, vxlan: PlannedVxlan) -> None:
    """Everything about the VXLAN device but flooding and the flip to the kernel."""
    peer, actual = script.peer, script.vxlan
    assert actual is not None
    if not actual.guarded:
        script.do(Guard(peer))
    remotes = () if vxlan.remote is None else (vxlan.remote,)
    goes_elsewhere = actual.remotes != remotes or actual.local != vxlan.local
    if goes_elsewhere or not vxlan.through:
        _divert(script)
    if actual.local != vxlan.local:
        script.do(SetLocal(peer, vxlan.ipv6, vxlan.local))
    for remote in remotes:
        if remote not in actual.remotes:
            script.do(AddRemote(peer, remote))
    for remote in actual.remotes:
        if remote not in remotes:
            script.do(DeleteRemote(peer, remote))
    if actual.mtu != wanted.mtu:
        script.do(SetMtu(peer, _VXLAN, wanted.mtu))
    if actual.port is None:
        script.do(Plug(peer, _VXLAN))
    if not actual.up:
        script.do(SetUp(peer, _VXLAN))


# Both


def _configure_tap(script: _Script, wanted: PlannedPort) -> None:
    if (script.tap.mtu, script.tap.queue) != (wanted.mtu, wanted.queue):
        script.do(ConfigureTap(script.peer, wanted.mtu, wanted.queue, wanted.hooks))


def _divert(script: _Script) -> None:
    """One redirect, and it leads to the TAP. Dead ones go last: nothing slips through."""
    if script.vxlan is None:
        return
    redirects = script.vxlan.redirects
    alive = [redirect.slot for redirect in redirects if redirect.alive]
    if not alive:
        taken = {redirect.slot for redirect in redirects}
        free = [slot for slot in REDIRECT_SLOTS if slot not in taken]
        if not free:
            script.do(Undivert(script.peer, slot := redirects[0].slot))
            free = [slot]
        script.do(Divert(script.peer, free[0]))
        alive = free[:1]
    for redirect in redirects:
        if redirect.slot != alive[0] and redirect.slot in {r.slot for r in script.vxlan.redirects}:
            script.do(Undivert(script.peer, redirect.slot))


def _hand_over(script: _Script, source: Device, target: Device) -> None:
    ports = {_TAP: script.tap.port, _VXLAN: script.vxlan.port if script.vxlan else None}
    old, new = ports[source], ports[target]
    ceases = source if old is not None and old.floods else None
    begins = target if new is not None and not new.floods else None
    if ceases or begins:
        script.do(HandOver(script.peer, ceases, begins))


def _unplug(script: _Script, device: Device) -> None:
    link = script.tap if device is _TAP else script.vxlan
    if link is not None and link.port is not None:
        script.do(Forget(script.peer, device))
        script.do(Unplug(script.peer, device))


def _removal(peer: PeerName, tap: TapLink | None, vxlan: VxlanLink) -> list[Operation]:
    """Of a peer that is gone: first to the sleeve, so that nothing goes astray in clear."""
    operations: list[Operation] = []
    if tap is not None and vxlan.through:
        operations.append(Divert(peer, REDIRECT_SLOTS[0]))
    if vxlan.port is not None:
        operations.append(Unplug(peer, _VXLAN))
    return [*operations, DeleteVxlan(peer)]
