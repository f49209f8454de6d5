"""Which operations bring ESP into the kernel and out of it, in which order, and when?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

import pytest

from fastdp.esp.desired import EspNetwork, PlannedEsp, Target, is_sealed, plan, way_out
from fastdp.esp.steps import EspKeeper, EspSteps
from fastdp.esp.values import (
    AddState,
    DeletePolicy,
    Direction,
    Policy,
    Rule,
    Selector,
    State,
    StateId,
    UpdatePolicy,
    XfrmTables,
    request_id,
)
from tests.kit.fake_xfrm import FakeXfrm
from weave_py.model.fast import DesiredEsp, EspKey, FastRemote
from weave_py.model.names import PeerName

PORT, PEER_PORT = 4789, 4790
REQID = request_id(PORT)
SECRET = EspNetwork(PORT, has_secret=True)
OPEN = EspNetwork(PORT, has_secret=False)
LOCAL, HOST = ip_address("10.0.0.1"), ip_address("10.0.0.2")
TARGET = Target(HOST, PEER_PORT)
A = PeerName(b"peer A")


def key(spi: int) -> EspKey:
    return EspKey(spi, spi.to_bytes(4, "big") * 9)


def remote(esp: DesiredEsp | None, host: str = "10.0.0.2") -> FastRemote:
    return FastRemote("10.0.0.1", host, PEER_PORT, 77, esp)


def desired(inbound: list[int], outbound: int | None) -> DesiredEsp:
    return DesiredEsp(tuple(map(key, inbound)), None if outbound is None else key(outbound))


@dataclass(slots=True)
class Rig:
    """A keeper with its kernel."""

    kernel: FakeXfrm = field(default_factory=FakeXfrm)
    keeper: EspKeeper = field(default_factory=EspKeeper)
    in_use: list[Target] = field(default_factory=lambda: [TARGET])

    def step(
        self,
        esp: DesiredEsp | None,
        now: float,
        network: EspNetwork = SECRET,
        host: str = "10.0.0.2",
    ) -> EspSteps:
        return self.follow(plan(network, {A: remote(esp, host)}), now)

    def follow(self, wanted: PlannedEsp, now: float) -> EspSteps:
        steps = self.keeper.steps(wanted, self.kernel.tables(), self.in_use, now)
        for operation in (*steps.before, *steps.after):
            self.kernel.apply(operation)
        return steps


def test_before_the_first_key_the_exit_is_closed() -> None:
    rig = Rig()
    rig.step(desired([1000], None), 0.0)
    policy = rig.kernel.exit(TARGET)
    assert policy is not None
    assert policy.rule is Rule.NOTHING
    assert rig.kernel.spis() == {1000}


def test_the_rule_for_everybody_is_there_before_anything_else_changes() -> None:
    rig = Rig()
    steps = rig.step(desired([1000], 2000), 0.0)
    ways = [step.policy.selector.direction for step in steps.before[:2] if hasattr(step, "policy")]
    assert ways == [Direction.IN, Direction.IN]
    assert not steps.after


def test_a_round_without_news_does_nothing() -> None:
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    steps = rig.step(desired([1000], 2000), 1000.0)
    assert steps == EspSteps((), ())
    assert rig.keeper.next_deadline() is None


def test_keys_are_made_before_they_are_broken() -> None:
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    assert rig.step(desired([1000, 1001], 2000), 1.0).before == (
        AddState(State(LOCAL, 1001, HOST, PORT, REQID), key(1001).key),
    )
    state = State(HOST, 2001, LOCAL, PEER_PORT, REQID)
    assert rig.step(desired([1000, 1001], 2001), 2.0) == EspSteps(
        (
            AddState(state, key(2001).key),
            UpdatePolicy(Policy(way_out(TARGET), Rule.SEALED, REQID, 2001)),
        ),
        (),
    )
    rig.step(desired([1001], 2001), 12.0)
    assert rig.kernel.spis() == {1000, 1001, 2000, 2001}
    due = rig.keeper.next_deadline()
    assert due is not None
    assert due.at == 2.0 + 15.0
    rig.step(desired([1001], 2001), 17.0)
    assert rig.kernel.spis() == {1000, 1001, 2001}
    rig.step(desired([1001], 2001), 27.0)
    assert rig.kernel.spis() == {1001, 2001}


def test_a_state_that_is_still_used_stays() -> None:
    """The peer did not hear of the new one yet."""
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    rig.step(desired([1001], 2001), 1.0)
    for now in range(2, 60):
        rig.kernel.use(StateId(LOCAL, 1000))
        rig.step(desired([1001], 2001), float(now))
    assert 1000 in rig.kernel.spis()
    rig.step(desired([1001], 2001), 59.0 + 15.0)
    assert 1000 not in rig.kernel.spis()


def test_a_peer_that_is_gone_has_no_say() -> None:
    rig = Rig(in_use=[])
    rig.step(desired([1000], 2000), 0.0)
    for now in range(1, 20):
        if StateId(LOCAL, 1000) in rig.kernel.states:
            rig.kernel.use(StateId(LOCAL, 1000))
        rig.follow(plan(SECRET, {}), float(now))
    assert not rig.kernel.states
    assert rig.kernel.exit(TARGET) is None


def test_a_predecessors_states_stay_until_something_is_agreed() -> None:
    kernel = FakeXfrm()
    Rig(kernel).step(desired([1000], 2000), 0.0)
    rig = Rig(kernel)
    # First nothing is known but that a device is there, then the peer, then a new session.
    for now in range(0, 100, 10):
        assert rig.follow(plan(SECRET, {}), float(now)) == EspSteps((), ())
    assert rig.step(desired([], None), 100.0) == EspSteps((), ())
    rig.step(desired([1001], None), 200.0)
    assert kernel.spis() == {1000, 1001, 2000}
    assert is_sealed(remote(desired([1001], None)), kernel.tables())
    rig.step(desired([1001], 2001), 300.0)
    rig.step(desired([1001], 2001), 315.0)
    assert kernel.spis() == {1001, 2001}


def test_a_session_that_ends_is_no_evidence() -> None:
    """The peer's router is gone, its kernel goes on under the keys of before."""
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    for now in (100.0, 200.0, 300.0):
        rig.step(desired([], None), now)
    assert rig.kernel.spis() == {1000, 2000}
    policy = rig.kernel.exit(TARGET)
    assert policy is not None
    assert policy.spi == 2000


