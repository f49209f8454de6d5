"""Does the kernel look as wished after each call, whatever it was like, whatever it refuses?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from fastdp.esp.desired import EspNetwork, Target
from fastdp.esp.keeper import Keeper
from fastdp.esp.values import AddState, StateId, XfrmTables
from fastdp.esp.values import Operation as EspOperation
from fastdp.fake.host import FakeHost
from fastdp.fake.net import FakeNet
from fastdp.plan.operations import DeleteVxlan, Divert, Operation, Undivert
from fastdp.plan.state import Device, KernelState
from fastdp.reconciler import Reconciler
from tests.kit.fake_xfrm import FakeXfrm
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredEsp, DesiredVxlan, EspKey, FastRemote
from weave_py.model.names import PeerName

ONE, TWO, THREE = (PeerName(bytes((2, 0, 0, 0, 0, n))) for n in (1, 2, 3))
REMOTE = FastRemote("192.0.2.1", "192.0.2.2", 4789, 8000)
FAST = DesiredVxlan(7000, False, REMOTE, through=True)
SLOW = replace(FAST, through=False)
ESP = DesiredEsp((EspKey(1001, b"i" * 36),), EspKey(2001, b"o" * 36))
SEALED = replace(FAST, remote=replace(REMOTE, esp=ESP))
PEER_HOST = ip_address("192.0.2.2")
NETWORK = EspNetwork(4789, has_secret=True)


class Tables(FakeXfrm):
    """As fastdp.kernel.xfrm.Xfrm."""

    refuses = False

    def read(self) -> XfrmTables:
        return self.tables()

    def apply(self, operation: EspOperation) -> None:
        if self.refuses and isinstance(operation, AddState):
            raise HostError("no state today")
        super().apply(operation)

    def close(self) -> None:
        pass


class Kit:
    def __init__(self, tables: Tables | None = None) -> None:
        self.host = FakeHost(FakeNet(), "192.0.2.1")
        self.tables = tables
        self.desired_ports: dict[PeerName, DesiredVxlan | None] = {}
        self.reconciler = self.restarted()

    def restarted(self, udp_port: int = 4789) -> Reconciler:
        """A successor, to whom the kernel is all there is."""
        sealing = None if self.tables is None else Keeper(NETWORK, self.tables)
        return Reconciler(self.host, "weave", 1376, udp_port, sealing)

    def add(self, peer: PeerName, desired: DesiredVxlan | None) -> None:
        self.host.open_tap(peer)
        self.desired_ports[peer] = desired

    def die(self) -> None:
        """The process, and with it the TAPs."""
        for peer in self.desired_ports:
            self.host.close_tap(peer)


def test_wishes_are_carried_out_in_one_call() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.add(TWO, replace(SLOW, vni=7001, remote=None))
    kit.add(THREE, None)
    done = kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert dict(done.outcome.ready) == {ONE: FAST, TWO: kit.desired_ports[TWO]}
    assert done.outcome.failed == ()
    assert done.settled == {ONE, TWO, THREE}
    state = kit.host.observe()
    assert state.vxlans.keys() == {ONE, TWO}
    assert state.vxlans[ONE].through
    assert state.vxlans[TWO].diverted
    assert kit.reconciler.reconcile(kit.desired_ports, None, 1.0).done == ()


def test_only_those_asked_about_are_looked_at() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.add(TWO, None)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.host.vxlan(ONE).up = False
    kit.host.tap(TWO).is_port = False
    done = kit.reconciler.reconcile(kit.desired_ports, {TWO}, 1.0)
    assert {step.peer for step in done.done} == {TWO}
    assert done.settled == {TWO}
    assert not kit.host.vxlan(ONE).up


def test_a_peer_without_a_wish_loses_its_device() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.die()
    done = kit.reconciler.reconcile({}, {ONE}, 1.0)
    assert DeleteVxlan(ONE) in done.done
    assert kit.host.observe().vxlans == {}


def test_a_flip_is_one_operation() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    (down,) = kit.reconciler.reconcile({ONE: SLOW}, {ONE}, 1.0).done
    (up,) = kit.reconciler.reconcile({ONE: FAST}, {ONE}, 2.0).done
    assert (type(down), type(up)) == (Divert, Undivert)


def test_one_refusal_does_not_keep_others_from_theirs() -> None:
    kit = Kit()
    kit.host.taken_vnis.add(7000)
    kit.add(ONE, FAST)
    kit.add(TWO, replace(FAST, vni=7001))
    done = kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert [peer for peer, _ in done.outcome.failed] == [ONE]
    assert done.outcome.taken == (ONE,)
    assert [peer for peer, _ in done.outcome.ready] == [TWO]


def test_a_peer_whose_device_is_refused_has_the_tap_as_its_port() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.host.remove(Device.VXLAN.ifname(ONE))
    kit.host.taken_ports.add(4789)
    done = kit.reconciler.reconcile(kit.desired_ports, {ONE}, 1.0)
    assert [peer for peer, _ in done.outcome.failed] == [ONE]
    assert done.outcome.ready == ()
    assert done.outcome.taken == ()
    assert done.settled == {ONE}, "the sleeve can be used"
    port = kit.host.observe().taps[ONE].port
    assert port is not None
    assert port.floods
    kit.host.taken_ports.clear()
    assert kit.reconciler.reconcile(kit.desired_ports, {ONE}, 2.0).outcome.ready == ((ONE, FAST),)


def test_where_nothing_works_nothing_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit()
    kit.add(ONE, FAST)

    def refuse(operation: Operation) -> None:
        raise HostError(f"not {operation}")

    monkeypatch.setattr(kit.host, "apply", refuse)
    done = kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert done.settled == frozenset()
    assert [peer for peer, _ in done.outcome.failed] == [ONE]


def test_a_successor_finds_what_was_left() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.add(TWO, replace(SLOW, vni=7001))
    kit.add(THREE, None)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.die()
    successor = kit.restarted()
    found = dict(successor.found())
    assert found == {ONE: FAST, TWO: kit.desired_ports[TWO]}
    before = kit.host.observe()
    assert successor.reconcile(found, None, 1.0).done == (), "without a TAP nothing is touched"
    kit.host.open_tap(ONE)
    done = successor.reconcile(found, {ONE}, 2.0)
    assert not any(isinstance(step, Divert | Undivert) for step in done.done)
    assert kit.host.observe().vxlans[ONE] == before.vxlans[ONE]


def test_what_is_not_as_we_would_have_it_is_not_adopted() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert kit.restarted(udp_port=6784).found() == []
    kit.host.vxlan(ONE).up = False
    assert kit.restarted().found() == []


def test_two_destinations_are_none() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    vxlan = kit.host.vxlan(ONE)
    vxlan.remotes.append(vxlan.remotes[0]._replace(vni=9))
    assert kit.restarted().found() == [(ONE, DesiredVxlan(7000, False, None, through=False))]


def test_at_the_end_nothing_is_left() -> None:
    tables = Tables()
    kit = Kit(tables)
    kit.add(ONE, SEALED)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert tables.states
    assert tables.policies
    kit.die()
    kit.reconciler.remove_all()
    assert kit.host.observe().vxlans == {}
    assert (tables.states, tables.policies) == ({}, {})


def test_keys_are_in_the_kernel_before_frames_take_it() -> None:
    tables = Tables()
    kit = Kit(tables)
    kit.add(ONE, SEALED)
    done = kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert done.outcome.installed == ((ONE, 1001),)
    assert tables.spis() == {1001, 2001}
    assert done.outcome.ready == ((ONE, SEALED),)


def test_keys_that_are_refused_are_told_of_and_tried_again() -> None:
    tables = Tables()
    kit = Kit(tables)
    tables.refuses = True
    kit.add(ONE, SEALED)
    done = kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert done.outcome.installed == ()
    assert "no state today" in done.untold
    tables.refuses = False
    done = kit.reconciler.reconcile(kit.desired_ports, None, 1.0)
    assert done.outcome.installed == ((ONE, 1001),)


def test_a_successor_adopts_what_is_sealed_by_keys_it_does_not_know() -> None:
    tables = Tables()
    kit = Kit(tables)
    kit.add(ONE, SEALED)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.die()
    successor = kit.restarted()
    ((peer, found),) = successor.found()
    assert peer == ONE
    assert found == replace(FAST, remote=replace(REMOTE, esp=DesiredEsp((), None)))
    kit.host.open_tap(ONE)
    successor.reconcile({ONE: found}, None, 100.0)
    successor.reconcile({ONE: found}, None, 200.0)
    policy = tables.exit(Target(PEER_HOST, 4789))
    assert policy is not None
    assert tables.works(policy), "what its predecessor agreed goes on"
    assert 1001 in tables.spis(), "the peer may still send under it"
    assert kit.host.observe().vxlans[ONE].through


def test_what_is_not_sealed_is_not_adopted() -> None:
    tables = Tables()
    kit = Kit(tables)
    kit.add(ONE, SEALED)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.die()
    del tables.states[StateId(PEER_HOST, 2001)]
    assert kit.restarted().found() == [(ONE, DesiredVxlan(7000, False, None, through=False))]


def test_what_may_not_leave_in_clear_is_not_adopted_without_esp_either() -> None:
    """F3: a password was added after a crash, and this kernel has no ESP."""
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    strict = Reconciler(kit.host, "weave", 1376, 4789, permits_clear=lambda host: False)
    assert strict.found() == []
    strict.reconcile({ONE: None}, None, 1.0)
    assert kit.host.observe().vxlans == {}, "it would still receive"


def test_one_refusal_at_the_end_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.add(TWO, replace(FAST, vni=7001))
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    honest = kit.host.apply

    def apply(step: Operation) -> None:
        if step.peer == ONE:
            raise HostError("not this one")
        honest(step)

    monkeypatch.setattr(kit.host, "apply", apply)
    with pytest.raises(HostError, match="not this one"):
        kit.reconciler.remove_all()
    assert set(kit.host.observe().vxlans) == {ONE}


def test_a_renamed_device_is_deleted_and_told_of_at_the_next_look_at_everything() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    device = kit.host.devices.pop(Device.VXLAN.ifname(ONE))
    device.name = "bar0"
    kit.host.devices["bar0"] = device
    done = kit.reconciler.reconcile(kit.desired_ports, None, 1.0)
    assert "bar0" not in kit.host.devices
    assert any("bar0" in text for text in done.untold)
    assert set(kit.host.observe().vxlans) == {ONE}


def test_what_protects_another_routers_devices_stays() -> None:
    """Both run on this host, each with a UDP port of its own."""
    tables = Tables()
    ours, theirs = (Keeper(EspNetwork(port, has_secret=True), tables) for port in (4789, 6784))
    other = replace(REMOTE, host="192.0.2.9", esp=DesiredEsp((), EspKey(3001, b"x" * 36)))
    theirs.protect({TWO: other}, KernelState(), 0.0)
    before = tables.read()
    ours.protect({ONE: replace(REMOTE, esp=ESP)}, KernelState(), 0.0)
    assert tables.read() != before
    ours.remove_all(())
    assert tables.read() == before


class Rules:
    """As fastdp.kernel.nft.Guard, with nft gone or its rules."""

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.asked = 0

    def apply(self) -> None:
        raise AssertionError("it is for another port only")

    def restore(self) -> bool:
        self.asked += 1
        if self.error:
            raise HostError(self.error)
        return True


def test_rules_that_are_gone_come_back_and_are_told_of() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    rules = Rules()
    reconciler = Reconciler(kit.host, "weave", 1376, 4789, guard=rules)
    done = reconciler.reconcile(kit.desired_ports, None, 0.0)
    assert any("they are back" in text for text in done.untold)
    assert kit.host.observe().vxlans.keys() == {ONE}
    assert reconciler.reconcile(kit.desired_ports, {ONE}, 1.0).untold == ()
    assert rules.asked == 1, "nft is not asked for every port"


def test_while_the_rules_cannot_be_restored_the_taps_are_the_ports() -> None:
    """F11: an open door is no fast path; it is said once, and tried again with every round."""
    kit = Kit()
    for number, peer in enumerate((ONE, TWO)):
        kit.add(peer, replace(FAST, vni=7000 + number))
    kit.add(THREE, None)
    rules = Rules()
    reconciler = Reconciler(kit.host, "weave", 1376, 4789, guard=rules)
    reconciler.reconcile(kit.desired_ports, None, 0.0)
    rules.error = "nft is missing"
    done = reconciler.reconcile(kit.desired_ports, None, 1.0)
    assert any("nft is missing" in text for text in done.untold)
    assert dict(done.outcome.failed) == {ONE: "nft is missing", TWO: "nft is missing"}
    assert done.outcome.ready == ()
    assert done.settled == {ONE, TWO, THREE}
    assert kit.host.observe().vxlans == {}
    assert reconciler.reconcile(kit.desired_ports, {ONE}, 2.0).untold == ()
    assert kit.host.observe().vxlans == {}
    rules.error = ""
    reconciler.reconcile(kit.desired_ports, {ONE, TWO}, 3.0)
    assert kit.host.observe().vxlans.keys() == {ONE, TWO}


def test_a_device_that_cannot_be_looked_for_keeps_no_rules_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kit = Kit()
    kit.add(ONE, FAST)

    def refuse() -> list[str]:
        raise HostError("not even looking")

    monkeypatch.setattr(kit.host, "remove_strays", refuse)
    rules = Rules()
    done = Reconciler(kit.host, "weave", 1376, 4789, guard=rules).reconcile(
        kit.desired_ports, None, 0.0
    )
    assert rules.asked == 1
    assert "not even looking" in done.untold
    assert kit.host.observe().vxlans.keys() == {ONE}


class NewRules:
    """As fastdp.kernel.nft.Guard."""

    refuses = False
    applied = 0

    def apply(self) -> None:
        if self.refuses:
            raise HostError("no nft today")
        self.applied += 1

    def restore(self) -> bool:
        if not self.applied:
            self.apply()
            return True
        return False


def test_others_on_our_port_are_told() -> None:
    """t24: others' VXLAN devices on the UDP port of ours, whatever they came by."""
    kit = Kit()
    kit.add(ONE, FAST)
    kit.host.foreign = {6784}
    assert not kit.reconciler.reconcile(kit.desired_ports, None, 0.0).crowded
    kit.host.foreign = {4789}
    assert not kit.reconciler.reconcile(kit.desired_ports, {ONE}, 1.0).crowded
    assert kit.reconciler.reconcile(kit.desired_ports, None, 2.0).crowded
    nothing = kit.restarted(udp_port=0)
    kit.host.foreign = {0}
    assert not nothing.reconcile(kit.desired_ports, None, 2.0).crowded


