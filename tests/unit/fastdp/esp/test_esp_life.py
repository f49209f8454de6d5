"""Is nothing in clear, and nothing lost, at any moment between any two operations?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastdp.esp.desired import EspNetwork, PlannedEsp, Target, is_sealed, newest_inbound, plan
from fastdp.esp.steps import EspKeeper, EspSteps
from fastdp.esp.values import AddState, DeleteState, Operation, Rule, StateId, UpdatePolicy
from tests.kit.fake_xfrm import FakeXfrm
from weave_py.model.fast import DesiredEsp, EspKey, FastRemote
from weave_py.model.names import PeerName

PORT, PEER_PORT = 4789, 4790
SECRET = EspNetwork(PORT, has_secret=True)
LOCAL = ip_address("10.0.0.1")
A, B = PeerName(b"peer A"), PeerName(b"peer B")


def key(spi: int) -> EspKey:
    return EspKey(spi, spi.to_bytes(4, "big") * 9)


class Life(RuleBasedStateMachine):
    """Anything may happen to a host with two peers; what must hold is checked after every single
    operation."""

    HOSTS = ("10.0.0.2", "10.0.0.3", "192.168.7.2")
    TRUSTED = ip_network("192.168.7.0/24")

    @initialize()
    def begin(self) -> None:
        self.kernel, self.keeper, self.now = FakeXfrm(), EspKeeper(), 0.0
        self.spi = 1000
        self.network = SECRET
        self.desired_ports: dict[PeerName, FastRemote] = {}
        self.in_use: set[Target] = set()
        self.denies = False
        self.is_adopting = False

    @rule(
        peer=st.sampled_from((A, B)),
        host=st.sampled_from(HOSTS),
        is_agreed=st.booleans(),
    )
    def renew(self, peer: PeerName, host: str, is_agreed: bool) -> None:
        """A new epoch beside the last one, if there was one."""
        self.spi += 2
        old = self.desired_ports.get(peer)
        keys = old.esp.inbound[-1:] if old is not None and old.esp is not None else ()
        last = old.esp.outbound if old is not None and old.esp is not None else None
        outbound = key(self.spi + 1) if is_agreed else last
        esp = DesiredEsp((*keys, key(self.spi)), outbound)
        self.desired_ports[peer] = FastRemote("10.0.0.1", host, PEER_PORT, 77, esp)
        self.reconcile()

    @rule(peer=st.sampled_from((A, B)), host=st.sampled_from(HOSTS))
    def go_plain(self, peer: PeerName, host: str) -> None:
        self.desired_ports[peer] = FastRemote("10.0.0.1", host, PEER_PORT, 77, None)
        self.reconcile()

    @precondition(lambda self: self.desired_ports)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A session's keys, or all of the peer."""
        peer = data.draw(st.sampled_from(sorted(self.desired_ports)))
        if data.draw(st.booleans()):
            del self.desired_ports[peer]
        else:
            self.desired_ports[peer] = replace(self.desired_ports[peer], esp=DesiredEsp((), None))
        self.reconcile()

    @rule(is_trusting=st.booleans())
    def trust(self, is_trusting: bool) -> None:
        self.network = EspNetwork(PORT, True, (self.TRUSTED,) if is_trusting else ())

    @rule()
    def restart(self) -> None:
        """What the predecessor's devices do goes on until its peers are known again."""
        self.keeper, self.desired_ports = EspKeeper(), {}
        self.is_adopting = True
        self.reconcile()

    @rule()
    def stop_adopting(self) -> None:
        self.is_adopting = False
        self.reconcile()

    @precondition(lambda self: self.kernel.states)
    @rule(data=st.data(), is_deleted=st.booleans())
    def touch(self, data: st.DataObject, is_deleted: bool) -> None:
        """A packet crosses, or somebody deletes a state."""
        ids = sorted(self.kernel.states, key=str)
        chosen = data.draw(st.sampled_from(ids))
        if is_deleted:
            del self.kernel.states[chosen]
            self.reconcile()
        else:
            self.kernel.use(chosen)

    @rule(seconds=st.sampled_from((0.1, 5.0, 20.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.reconcile()

    @rule()
    def reconcile(self) -> None:
        """ESP first, then the devices, then what is left over."""
        wanted = plan(self.network, self.desired_ports)
        worked = {t for t in self.in_use if (p := self.kernel.exit(t)) and self.kernel.works(p)}
        steps = self.keeper.steps(wanted, self.kernel.tables(), self.in_use, self.now)
        for operation in steps.before:
            self._apply(operation, wanted)
        self.denies = True
        self._check_exits(self.in_use | wanted.exits.keys() | wanted.clear, wanted)
        adopted = self.in_use if self.is_adopting else set()
        self.in_use = set(wanted.exits) | set(wanted.clear) | adopted
        for operation in steps.after:
            self._apply(operation, wanted)
        self._check_exits(self.in_use, wanted)
        self._check_continuity(worked, wanted)
        for peer_remote in self.desired_ports.values():
            told = newest_inbound(peer_remote, self.kernel.tables())
            assert told == 0 or StateId(LOCAL, told) in self.kernel.states

    def _apply(self, operation: Operation, wanted: PlannedEsp) -> None:
        sealed = {p.selector for p in self.kernel.policies.values() if self.kernel.works(p)}
        held = {t for t in self.in_use if self.kernel.exit(t) and t not in wanted.clear}
        if isinstance(operation, DeleteState):
            assert operation.state.id not in wanted.inbound
            assert not any(
                p.spi == operation.state.spi and self.kernel.works(p)
                for p in self.kernel.policies.values()
            ), "a state that seals was deleted"
        self.kernel.apply(operation)
        now_sealed = {p.selector for p in self.kernel.policies.values() if self.kernel.works(p)}
        if isinstance(operation, UpdatePolicy) and operation.policy.rule is Rule.SEALED:
            assert operation.policy.selector in now_sealed, "swapped to a state that is not there"
        if isinstance(operation, (AddState, DeleteState)):
            assert sealed <= now_sealed
        assert all(map(self.kernel.exit, held)), "for a moment a device could send in clear"
        if self.denies:
            self._check_entrances()

    def _check_entrances(self) -> None:
        ways_in = [p for p in self.kernel.policies.values() if p.selector.direction == 0]
        everybody = [p for p in ways_in if p.rule is Rule.SEALED]
        assert len(everybody) == 2
        assert all(p.selector.source == self.TRUSTED for p in ways_in if p not in everybody)

    def _check_exits(self, targets: set[Target], wanted: PlannedEsp) -> None:
        for target in targets:
            policy = self.kernel.exit(target)
            if policy is None:
                assert self.network.permits_clear(target.host), "a device could send in clear"
            else:
                assert policy.rule is not Rule.ANYTHING

    def _check_continuity(self, worked: set[Target], wanted: PlannedEsp) -> None:
        """Where nothing new is agreed, what worked goes on working."""
        for target in (worked & self.in_use) - wanted.clear:
            way = wanted.exits.get(target)
            if way is None or (way.outbound is None and way.keeps):
                policy = self.kernel.exit(target)
                assert policy is not None
                assert self.kernel.works(policy), f"the way to {target.host} was cut"

    @invariant()
    def no_key_twice(self) -> None:
        if hasattr(self, "kernel"):
            assert len(set(self.kernel.keys_used)) == len(self.kernel.keys_used)

    @invariant()
    def what_a_device_sends_is_sealed(self) -> None:
        if hasattr(self, "kernel") and self.denies:
            self._check_entrances()
            for target in self.in_use:
                policy = self.kernel.exit(target)
                assert policy is not None or target.host in self.TRUSTED

    def teardown(self) -> None:
        """Everything settles, and only what is wished for is left."""
        if not hasattr(self, "kernel"):
            return
        self.is_adopting = False
        self.renew(A, self.HOSTS[0], True)
        self.desired_ports = {A: self.desired_ports[A]}
        for _ in range(3):
            self.reconcile()
            self.now += 20.0
        self.reconcile()
        wanted = plan(self.network, self.desired_ports)
        ids = set(wanted.inbound)
        ids |= {way.outbound.state.id for way in wanted.exits.values() if way.outbound}
        assert set(self.kernel.states) <= ids
        assert len(self.kernel.policies) == len(wanted.entrances) + 1
        assert is_sealed(self.desired_ports[A], self.kernel.tables())
        steps = self.keeper.steps(wanted, self.kernel.tables(), self.in_use, self.now)
        assert steps == EspSteps((), ())


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
