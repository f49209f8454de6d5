"""Are connections given up that the network has outgrown, and no others?"""

from __future__ import annotations

from tests.kit.builders import synthetic_name
from tests.kit.calling import NOBODY, US, S, at, called, desired_ports, peers, targets
from weave_py.model.names import Endpoint, PeerName


def large(count: int = 100) -> dict[PeerName, tuple[Endpoint, ...]]:
    return peers(range(count))


def test_connections_of_smaller_times_are_given_up_after_a_while() -> None:
    made, known = targets(), large()
    called_before = frozenset(peers(range(20)))
    made.discover(known, called_before, 200, 0.0, known, called_before)
    assert made.next_trim() is None, "all peers are new"
    start = S.known_after
    made.discover(known, called_before, 200, start, known, called_before)
    assert made.take_superfluous(start) == []
    deadline = made.next_trim()
    assert deadline is not None
    assert deadline.at == start + S.trim_after
    spare = made.take_superfluous(start + S.trim_after)
    kept = called_before - set(spare)
    assert spare
    longest = set(sorted(called_before)[: S.kept_longest])
    assert kept - longest <= desired_ports(US, {**known, US: (at(500),)})
    assert longest <= kept
    assert made.take_superfluous(start + S.trim_after) == [], "each is said once"


def test_none_is_given_up_for_peers_that_have_just_been_made_up() -> None:
    """F5e: honest routers ended their connections with each other in favour of fakes."""
    made = targets()
    honest = peers(range(70))
    called_before = frozenset(peers(range(8)))
    made.discover(honest, called_before, 200, 0.0, honest, called_before)
    made.discover(honest, called_before, 200, S.known_after, honest, called_before)
    settled = called_before - set(made.take_superfluous(S.known_after + S.trim_after))
    assert settled
    fakes = peers(range(1000, 3000))
    now = S.known_after + 2 * S.trim_after
    everybody = {**honest, **fakes}
    for _ in range(int(S.known_after) - 10):
        made.discover(everybody, settled, 200, now, everybody, settled)
        assert made.take_superfluous(now) == []
        now += 1.0
    made.discover(everybody, settled, 200, now + 20, everybody, settled)
    made.discover(everybody, settled, 200, now + 30, everybody, settled)
    later = settled - set(made.take_superfluous(now + 30))
    assert len(later) >= S.kept_longest, "and with some for ever"


def test_a_smaller_network_gives_up_none() -> None:
    made, known = targets(), large(S.trim_above)
    called_before = frozenset(peers(range(20)))
    made.discover(known, called_before, 200, 0.0, known, called_before)
    assert made.next_trim() is None
    assert made.take_superfluous(100.0) == []


def test_who_called_us_is_not_ours_to_give_up() -> None:
    made, known = targets(), large()
    made.discover(known, frozenset(peers(range(20))), 200, 0.0, known, frozenset())
    assert made.take_superfluous(100.0) == []


def test_a_target_that_rests_is_called_again_when_nobody_reaches_it() -> None:
    made = targets("a")
    (other, target) = synthetic_name(1), synthetic_name(2)
    assert called(made, 0.0) == ["a"]
    made.reached("a", target)
    made.rest("a")
    made.failed("a", "made room", 0.0)
    made.discover(peers([1, 2]), frozenset([other]), 0, 1.0, {other, target})
    assert called(made, 1000.0) == []
    assert made.next_deadline() is None
    (view,) = made.unconnected()
    assert view.retry_at is None
    made.discover(peers([1, 2]), frozenset([other]), 0, 1001.0, {other})
    assert called(made, 1001.0) == ["a"]
    made.reached("a", target)
    made.failed("a", "broken", 1002.0)
    made.discover(peers([1, 2]), frozenset([other]), 0, 1003.0, {other, target})
    assert called(made, 1010.0) == ["a"], "it was reached, so it does not rest any more"


def test_who_has_nobody_at_all_calls_a_resting_target_too() -> None:
    made = targets("a")
    assert called(made, 0.0) == ["a"]
    made.reached("a", synthetic_name(2))
    made.rest("a")
    made.failed("a", "made room", 0.0)
    made.discover(peers([2]), NOBODY, 0, 1.0)
    assert called(made, 10.0) == ["a"]
