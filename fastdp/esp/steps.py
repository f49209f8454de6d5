"""What must change in the kernel for ESP now, in which order, and what must wait? Sans-I/O.

Of two rounds of operations the first only adds protection and keys, and swaps one key for
another; it comes before VXLAN devices are changed. The second takes away what nobody uses any
more, and comes after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import blake2s
from itertools import count

from fastdp.esp.desired import Exit, PlannedEsp, Target, way_out
from fastdp.esp.values import (
    AddPolicy,
    Address,
    AddState,
    DeletePolicy,
    DeleteState,
    Direction,
    Operation,
    Policy,
    Rule,
    Selector,
    State,
    StateId,
    UpdatePolicy,
    XfrmTables,
    request_id,
)
from weave_py.model.deadlines import Deadline

_MAX_HELD = 4
"""States from one host to another that wait for something to be agreed: a session has three."""
_REMEMBER = 3600.0
"""Seconds that a used key is remembered: far longer than a session could wish for it."""


@dataclass(frozen=True, slots=True)
class EspSteps:
    """Operations around a change of VXLAN devices, each in order."""

    before: tuple[Operation, ...]
    after: tuple[Operation, ...]


@dataclass(slots=True)
class _Idle:
    """A state that nothing desired ports for."""

    since: float
    packets: int


@dataclass(slots=True)
class _Round:
    """What one call of `steps` knows and finds out."""

    wanted: PlannedEsp
    states: dict[StateId, State]
    policies: dict[Selector, Policy]
    in_use: Collection[Target]
    before: list[Operation] = field(default_factory=list)
    after: list[Operation] = field(default_factory=list)
    needed: set[StateId] = field(default_factory=set)


class EspKeeper:
    """Remembers what the kernel cannot say: how long a state has been idle, and which keys were
    used. Call `steps` whenever something changed, and at `next_deadline`."""

    def __init__(self, grace: float = 15.0) -> None:
        """`grace`: seconds that a state stays after its last use. A session keeps its previous
        epoch for 10 s."""
        self._grace = grace
        self._idle: dict[StateId, _Idle] = {}
        self._used: dict[bytes, float] = {}
        self._due: float | None = None

    def steps(
        self, wanted: PlannedEsp, actual: XfrmTables, in_use: Collection[Target], now: float
    ) -> EspSteps:
        """What to do now. `in_use` is where devices in the kernel send, wanted or not.

        What is returned counts as done; say so (`refused`) of what was not.
        """
        self._used = {key: at for key, at in self._used.items() if now - at < _REMEMBER}
        this = _Round(
            wanted,
            {state.id: state for state in actual.states},
            {policy.selector: policy for policy in actual.policies},
            in_use,
        )
        self._open_entrances(this)
        for state_id, add in wanted.inbound.items():
            self._add_state(this, add, now)
            this.needed.add(state_id)
        for target in sorted(wanted.exits, key=_order):
            self._open_exit(this, target, wanted.exits[target], now)
        self._close_exits(this)
        self._retire_states(this, now)
        return EspSteps(tuple(this.before), tuple(this.after))

    def refused(self, operation: Operation) -> None:
        """The kernel refused it, or it was not tried."""
        if isinstance(operation, AddState):
            self._used.pop(_digest(operation.key), None)

    def next_deadline(self) -> Deadline | None:
        return None if self._due is None else Deadline(self._due, "retire ESP states")

    def _open_entrances(self, this: _Round) -> None:
        """The rule for everybody comes last and goes first, so that what is trusted never stops."""
        for policy in this.wanted.entrances:
            _put(this, policy)
        kept = {policy.selector for policy in this.wanted.entrances}
        stale = [p for p in _own(this, Direction.IN) if p.selector not in kept]
        # Less trust counts at once; the end of default-deny does not, while devices are changed.
        where = this.before if this.wanted.network.has_secret else this.after
        where += [DeletePolicy(policy) for policy in sorted(stale, key=lambda p: -p.priority)]

    def _open_exit(self, this: _Round, target: Target, way: Exit, now: float) -> None:
        selector = way_out(target)
        current = this.policies.get(selector)
        if way.outbound is not None and self._add_state(this, way.outbound, now):
            spi = way.outbound.state.spi
            policy = Policy(selector, Rule.SEALED, way.outbound.state.reqid, spi)
        elif way.keeps and current is not None and _works(this, target, current):
            policy = current
        else:
            policy = _closed(this, target)
        if policy.rule is Rule.SEALED:
            this.needed.add(StateId(target.host, policy.spi))
        _put(this, policy)

    def _close_exits(self, this: _Round) -> None:
        wanted = this.wanted
        for target in sorted(set(this.in_use) - wanted.exits.keys(), key=_order):
            # A device sends where nobody desired ports (any more, or yet). What protects it stays.
            if way_out(target) not in this.policies and not wanted.network.permits_clear(
                target.host
            ):
                this.before.append(AddPolicy(_closed(this, target)))
        kept = {way_out(target) for target in wanted.exits}
        kept |= {way_out(target) for target in set(this.in_use) - wanted.clear}
        for policy in _own(this, Direction.OUT):
            if policy.selector not in kept:
                this.after.append(DeletePolicy(policy))
            elif policy.rule is Rule.SEALED:
                this.needed.add(StateId(policy.selector.destination.network_address, policy.spi))

    def _add_state(self, this: _Round, add: AddState, now: float) -> bool:
        """Whether it is, or gets, into the kernel, for the right port."""
        if add.state.id in this.states:
            return this.states[add.state.id].port == add.state.port
        digest = _digest(add.key)
        if digest in self._used:
            return False
        self._used[digest] = now
        this.states[add.state.id] = add.state
        this.before.append(AddState(add.state, add.key))
        return True

    def _retire_states(self, this: _Round, now: float) -> None:
        reqid = request_id(this.wanted.network.udp_port)
        idle = [s for s in this.states.values() if s.id not in this.needed and s.reqid == reqid]
        alive = {target.host for target in (*this.wanted.exits, *this.in_use)}
        before, self._idle = self._idle, {}
        for state in idle:
            seen = before.get(state.id)
            # Who still uses it has not swapped yet; but whoever is gone has no say.
            is_used = seen is not None and state.packets != seen.packets
            if seen is None or (is_used and _is_about(state, alive)):
                seen = _Idle(now, state.packets)
            self._idle[state.id] = seen
        held = self._held(this, idle)
        waiting = [s for s in idle if s.id not in held]
        for state in waiting:
            if now >= self._idle[state.id].since + self._grace:
                this.after.append(DeleteState(state))
        ends = [self._idle[state.id].since + self._grace for state in waiting]
        self._due = min((end for end in ends if end > now), default=None)

    def _held(self, this: _Round, idle: list[State]) -> set[StateId]:
        """Those under which a peer may be sending until something else is agreed."""
        exits, clear = this.wanted.exits, this.wanted.clear
        hosts = {t.host for t, way in exits.items() if way.outbound is None and way.keeps}
        hosts |= {t.host for t in this.in_use if t not in exits and t not in clear}
        found: dict[tuple[Address, Address], count[int]] = {}
        held = set()
        for state in sorted(idle, key=lambda s: -self._idle[s.id].since):
            number = next(found.setdefault((state.source, state.destination), count()))
            if _is_about(state, hosts) and number < _MAX_HELD:
                held.add(state.id)
        return held


def _put(this: _Round, policy: Policy) -> None:
    current = this.policies.get(policy.selector)
    if current is None:
        this.before.append(AddPolicy(policy))
    elif current != policy:
        this.before.append(UpdatePolicy(policy))
    this.policies[policy.selector] = policy


def _own(this: _Round, direction: Direction) -> Iterator[Policy]:
    """Those of our own port: another router's are not ours to delete."""
    reqid = request_id(this.wanted.network.udp_port)
    for policy in list(this.policies.values()):
        if policy.reqid == reqid and policy.selector.direction is direction:
            yield policy


def _works(this: _Round, target: Target, policy: Policy) -> bool:
    state = this.states.get(StateId(target.host, policy.spi))
    return policy.rule is Rule.SEALED and state is not None and state.port == target.port


def _closed(this: _Round, target: Target) -> Policy:
    return Policy(way_out(target), Rule.NOTHING, request_id(this.wanted.network.udp_port))


def _is_about(state: State, hosts: Collection[Address]) -> bool:
    return state.source in hosts or state.destination in hosts


def _order(target: Target) -> tuple[int, bytes, int]:
    return target.host.version, target.host.packed, target.port


def _digest(key: bytes) -> bytes:
    """Of a key, so that what is remembered opens nothing."""
    return blake2s(key).digest()
