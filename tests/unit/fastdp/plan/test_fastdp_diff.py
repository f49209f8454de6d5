"""Are operations in an order that is safe at every prefix, from wherever the kernel is?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastdp.plan.desired import Planned, PlannedPort, PlannedVxlan
from fastdp.plan.diff import diff
from fastdp.plan.effects import after
from fastdp.plan.operations import (
    AddRemote,
    AddVxlan,
    ConfigureTap,
    DeleteRemote,
    DeleteVxlan,
    Divert,
    Forget,
    HandOver,
    IntoPort,
    Isolate,
    OntoItself,
    Operation,
    Plug,
    SetUp,
    Undivert,
    Unplug,
)
from fastdp.plan.state import (
    REDIRECT_SLOTS,
    Device,
    KernelState,
    Port,
    Redirect,
    Remote,
    TapFilters,
    TapLink,
    VxlanLink,
)
from weave_py.model.names import PeerName

PEER = PeerName(bytes.fromhex("8a3e00112233"))
OTHER = PeerName(bytes.fromhex("8a3e00112234"))
MTU, QUEUE = 1376, 64
HERE, THERE = Remote("10.0.0.2", 4789, 7001), Remote("10.0.0.3", 4789, 7001)
ALIVE = (Redirect(2, True),)

FRESH_TAP = TapLink(False, 1500, 1000, None, TapFilters.NONE)
TAP_PORT = TapLink(True, MTU, QUEUE, Port(True, True), TapFilters.NONE)
TAP_BEHIND = TapLink(True, MTU, QUEUE, None, TapFilters.INTO_PORT)
SLOW = VxlanLink(7000, 4789, False, "10.0.0.1", (HERE,), True, MTU, Port(True, True), True, ALIVE)
FAST = replace(SLOW, redirects=())
VXLAN = PlannedVxlan(7000, 4789, False, "02:00:00:00:00:07", "10.0.0.1", HERE, False)
WANTS_TAP = PlannedPort(MTU, QUEUE, None)


def wants(**changes: object) -> PlannedPort:
    return PlannedPort(MTU, QUEUE, replace(VXLAN, **changes))  # type: ignore[arg-type]


def operations(
    wanted: PlannedPort, tap: TapLink, vxlan: VxlanLink | None = None
) -> list[Operation]:
    state = KernelState({PEER: tap}, {} if vxlan is None else {PEER: vxlan})
    return diff(Planned({PEER: wanted}, frozenset()), state)


def test_nothing_to_do() -> None:
    assert operations(WANTS_TAP, TAP_PORT) == []
    assert operations(wants(), TAP_BEHIND, SLOW) == []
    assert operations(wants(through=True), TAP_BEHIND, FAST) == []


def test_a_flip_is_one_operation() -> None:
    assert operations(wants(through=True), TAP_BEHIND, SLOW) == [Undivert(PEER, 2)]
    assert operations(wants(), TAP_BEHIND, FAST) == [Divert(PEER, 2)]


def test_a_fresh_tap_becomes_the_port() -> None:
    assert operations(WANTS_TAP, FRESH_TAP) == [
        ConfigureTap(PEER, MTU, QUEUE, True),
        Plug(PEER, Device.TAP),
        SetUp(PEER, Device.TAP),
        HandOver(PEER, None, Device.TAP),
    ]


def test_a_fresh_tap_goes_behind_a_vxlan_device() -> None:
    assert operations(wants(through=True), FRESH_TAP) == [
        AddVxlan(PEER, 7000, 4789, False, "10.0.0.1", "02:00:00:00:00:07", MTU),
        ConfigureTap(PEER, MTU, QUEUE, True),
        IntoPort(PEER),
        SetUp(PEER, Device.TAP),
        AddRemote(PEER, HERE),
        Plug(PEER, Device.VXLAN),
        SetUp(PEER, Device.VXLAN),
        HandOver(PEER, None, Device.VXLAN),
    ]


def test_the_port_moves_and_comes_back() -> None:
    assert operations(wants(remote=None, local=None), TAP_PORT) == [
        AddVxlan(PEER, 7000, 4789, False, None, "02:00:00:00:00:07", MTU),
        Plug(PEER, Device.VXLAN),
        SetUp(PEER, Device.VXLAN),
        IntoPort(PEER),
        HandOver(PEER, Device.TAP, Device.VXLAN),
        Forget(PEER, Device.TAP),
        Unplug(PEER, Device.TAP),
    ]
    assert operations(WANTS_TAP, TAP_BEHIND, FAST) == [
        Plug(PEER, Device.TAP),
        Divert(PEER, 2),
        HandOver(PEER, Device.VXLAN, Device.TAP),
        OntoItself(PEER),
        Forget(PEER, Device.VXLAN),
        Unplug(PEER, Device.VXLAN),
        DeleteVxlan(PEER),
    ]


def test_another_remote_is_proven_before_it_is_used() -> None:
    assert operations(wants(remote=THERE, through=True), TAP_BEHIND, FAST) == [
        Divert(PEER, 2),
        AddRemote(PEER, THERE),
        DeleteRemote(PEER, HERE),
    ]


def test_a_new_tap_takes_over_without_a_moment_in_the_kernel() -> None:
    dead = replace(SLOW, redirects=(Redirect(2, False),))
    assert operations(wants(), replace(FRESH_TAP, filters=TapFilters.NONE), dead) == [
        ConfigureTap(PEER, MTU, QUEUE, True),
        IntoPort(PEER),
        SetUp(PEER, Device.TAP),
        Divert(PEER, 3),
        Undivert(PEER, 2),
    ]


def test_a_new_tap_does_not_disturb_the_kernels_path() -> None:
    assert operations(wants(through=True), FRESH_TAP, FAST) == [
        ConfigureTap(PEER, MTU, QUEUE, True),
        IntoPort(PEER),
        SetUp(PEER, Device.TAP),
    ]


def test_who_is_gone_leaves_nothing() -> None:
    wanted = Planned({}, frozenset())
    assert diff(wanted, KernelState({PEER: TAP_BEHIND}, {PEER: FAST})) == [
        Divert(PEER, 2),
        Unplug(PEER, Device.VXLAN),
        DeleteVxlan(PEER),
    ]
    assert diff(wanted, KernelState({}, {PEER: FAST})) == [
        Unplug(PEER, Device.VXLAN),
        DeleteVxlan(PEER),
    ]
    assert diff(Planned({}, frozenset({PEER})), KernelState({}, {PEER: FAST})) == []


def test_the_urgent_comes_first() -> None:
    peers = [PeerName(bytes([2, 0, 0, 0, 0, number])) for number in range(4)]
    new, open_port, flipping, gone = peers
    wanted = Planned({new: wants(), open_port: wants(), flipping: wants()}, frozenset())
    state = KernelState(
        {new: FRESH_TAP, open_port: TAP_BEHIND, flipping: TAP_BEHIND},
        {open_port: replace(SLOW, port=Port(False, True)), flipping: FAST, gone: FAST},
    )
    order = diff(wanted, state)
    assert order[0] == Isolate(open_port, Device.VXLAN)
    assert order[1] == Divert(flipping, 2)
    assert order[-1] == DeleteVxlan(gone)


# From anywhere

ports = st.none() | st.builds(Port, st.booleans(), st.booleans())
mtus = st.sampled_from([MTU, 1500])
taps = st.builds(
    TapLink, st.booleans(), mtus, st.sampled_from([QUEUE, 1000]), ports, st.sampled_from(TapFilters)
)
redirects = st.lists(st.booleans() | st.none(), min_size=2, max_size=2).map(
    lambda alive: tuple(
        Redirect(slot, is_alive)
        for slot, is_alive in zip(REDIRECT_SLOTS, alive, strict=True)
        if is_alive is not None
    )
)
vxlans = st.none() | st.builds(
    VxlanLink,
    vni=st.sampled_from([7000, 7000, 7009]),
    udp_port=st.sampled_from([4789, 4789, 6784]),
    ipv6=st.just(False),
    local=st.sampled_from(["10.0.0.1", None]),
    remotes=st.lists(st.sampled_from([HERE, THERE]), unique=True).map(tuple),
    up=st.booleans(),
    mtu=mtus,
    port=ports,
    guarded=st.booleans(),
    redirects=redirects,
)
desired_ports = st.just(WANTS_TAP) | st.builds(
    lambda remote, through: wants(remote=remote, through=through and remote is not None),
    st.sampled_from([HERE, THERE, None]),
    st.booleans(),
)


def unsafe(tap: TapLink, vxlan: VxlanLink | None) -> list[str]:
    found = []
    both = [link.port for link in (tap, vxlan) if link is not None and link.port is not None]
    if not all(port.isolated for port in both):
        found.append("not isolated")
    if sum(port.floods for port in both) > 1:
        found.append("flooded to twice")
    if vxlan is not None and vxlan.through and len(vxlan.remotes) > 1:
        found.append("sent twice")
    return found


def is_safety(operation: Operation) -> bool:
    return isinstance(operation, Isolate) or (
        isinstance(operation, HandOver) and operation.target is None
    )


def prefixes(
    tap: TapLink, vxlan: VxlanLink | None, script: Iterable[Operation]
) -> Iterable[tuple[Operation, TapLink, VxlanLink | None]]:
    for operation in script:
        new_tap, vxlan = after(operation, tap, vxlan)
        assert new_tap is not None
        tap = new_tap
        yield operation, tap, vxlan


@settings(max_examples=500, deadline=None, derandomize=True)
@given(desired_ports, taps, vxlans)
@example(
    wants(remote=THERE),
    TAP_BEHIND,
    replace(SLOW, redirects=(Redirect(2, False), Redirect(3, False))),
)
def test_safe_at_every_prefix(wanted: PlannedPort, tap: TapLink, vxlan: VxlanLink | None) -> None:
    script = operations(wanted, tap, vxlan)
    may_go_through = wanted.vxlan is not None and wanted.vxlan.through
    was_through = vxlan is not None and vxlan.through
    flooded = any(
        link is not None and link.up and link.port and link.port.floods for link in (tap, vxlan)
    )
    found: list[str] = unsafe(tap, vxlan)
    for operation, now_tap, now in prefixes(tap, vxlan, script):
        worse = set(unsafe(now_tap, now)) - set(found)
        assert not worse, (operation, worse)
        found = unsafe(now_tap, now)
        if not is_safety(operation):
            assert not {"not isolated", "flooded to twice"} & set(found), operation
        is_through = now is not None and now.through
        if is_through and not was_through:
            assert may_go_through
            assert all(isinstance(each, Undivert) for each in script)
        was_through = is_through
        still = any(link is not None and link.port and link.port.floods for link in (now_tap, now))
        assert still or not flooded, f"flooded to nobody after {operation}"
        flooded = bool(still)
    assert not found


@settings(max_examples=500, deadline=None, derandomize=True)
@given(desired_ports, taps, vxlans)
def test_it_ends_where_it_is_wanted(
    wanted: PlannedPort, tap: TapLink, vxlan: VxlanLink | None
) -> None:
    rounds = 0
    while script := operations(wanted, tap, vxlan):
        rounds += 1
        assert rounds <= 2, script  # all of it, then perhaps the flip
        for _, tap, vxlan in prefixes(tap, vxlan, script):  # noqa: B007, B020
            pass
    assert (tap.up, tap.mtu, tap.queue) == (True, MTU, QUEUE)
    if wanted.vxlan is None:
        assert vxlan is None
        assert (tap.port, tap.filters) == (Port(True, True), TapFilters.NONE)
        return
    assert (tap.port, tap.filters) == (None, TapFilters.INTO_PORT)
    assert vxlan is not None
    remotes = () if wanted.vxlan.remote is None else (wanted.vxlan.remote,)
    assert vxlan == replace(SLOW, remotes=remotes, redirects=vxlan.redirects)
    assert vxlan.through is wanted.vxlan.through
    assert vxlan.through or (vxlan.diverted and len(vxlan.redirects) == 1)
