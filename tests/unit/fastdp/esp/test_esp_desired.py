"""Which states and policies are wanted for which peers, and does removal let nothing out?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from fastdp.esp.desired import (
    EspNetwork,
    Exit,
    Target,
    is_sealed,
    newest_inbound,
    plan,
    removal,
    way_out,
)
from fastdp.esp.values import (
    ANY_IPV4,
    ANY_IPV6,
    DeletePolicy,
    DeleteState,
    Direction,
    Policy,
    Rule,
    Selector,
    State,
    XfrmTables,
    request_id,
)
from weave_py.model.fast import DesiredEsp, EspKey, FastRemote
from weave_py.model.names import PeerName

PORT = 4789
REQID = request_id(PORT)
SECRET = EspNetwork(PORT, has_secret=True)
TRUSTING = EspNetwork(PORT, True, (ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
OPEN = EspNetwork(PORT, has_secret=False)
A, B = PeerName(b"peer A"), PeerName(b"peer B")
LOCAL, HOST = ip_address("10.0.0.1"), ip_address("10.0.0.2")
TARGET = Target(HOST, 4790)


def key(spi: int) -> EspKey:
    return EspKey(spi, spi.to_bytes(4, "big") * 9)


def remote(esp: DesiredEsp | None, host: str = "10.0.0.2", local: str = "10.0.0.1") -> FastRemote:
    return FastRemote(local, host, 4790, 77, esp)


BOTH = DesiredEsp((key(1000), key(1001)), key(2000))
UNAGREED = DesiredEsp((key(1000),), None)


def test_default_deny_does_not_wait_for_peers() -> None:
    everybody = {
        Policy(Selector(Direction.IN, any_, any_, PORT), Rule.SEALED, REQID)
        for any_ in (ANY_IPV4, ANY_IPV6)
    }
    assert set(plan(SECRET, {}).entrances) == everybody
    assert set(plan(SECRET, {A: remote(BOTH)}).entrances) == everybody
    assert not plan(OPEN, {}).entrances


def test_trusted_subnets_come_before_the_rule_for_everybody() -> None:
    policies = plan(TRUSTING, {}).entrances
    trusted = [policy for policy in policies if policy.rule is Rule.ANYTHING]
    assert [p.selector.source for p in trusted] == list(TRUSTING.trusted)
    everybody = min(p.priority for p in policies if p.rule is Rule.SEALED)
    assert all(policy.priority < everybody for policy in trusted)


def test_states_are_tied_to_addresses_and_the_port_of_whoever_receives() -> None:
    wanted = plan(SECRET, {A: remote(BOTH)})
    inbound = [add.state for add in wanted.inbound.values()]
    assert inbound == [State(LOCAL, spi, HOST, PORT, REQID) for spi in (1000, 1001)]
    out = wanted.exits[TARGET].outbound
    assert out is not None
    assert out.state == State(HOST, 2000, LOCAL, 4790, REQID)
    assert out.key == key(2000).key


def test_nothing_in_clear_without_leave() -> None:
    for network, host in ((SECRET, "10.0.0.2"), (TRUSTING, "10.2.0.1"), (TRUSTING, "2001::1")):
        local = "::1" if ":" in host else "10.0.0.1"
        wanted = plan(network, {A: remote(None, host, local)})
        assert not wanted.clear
        assert wanted.exits == {Target(ip_address(host), 4790): Exit(None)}


@pytest.mark.parametrize("host", ["10.1.255.1", "fd00::1"])
def test_trusted_subnets_may_be_plain(host: str) -> None:
    wanted = plan(TRUSTING, {A: remote(None, host)})
    assert wanted.clear == {Target(ip_address(host), 4790)}
    assert not wanted.exits


def test_an_open_network_may_be_plain_and_may_be_sealed() -> None:
    assert plan(OPEN, {A: remote(None)}).clear == {TARGET}
    assert TARGET in plan(OPEN, {A: remote(BOTH)}).exits


@pytest.mark.parametrize("order", [(A, B), (B, A)])
@pytest.mark.parametrize("network", [SECRET, OPEN])
def test_one_target_is_never_for_two_peers(
    order: tuple[PeerName, PeerName], network: EspNetwork
) -> None:
    """Behind one address, say, or one of them lies: neither gets what is sealed for the other."""
    other = DesiredEsp((key(1002),), key(2002))
    for second in (other, UNAGREED, None):
        desired_ports = dict(zip(order, (remote(BOTH), remote(second)), strict=True))
        wanted = plan(network, desired_ports)
        assert wanted.exits == {TARGET: Exit(None, keeps=False)}
        assert not wanted.clear


def test_one_state_is_never_for_two_peers() -> None:
    """The same SPI at one address cannot be two keys."""
    second = replace(remote(BOTH), udp_port=4791)
    wanted = plan(SECRET, {A: remote(BOTH), B: second})
    assert set(wanted.exits.values()) == {Exit(None, keeps=False)}


def test_the_newest_key_in_the_kernel_is_told() -> None:
    states = [State(LOCAL, spi, HOST, PORT, REQID) for spi in (1000, 1001)]
    assert newest_inbound(remote(BOTH), XfrmTables()) == 0
    assert newest_inbound(remote(BOTH), XfrmTables(frozenset(states[:1]))) == 1000
    assert newest_inbound(remote(BOTH), XfrmTables(frozenset(states))) == 1001
    assert newest_inbound(remote(None), XfrmTables(frozenset(states))) == 0
    elsewhere = replace(states[0], destination=HOST)
    assert newest_inbound(remote(BOTH), XfrmTables(frozenset([elsewhere]))) == 0


def test_sealed_means_policy_and_state() -> None:
    state = State(HOST, 2000, LOCAL, 4790, REQID)
    sealing = Policy(way_out(TARGET), Rule.SEALED, REQID, 2000)

    def holds(state: State, policy: Policy) -> bool:
        return is_sealed(remote(BOTH), XfrmTables(frozenset([state]), frozenset([policy])))

    assert holds(state, sealing)
    assert not holds(replace(state, spi=2001), sealing)
    assert not holds(replace(state, port=4791), sealing)
    assert not holds(state, replace(sealing, rule=Rule.NOTHING))
    assert not holds(state, replace(sealing, selector=way_out(Target(LOCAL, 4790))))
    assert not is_sealed(remote(BOTH), XfrmTables(frozenset([state])))


def tables() -> XfrmTables:
    wanted = plan(TRUSTING, {A: remote(BOTH)})
    out = wanted.exits[TARGET].outbound
    assert out is not None
    states = {*(add.state for add in wanted.inbound.values()), out.state}
    sealing = Policy(way_out(TARGET), Rule.SEALED, REQID, 2000)
    other = Policy(way_out(Target(HOST, 9)), Rule.NOTHING, request_id(9))
    return XfrmTables(frozenset(states), frozenset({*wanted.entrances, sealing, other}))


def test_removal_removes_all_and_ends_with_the_rule_for_everybody() -> None:
    steps = removal(tables())
    kinds = [type(step) for step in steps]
    assert kinds == [DeleteState] * 3 + [DeletePolicy] * 6
    policies = [step.policy for step in steps if isinstance(step, DeletePolicy)]
    assert set(policies) == tables().policies
    assert [p.selector.direction for p in policies] == [Direction.OUT] * 2 + [Direction.IN] * 4
    assert [policy.rule for policy in policies[-2:]] == [Rule.SEALED] * 2


def test_removal_leaves_what_protects_a_device_that_still_sends() -> None:
    """It may be another router's."""
    steps = removal(tables(), [TARGET])
    policies = {step.policy.selector for step in steps if isinstance(step, DeletePolicy)}
    assert policies == {way_out(Target(HOST, 9))}
    assert not any(isinstance(step, DeleteState) for step in steps)


def test_removal_leaves_nothing_of_other_ports() -> None:
    steps = removal(tables(), [Target(HOST, 9)])
    policies = {step.policy for step in steps if isinstance(step, DeletePolicy)}
    assert {policy.reqid for policy in policies} == {REQID}
    assert len(policies) == 5
