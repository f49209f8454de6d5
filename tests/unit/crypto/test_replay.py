"""Does the window take every record once, however late within its width?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from weave_py.crypto.replay import WIDTH, ReplayWindow


class AgainstASet(RuleBasedStateMachine):
    """The window beside a model that remembers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.window = ReplayWindow()
        self.seen: set[int] = set()
        self.highest = -1

    def try_counter(self, counter: int) -> None:
        if counter < 0:
            return
        new = counter > self.highest - WIDTH and counter not in self.seen
        assert self.window.accepts(counter) is new
        assert self.window.mark(counter) is new
        if new:
            self.seen.add(counter)
            self.highest = max(self.highest, counter)

    @rule(step=st.integers(1, 3), count=st.integers(1, 1100))
    def run_ahead(self, step: int, count: int) -> None:
        for _ in range(count):
            self.try_counter(self.highest + step)

    @rule(jump=st.sampled_from([1, 7, 1023, 1024, 1025, 8191, 8192, 8193, 16383, 16384, 10**6]))
    def jump_ahead(self, jump: int) -> None:
        self.try_counter(self.highest + jump)

    @rule(back=st.integers(0, WIDTH + 3), count=st.integers(1, 20))
    def come_late(self, back: int, count: int) -> None:
        for offset in range(count):
            self.try_counter(self.highest - back + offset)

    @rule(edge=st.integers(-3, 3))
    def come_at_the_edge(self, edge: int) -> None:
        self.try_counter(self.highest - WIDTH + edge)

    @invariant()
    def repeats_are_refused(self) -> None:
        for counter in (self.highest, self.highest - 1, self.highest - WIDTH + 1):
            if counter in self.seen:
                assert not self.window.accepts(counter)
        assert self.window.highest == self.highest


TestAgainstASet = AgainstASet.TestCase


@given(st.lists(st.integers(0, 3 * WIDTH), max_size=300))
def test_any_order_against_a_set(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), -1
    for counter in counters:
        new = counter > highest - WIDTH and counter not in seen
        assert window.mark(counter) is new
        seen.add(counter)
        highest = max(highest, counter)


def test_looking_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.accepts(10**9)
    assert window.accepts(0)
    assert window.mark(0)
    assert not window.accepts(0)


def test_the_whole_window_backwards() -> None:
    window = ReplayWindow()
    top = 2**64 - 1
    assert window.mark(top)
    for counter in range(top - 1, top - WIDTH, -1):
        assert window.mark(counter)
    assert not window.mark(top - WIDTH)
    assert not any(window.accepts(counter) for counter in range(top - 2 * WIDTH, top + 1))
