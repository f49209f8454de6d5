"""Can a relay of the control plane, whatever it does, keep two peers from renewing their keys?

It may forge, change, replay, reorder and drop what passes it, in both directions, as often as it
likes. If it lets both messages of one try pass in the end, as it must where copies travel inside
the session (`link.link`), the keys must be new.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.kit.exchanges import counted
from weave_py.crypto.identity import Identity
from weave_py.crypto.pair_mac import MAC_BYTES
from weave_py.link.session import Session, SessionSettings
from weave_py.model.names import PeerUID
from weave_py.wire.packing import pack

LOW, HIGH = sorted(
    (Identity.create(random.Random(n).randbytes) for n in (21, 22)), key=lambda i: i.name
)
UIDS = {LOW.name: PeerUID(1), HIGH.name: PeerUID(2)}
TIMES = SessionSettings()


class HostileRelay(RuleBasedStateMachine):
    """Two sessions, and between them whatever Hypothesis thinks of (F9)."""

    def __init__(self) -> None:
        super().__init__()
        self.counting = counted()
        self.exchanges = self.counting.__enter__()

    def teardown(self) -> None:
        self.counting.__exit__(None, None, None)

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.now = 1000.0
        self.dice = random.Random(seed)
        self.index = itertools.count(1000)
        self.low, self.high = self._session(LOW, HIGH), self._session(HIGH, LOW)
        self.seen: dict[str, list[bytes]] = {"low": [], "high": []}
        """What the relay has seen on its way to each."""
        self.arrived: dict[str, list[bytes]] = {"low": [], "high": []}
        self.held: dict[str, list[bytes]] = {"low": [], "high": []}
        """What has not arrived at all yet."""
        self.high.peer_known(LOW.static_public, UIDS[LOW.name], self.now)
        self.low.peer_known(HIGH.static_public, UIDS[HIGH.name], self.now)
        self._settle()
        self._deliver("high")
        self._deliver("low")

    def _session(self, ours: Identity, theirs: Identity) -> Session:
        dice = random.Random(self.dice.random())
        return Session(
            ours, UIDS[ours.name], theirs.name, (1, 2), dice.randbytes, lambda: next(self.index)
        )

    def _throw(self, to: str, messages: Iterable[bytes]) -> None:
        """What is not true and new must not cost as much as one exchange of X25519."""
        before = self.exchanges.count
        for message in messages:
            self._side(to).receive_untrusted(message, self.now)
        assert self.exchanges.count == before
        self._settle()

    def _side(self, to: str) -> Session:
        return self.low if to == "low" else self.high

    def _settle(self) -> None:
        for session, to in ((self.low, "high"), (self.high, "low")):
            session.advance(self.now)
            messages = session.take_messages()
            self.seen[to] += messages
            self.held[to] += messages
        if self.low.current is not None:
            self.high.confirmed(self.low.current.theirs, self.now)

    @rule(
        to=st.sampled_from(["low", "high"]),
        kind=st.integers(0, 4),
        size=st.sampled_from([0, 1, 48, 96, 112, 512]),
        times=st.sampled_from([1, 3, 50]),
    )
    def forge(self, to: str, kind: int, size: int, times: int) -> None:
        """With the true handshake id, which a relay can read."""
        pending = self.low._pending
        number = pending.index if pending is not None else 7
        bodies = [pack([kind, number, self.dice.randbytes(size), 2**62]) for _ in range(times)]
        self._throw(to, [self.dice.randbytes(MAC_BYTES) + body for body in bodies])

    @rule(to=st.sampled_from(["low", "high"]), place=st.integers(0, 300), bit=st.integers(0, 7))
    def change(self, to: str, place: int, bit: int) -> None:
        """One bit of what is on its way."""
        changed = [bytearray(message) for message in self.held[to]]
        for message in changed:
            message[place % len(message)] ^= 1 << bit
        self._throw(to, map(bytes, changed))

    @rule(to=st.sampled_from(["low", "high"]), times=st.sampled_from([1, 20]))
    def replay(self, to: str, times: int) -> None:
        """All that has arrived, in any order."""
        old = self.arrived[to] * times
        self.dice.shuffle(old)
        self._throw(to, old)

    @rule(to=st.sampled_from(["low", "high"]))
    def reflect(self, to: str) -> None:
        """To each what it has said itself."""
        self._throw(to, self.seen["high" if to == "low" else "low"])

    @precondition(lambda self: any(self.held.values()))
    @rule(to=st.sampled_from(["low", "high"]))
    def let_pass_in_any_order(self, to: str) -> None:
        self.dice.shuffle(self.held[to])
        self._deliver(to)

    @rule(to=st.sampled_from(["low", "high"]))
    def drop(self, to: str) -> None:
        self.held[to].clear()

    @rule(seconds=st.sampled_from([0.1, 0.5, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """But not until the keys end before a renewal has got through."""
        self.now += seconds
        if self.now > self._born_at() + TIMES.renew_after + 30:
            self.now -= seconds
            self.renewal_gets_through()
        self._settle()

    @rule()
    def renewal_gets_through(self) -> None:
        """Garbage and old messages before the true ones, as many as it likes: keys are renewed."""
        before = self.low.handshakes
        self.now = max(self.now, self._born_at() + TIMES.renew_after)
        while not self.held["high"]:  # it had dropped the last try
            self.now += TIMES.first_retry
            self._settle()
        for kind, to in ((1, "high"), (2, "low")):
            self.forge(to, kind, 96, 50)
            self.replay(to, 1)
            self._deliver(to)
        assert self.low.handshakes == before + 1
        current, theirs = self.low.current, self.high.current
        assert current is not None
        assert theirs is not None
        assert current.send_key == theirs.receive_key
        assert current.receive_key == theirs.send_key

    def _born_at(self) -> float:
        assert self.low.current is not None
        return self.low.current.born_at

    def _deliver(self, to: str) -> None:
        held, self.held[to] = self.held[to], []
        self.arrived[to] += held
        for message in held:
            self._side(to).receive_untrusted(message, self.now)
        self._settle()

    @invariant()
    def the_keys_are_there(self) -> None:
        if hasattr(self, "low"):
            assert self.low.current is not None
            assert self.high.current is not None


TestHostileRelay = HostileRelay.TestCase
TestHostileRelay.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