def test_what_is_held_does_not_grow_for_ever() -> None:
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    for number in range(1, 30):
        rig.step(desired([1000 + number], None), number * 120.0)
        rig.step(desired([1000 + number], None), number * 120.0 + 20.0)
    assert 2000 in rig.kernel.spis()
    assert len(rig.kernel.spis()) <= 6


def test_a_key_goes_in_once() -> None:
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    rig.kernel.states.clear()  # ip xfrm state flush
    rig.step(desired([1000], 2000), 1.0)
    assert not rig.kernel.states
    policy = rig.kernel.exit(TARGET)
    assert policy is not None
    assert policy.rule is Rule.NOTHING
    rig.step(desired([1000, 1001], 2001), 2.0)
    assert rig.kernel.spis() == {1001, 2001}


def test_a_key_goes_to_one_address() -> None:
    """The peer moved; under the same key its sequence numbers would begin again."""
    rig = Rig(in_use=[])
    rig.step(desired([1000], 2000), 0.0)
    rig.step(desired([1000], 2000), 1.0, host="10.0.0.9")
    assert not [state for state in rig.kernel.states if str(state.destination) == "10.0.0.9"]
    moved = rig.kernel.exit(Target(ip_address("10.0.0.9"), PEER_PORT))
    assert moved is not None
    assert moved.rule is Rule.NOTHING


def test_what_was_refused_is_tried_again() -> None:
    rig = Rig()
    wanted = plan(SECRET, {A: remote(desired([1000], 2000))})
    first = rig.keeper.steps(wanted, XfrmTables(), [], 0.0)
    for operation in first.before:
        rig.keeper.refused(operation)
    assert rig.keeper.steps(wanted, XfrmTables(), [], 1.0) == first


def test_a_policy_goes_only_after_the_device_stopped_sending() -> None:
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    rig.follow(plan(SECRET, {}), 1.0)
    assert rig.kernel.exit(TARGET) is not None
    rig.in_use = []
    steps = rig.follow(plan(SECRET, {}), 2.0)
    assert not steps.before
    assert rig.kernel.exit(TARGET) is None
    assert any(policy.rule is Rule.SEALED for policy in rig.kernel.policies.values())


def test_a_device_that_sends_where_nobody_wished_is_closed() -> None:
    """The predecessor's network had no secret."""
    rig = Rig()
    rig.follow(plan(SECRET, {}), 0.0)
    policy = rig.kernel.exit(TARGET)
    assert policy is not None
    assert policy.rule is Rule.NOTHING


def test_a_peer_becomes_trusted_and_is_not_any_more() -> None:
    trusting = EspNetwork(PORT, True, (ip_network("10.0.0.0/24"),))
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    rig.step(None, 1.0, trusting)
    assert rig.kernel.exit(TARGET) is None
    steps = rig.step(None, 2.0, SECRET)
    assert rig.kernel.exit(TARGET) is not None
    assert not steps.after, "less trust counts at once"
    assert all(p.rule is not Rule.ANYTHING for p in rig.kernel.policies.values())


def test_the_secret_goes_and_everything_with_it_the_rule_for_everybody_first() -> None:
    trusting = EspNetwork(PORT, True, (ip_network("10.9.0.0/16"),))
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0, trusting)
    steps = rig.step(None, 1.0, OPEN)
    gone = [step.policy for step in steps.after if isinstance(step, DeletePolicy)]
    ways_in = [policy.rule for policy in gone if policy.selector.direction is Direction.IN]
    assert ways_in == [Rule.SEALED, Rule.SEALED, Rule.ANYTHING]
    rig.step(None, 20.0, OPEN)
    assert not rig.kernel.states
    assert not rig.kernel.policies


def test_another_routers_things_are_left_alone() -> None:
    other = request_id(9999)
    state = State(HOST, 5000, LOCAL, 9999, other)
    elsewhere = Target(ip_address("10.0.0.7"), 9999)
    policies = [
        Policy(way_out(elsewhere), Rule.SEALED, other, 5000),
        Policy(Selector(Direction.IN, ip_network("10.0.0.0/8"), ip_network("0.0.0.0/0"), 9999),
               Rule.ANYTHING, other),
    ]  # fmt: skip
    rig = Rig(FakeXfrm({state.id: state}, {policy.selector: policy for policy in policies}))
    for now in (0.0, 100.0):
        rig.follow(plan(SECRET, {}), now)
    assert state.id in rig.kernel.states
    assert {policy.selector for policy in policies} <= rig.kernel.policies.keys()


@pytest.mark.parametrize("spi", [2000, 2001])
def test_a_state_for_another_port_seals_nothing(spi: int) -> None:
    """The peer's VXLAN port changed: its state's selector would not match."""
    rig = Rig()
    rig.step(desired([1000], 2000), 0.0)
    moved = replace(remote(desired([1000], spi)), udp_port=4800)
    rig.follow(plan(SECRET, {A: moved}), 1.0)
    policy = rig.kernel.exit(Target(HOST, 4800))
    assert policy is not None
    assert policy.rule is (Rule.SEALED if spi == 2001 else Rule.NOTHING)
