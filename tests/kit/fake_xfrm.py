"""A kernel's ESP states and policies in Python, as strict as the real one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fastdp.esp.desired import Target, way_out
from fastdp.esp.values import (
    AddPolicy,
    AddState,
    DeletePolicy,
    DeleteState,
    Operation,
    Policy,
    Rule,
    Selector,
    State,
    StateId,
    UpdatePolicy,
    XfrmTables,
)


@dataclass(slots=True)
class FakeXfrm:
    """Raises AssertionError (or KeyError) where the kernel would refuse."""

    states: dict[StateId, State] = field(default_factory=dict)
    policies: dict[Selector, Policy] = field(default_factory=dict)
    keys_used: list[bytes] = field(default_factory=list)

    def tables(self) -> XfrmTables:
        return XfrmTables(frozenset(self.states.values()), frozenset(self.policies.values()))

    def apply(self, operation: Operation) -> None:
        match operation:
            case AddState(state, key):
                assert state.id not in self.states
                self.states[state.id] = state
                self.keys_used.append(key)
            case DeleteState(state):
                del self.states[state.id]
            case AddPolicy(policy):
                assert policy.selector not in self.policies
                self.policies[policy.selector] = policy
            case UpdatePolicy(policy):
                assert policy.selector in self.policies
                self.policies[policy.selector] = policy
            case DeletePolicy(policy):
                del self.policies[policy.selector]

    def use(self, state_id: StateId) -> None:
        state = self.states[state_id]
        self.states[state_id] = replace(state, packets=state.packets + 1)

    def exit(self, target: Target) -> Policy | None:
        return self.policies.get(way_out(target))

    def spis(self) -> set[int]:
        return {state.spi for state in self.states.values()}

    def works(self, policy: Policy) -> bool:
        """Whether what it selects really leaves, sealed."""
        state_id = StateId(policy.selector.destination.network_address, policy.spi)
        return policy.rule is Rule.SEALED and state_id in self.states