def test_devices_move_to_another_port_and_their_protection_with_them() -> None:
    kit = Kit(Tables())
    assert kit.tables is not None
    kit.add(ONE, SEALED)
    kit.add(TWO, None)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    before = kit.tables.tables()
    assert before.states
    rules = NewRules()
    sealing = Keeper(replace(NETWORK, udp_port=6784), kit.tables)
    kit.reconciler.move(kit.desired_ports, 6784, sealing, rules, 1.0)
    assert kit.host.observe().vxlans == {}
    assert kit.host.observe().taps[ONE].port is not None  # the sleeve carries them meanwhile
    assert not kit.tables.tables().states
    assert rules.applied == 1
    done = kit.reconciler.reconcile(kit.desired_ports, None, 2.0)
    assert dict(done.outcome.ready) == {ONE: SEALED}
    assert dict(done.outcome.installed) == {ONE: 1001}
    assert done.untold == ()
    assert kit.host.observe().vxlans[ONE].udp_port == kit.reconciler.udp_port == 6784
    assert kit.reconciler.reconcile(kit.desired_ports, None, 3.0).done == ()


def test_without_rules_for_the_other_port_no_device_is_made() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    rules = NewRules()
    rules.refuses = True
    kit.reconciler.move(kit.desired_ports, 6784, None, rules, 1.0)
    done = kit.reconciler.reconcile(kit.desired_ports, {ONE}, 2.0)
    assert dict(done.outcome.failed) == {ONE: "no nft today"}
    assert kit.host.observe().vxlans == {}
    rules.refuses = False
    assert dict(kit.reconciler.reconcile(kit.desired_ports, {ONE}, 3.0).outcome.ready) == {
        ONE: FAST
    }


def test_no_port_at_all_is_the_taps() -> None:
    kit = Kit()
    kit.add(ONE, FAST)
    kit.reconciler.reconcile(kit.desired_ports, None, 0.0)
    kit.reconciler.move(kit.desired_ports, 0, None, None, 1.0)
    kit.reconciler.reconcile(kit.desired_ports, None, 2.0)
    assert kit.host.observe().vxlans == {}
    assert kit.host.observe().taps[ONE].port is not None
