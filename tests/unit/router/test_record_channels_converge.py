"""Do honest routers hold the same records in the end, whatever happened on the way?

Routers in a ring publish, lose connections, forget and find each other, restart (with or without
the service), and hear of that sooner or later. Then all is quiet for a while: all must hold exactly
what each owner says now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import replace
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.kit.builders import identity, record
from tests.kit.counter_service import CounterService
from weave_py.mesh.authentic_unicasts import AuthenticUnicasts
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.mesh.service import Publish, Start
from weave_py.model.names import PeerName, PeerUID
from weave_py.router.record_channel import RecordChannel
from weave_py.router.unicast_budget import UnicastBudget

COUNT = 5
QUIET = 100.0  # seconds
NAMES = {identity(n).name: n for n in range(COUNT)}
nodes = st.integers(0, COUNT - 1)


class Publisher(CounterService):
    """Publishes what it is asked to."""

    def started(self, start: Start, now: float) -> None:
        self._records = start.records

    def requested(self, ticket: int, request: object, now: float) -> None:
        assert isinstance(request, Publish)
        self._outputs.append(request)


class Ring:
    """The graph, as all know it: both ends claim all connections."""

    def __len__(self) -> int:
        return COUNT - 1

    def degree(self, peer: PeerName) -> int | None:
        return 2

    def connected(self, peer: PeerName, among: Collection[PeerName]) -> Collection[PeerName]:
        return [name for name in among if NAMES[name] in around(NAMES[peer])]


def around(number: int) -> tuple[int, int]:
    return (number - 1) % COUNT, (number + 1) % COUNT


def name(number: int) -> PeerName:
    return identity(number).name


class Convergence(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.now = 100.0
        self.uids = count(1000, -1)  # lives have no order
        self.lives = [record(n) for n in range(COUNT)]
        self.known = [{name(n): self.lives[n] for n in range(COUNT)} for _ in range(COUNT)]
        self.wires: dict[tuple[int, int], deque[bytes]] = {}
        self.channels = [self.made(n, runs=True) for n in range(COUNT)]
        for number in range(COUNT):
            self.join(number, around(number)[1])

    def made(self, number: int, runs: bool) -> RecordChannel:
        made = RecordChannel(
            "test",
            Publisher() if runs else None,
            OwnedRecords(
                "test",
                identity(number),
                self.lives[number].uid,
                self.known[number].get,
            ),
            Ring(),
            AuthenticUnicasts(identity(number), self.lives[number].uid, self.known[number].get),
            UnicastBudget(),
            self.now,
            GossipSettings(),
        )
        made.start(None, self.now)
        return made

    def join(self, one: int, other: int) -> None:
        for here, there in ((one, other), (other, one)):
            self.channels[here].neighbour_left(name(there))
            self.wires[here, there] = deque()
        for here, there in ((one, other), (other, one)):
            self.channels[here].neighbour_joined(name(there), self.now)

    def collect(self) -> None:
        for here, channel in enumerate(self.channels):
            for to, body in channel.take_messages():
                self.wires[here, NAMES[to]].append(body)
            channel.take_effects()

    def deliver(self, wire: tuple[int, int], most: int) -> bool:
        self.collect()
        came = False
        here, there = wire
        while self.wires[wire] and most:
            most -= 1
            came = True
            body = self.wires[wire].popleft()
            self.channels[there].receive_gossip_untrusted(name(here), body, self.now)
        return came

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for channel in self.channels:
            channel.advance(self.now)

    @rule(number=nodes, slot=st.integers(0, 3), size=st.integers(0, 60))
    def publish(self, number: int, slot: int, size: int) -> None:
        payload = (b"%d/" % int(self.now * 1000) + bytes(60))[:size]
        self.now += 0.001
        if self.channels[number].service is not None:
            self.channels[number].request(1, Publish(slot, payload), self.now)

    @rule(number=nodes, side=st.integers(0, 1), most=st.integers(1, 5))
    def some_come(self, number: int, side: int, most: int) -> None:
        self.deliver((number, around(number)[side]), most)

    @rule()
    def all_come(self) -> None:
        while sum(self.deliver(wire, 100) for wire in list(self.wires)):
            pass

    @rule(number=nodes)
    def a_connection_breaks(self, number: int) -> None:
        self.collect()
        self.join(number, around(number)[1])

    @rule(seconds=st.sampled_from([0.03, 0.3, 1.5, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(here=nodes, other=nodes)
    def forget(self, here: int, other: int) -> None:
        if here != other and name(other) in self.known[here]:
            del self.known[here][name(other)]
            change = PeersChanged(forgotten={name(other)})
            self.channels[here].peers_changed(change, self.now)

    @rule(here=nodes, other=nodes)
    def find_again(self, here: int, other: int) -> None:
        """And the topology tells what it knows now."""
        known, life = self.known[here].get(name(other)), self.lives[other]
        self.known[here][name(other)] = life
        born = {name(other)} if known is None or known.uid != life.uid else set()
        reachable = {name(other)} if known is None else set()
        change = PeersChanged(reachable=reachable, born=born)
        if change:
            self.channels[here].peers_changed(change, self.now)

    @rule(number=nodes, runs=st.booleans())
    def restart(self, number: int, runs: bool) -> None:
        self.collect()
        self.lives[number] = replace(record(number), uid=PeerUID(next(self.uids)))
        self.known[number] = dict(self.known[number])  # what has been heard of the others stays
        self.known[number][name(number)] = self.lives[number]
        self.channels[number] = self.made(number, runs)
        for other in around(number):
            self.join(number, other)

    def teardown(self) -> None:
        for here in range(COUNT):
            for other in range(COUNT):
                self.find_again(here, other)
        for _ in range(int(QUIET)):
            self.all_come()
            self.pass_time(1.0)
        said = {
            name(n): dict(channel.records.payloads(name(n)))
            for n, channel in enumerate(self.channels)
        }
        for channel in self.channels:
            assert {owner: dict(channel.records.payloads(owner)) for owner in NAMES} == said
        assert len({channel.records.digest() for channel in self.channels}) == 1


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
