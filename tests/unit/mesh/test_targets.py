"""Are the right addresses called, at the right times, never too many and never ourself?"""

from __future__ import annotations

import itertools
import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import synthetic_name
from tests.kit.calling import NOBODY, US, S, at, called, desired_ports, next_at, peers, targets
from weave_py.mesh.targets import Targets, TargetSettings
from weave_py.model.names import PeerName, parse_target

# --- calling again ---------------------------------------------------------------------------


def test_a_target_is_called_at_once_and_once() -> None:
    made = targets("a", "b:1")
    (first, second) = made.due(0.0)
    assert (first.key, first.host, first.port) == ("a", "a", 6783)
    assert (second.key, second.host, second.port) == ("b:1", "b", 1)
    assert called(made, 100.0) == []


def test_pauses_grow_up_to_the_longest() -> None:
    made = targets("a")
    now, pauses = 0.0, []
    for _ in range(15):
        assert called(made, now) == ["a"]
        made.failed("a", "refused", now)
        pauses.append(next_at(made) - now)
        assert called(made, next_at(made) - 1e-6) == []
        now = next_at(made)
    assert pauses[0] == S.first_retry
    for one, following in itertools.pairwise(pauses):
        assert following == pytest.approx(min(one * S.retry_factor, S.longest_retry))
    assert pauses[-1] == pytest.approx(S.longest_retry)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30))
def test_pauses_are_within_bounds_whatever_the_dice(dice: list[float]) -> None:
    rolls = iter(dice)
    made = Targets(US, lambda: next(rolls))
    made.connect([parse_target("a")], 0.0)
    now, interval = 0.0, 0.0
    for _ in dice:
        assert called(made, now) == ["a"]
        made.failed("a", "x", now)
        interval = min(max(interval * S.retry_factor, S.first_retry), S.longest_retry)
        assert 0.5 * interval <= next_at(made) - now + 1e-6
        assert next_at(made) - now <= 1.5 * interval + 1e-6
        now = next_at(made)


def test_two_routers_do_not_stay_in_step() -> None:
    dice = random.Random(1)
    ats = set()
    for _ in range(10):
        made = Targets(US, dice.random)
        made.connect([parse_target("a")], 0.0)
        made.due(0.0)
        made.failed("a", "x", 0.0)
        ats.add(next_at(made))
    assert len(ats) == 10


def test_success_forgets_the_growth() -> None:
    made = targets("a")
    for _ in range(5):
        called(made, 1000.0)
        made.failed("a", "x", 1000.0)
    called(made, 2000.0)
    made.reached("a", synthetic_name(1))
    made.set_connected(frozenset([synthetic_name(1)]))
    assert made.next_deadline() is None
    assert called(made, 3000.0) == []
    made.set_connected(NOBODY)
    made.failed("a", "connection lost", 3000.0)
    assert next_at(made) == 3000.0 + S.first_retry


def test_a_pause_asked_for_is_kept() -> None:
    made = targets("a")
    called(made, 0.0)
    made.failed("a", "made room", 0.0, pause=60.0)
    assert next_at(made) == 60.0


def test_who_was_only_busy_is_called_as_often_as_before() -> None:
    """F14: it attends to some of those who call at a time; whoever calls rarely would wait long."""
    made = Targets(US, lambda: 0.5)
    made.connect([parse_target("a")], 0.0)
    now = 0.0
    for _ in range(20):
        assert called(made, now) == ["a"]
        made.failed("a", "busy", now, backs_off=False)
        assert next_at(made) - now == pytest.approx(S.first_retry)
        now = next_at(made)


def test_an_answer_for_a_forgotten_target_is_nothing() -> None:
    made = targets("a")
    called(made, 0.0)
    made.forget(["a"])
    made.failed("a", "x", 1.0)
    made.reached("a", synthetic_name(1))
    assert made.next_deadline() is None
    assert made.unconnected() == []


# --- what users say --------------------------------------------------------------------------


def test_connect_again_calls_at_once() -> None:
    made = targets("a")
    called(made, 0.0)
    made.failed("a", "x", 0.0, pause=100.0)
    made.connect([parse_target("a")], 5.0)
    assert called(made, 5.0) == ["a"]
    assert made.configured == ("a",)


def test_replace_forgets_the_others() -> None:
    made = targets("a", "b")
    made.connect([parse_target("b"), parse_target("c")], 1.0, replace=True)
    assert made.configured == ("b", "c")
    made.connect([], 1.0, replace=True)
    assert not made.configured


def test_forget_stops_only_what_was_configured() -> None:
    made = targets("a", "b")
    made.discover(peers([1]), NOBODY, 9, 0.0)
    made.forget(["a", "unknown", at(1).text])
    assert made.configured == ("b",)
    assert called(made, 100.0) == ["b", at(1).text]


def test_leads_to_knows_who_answered() -> None:
    made = targets("a")
    called(made, 0.0)
    assert not made.leads_to(synthetic_name(1))
    made.reached("a", synthetic_name(1))
    assert made.leads_to(synthetic_name(1))
    made.forget(["a"])
    assert not made.leads_to(synthetic_name(1))


# --- never -----------------------------------------------------------------------------------


def test_a_target_that_is_ourself_is_seldom_called() -> None:
    """Not never: who can bend one call back to us would have put an end to all calls."""
    made = targets("a")
    called(made, 0.0)
    made.reached("a", US)
    made.failed("a", "cannot connect to ourself", 0.0, pause=60.0)
    assert called(made, 59.9) == []
    (view,) = made.unconnected()
    assert view.error == "cannot connect to ourself"
    assert called(made, 60.0) == ["a"]


@pytest.mark.parametrize("found", [US, synthetic_name(2)])
def test_a_discovered_address_that_leads_to_somebody_else_is_called_once(found: PeerName) -> None:
    """Two sites number their hosts alike: the address of one's peer is here another's, or ours.

    However often the topology changes meanwhile.
    """
    made = targets()
    known = peers([1, 2])
    made.discover(known, frozenset([synthetic_name(2)]), 9, 0.0)
    assert called(made, 10.0) == [at(1).text]
    made.reached(at(1).text, found)
    made.failed(at(1).text, "cannot connect to ourself", 10.0)
    for now in range(11, 100):
        made.discover(known, frozenset([synthetic_name(2)]), 9, float(now))
        assert called(made, float(now)) == []
    known[synthetic_name(1)] = (at(1), at(3))
    made.discover(known, frozenset([synthetic_name(2)]), 9, 100.0)
    assert called(made, 110.0) == [at(3).text], "but where it may be, too"


# --- discovered ------------------------------------------------------------------------------


def test_a_small_network_becomes_a_full_mesh() -> None:
    made = targets()
    others = range(1, S.full_mesh_up_to)  # with us: exactly as many as that
    assert len(others) == S.full_mesh_up_to - 1
    made.discover(peers(others), NOBODY, 1000, 0.0)
    found = set()
    while keys := called(made, 10.0):
        for key in keys:
            made.failed(key, "x", 10.0)
        found.update(keys)
    assert found == {at(n).text for n in others}


def test_a_large_network_is_sparse_and_well_connected() -> None:
    known = peers(range(200))
    graph: dict[PeerName, set[PeerName]] = {name: set() for name in known}
    for name in known:
        wanted = desired_ports(name, known)
        assert len(wanted) == S.sparse_degree
        assert wanted == desired_ports(name, known), "the same choice every time"
        for other in wanted:
            graph[name].add(other)
            graph[other].add(name)
    degrees = [len(others) for others in graph.values()]
    assert max(degrees) < 5 * S.sparse_degree, "nobody is everybody's favourite"
    assert eccentricity(graph, synthetic_name(0)) <= 4


def eccentricity(graph: dict[PeerName, set[PeerName]], start: PeerName) -> int:
    far = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for other in graph[name] - far.keys():
            far[other] = far[name] + 1
            queue.append(other)
    assert far.keys() == graph.keys(), "in one piece"
    return max(far.values())


def test_the_lower_named_calls_and_the_other_waits() -> None:
    made = targets()
    made.discover(peers([499, 501]), NOBODY, 9, 50.0)
    assert called(made, 50.0) == [at(501).text]
    assert next_at(made) == 50.0 + S.courtesy
    assert called(made, 50.0 + S.courtesy) == [at(499).text]


def test_connected_peers_are_not_called() -> None:
    made = targets()
    known = peers([1, 2])
    made.discover(known, frozenset([synthetic_name(1)]), 9, 0.0)
    assert called(made, 10.0) == [at(2).text]
    made.reached(at(2).text, synthetic_name(2))
    made.discover(known, frozenset(known), 9, 11.0)
    assert made.next_deadline() is None
    made.discover(known, frozenset([synthetic_name(1)]), 9, 12.0)
    assert called(made, 20.0) == [at(2).text]


def test_who_connects_meanwhile_is_not_called() -> None:
    made = targets()
    made.discover(peers([1]), NOBODY, 9, 0.0)
    made.set_connected(frozenset([synthetic_name(1)]))
    assert called(made, 10.0) == []


def test_room_bounds_what_is_called() -> None:
    made = targets()
    made.discover(peers(range(1, 20)), NOBODY, 3, 0.0)
    assert len(called(made, 10.0)) == 3
    made = targets()
    made.discover(peers(range(1, 20)), NOBODY, -5, 0.0)
    assert called(made, 10.0) == []


def test_who_has_no_room_is_left_alone_for_a_while() -> None:
    made = targets()
    connected = frozenset([synthetic_name(3)])
    made.leave_alone(synthetic_name(1), until=60.0)
    made.discover(peers([1, 2, 3]), connected, 9, 0.0)
    assert called(made, 10.0) == [at(2).text]
    made.discover(peers([1, 2, 3]), connected, 9, 59.0)
    assert called(made, 59.5) == []
    made.discover(peers([1, 2, 3]), connected, 9, 60.0)
    assert called(made, 70.0) == [at(1).text]


def test_who_has_nobody_else_calls_it_all_the_same() -> None:
    made = targets()
    made.leave_alone(synthetic_name(1), until=60.0)
    made.discover(peers([1]), NOBODY, 9, 0.0)
    assert called(made, 10.0) == [at(1).text]


def test_who_disappears_is_not_called_again() -> None:
    made = targets()
    made.discover(peers([1, 2]), NOBODY, 9, 0.0)
    made.discover(peers([2]), NOBODY, 9, 1.0)
    assert called(made, 10.0) == [at(2).text]
    made.discover({}, NOBODY, 9, 11.0)
    assert [view.address for view in made.unconnected()] == [at(2).text], "it is being called"
    made.failed(at(2).text, "x", 12.0)
    made.discover({}, NOBODY, 9, 13.0)
    assert made.unconnected() == []
    assert made.next_deadline() is None


def test_one_address_of_a_peer_at_a_time() -> None:
    made = targets()
    places = (at(1), at(2), at(3))
    made.discover({synthetic_name(9): places}, NOBODY, 9, 0.0)
    for place in places:
        assert called(made, 10.0) == [place.text]
        assert made.next_deadline() is None, "only its answer can change anything"
        made.failed(place.text, "x", 10.0, pause=100.0)
    assert called(made, 10.0) == []


def test_repeated_discovery_does_not_restart_the_pauses() -> None:
    made = targets()
    made.discover(peers([1]), NOBODY, 9, 0.0)
    calls = 0
    for tenth in range(1200):
        now = 10 + tenth / 10
        made.discover(peers([1]), NOBODY, 9, now)
        for key in called(made, now):
            calls += 1
            made.failed(key, "x", now)
    assert 5 <= calls <= 14


def test_a_configured_target_is_not_discovered_over() -> None:
    made = targets(at(1).text)
    made.discover(peers([1]), NOBODY, 9, 0.0)
    assert called(made, 0.0) == [at(1).text]
    made.discover({}, NOBODY, 9, 1.0)
    assert made.configured == (at(1).text,)


# --- bounds ----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("dfrcx"), st.integers(0, 40), st.floats(0, 5)), max_size=60)
)
@settings(deadline=None)
def test_never_too_many_calls_at_a_time(script: list[tuple[str, int, float]]) -> None:
    limit = 3
    made = Targets(US, lambda: 0.5, TargetSettings(concurrent=limit, most=2 * limit))
    now, calling, fresh = 0.0, set[str](), dict[str, float]()
    known, connected = peers([]), set[PeerName]()
    for action, number, wait in script:
        now += wait
        match action:
            case "d":
                known = peers(range(1, number + 1))
                made.discover(known, frozenset(connected), 100, now)
            case "c":
                made.connect([parse_target(f"host{number}")], now)
            case "f" if calling:
                made.failed(taken_from(calling), "x", now)
            case "r" if calling:
                made.reached(taken_from(calling), synthetic_name(number + 1))
                connected.add(synthetic_name(number + 1))
                made.set_connected(frozenset(connected))
            case "x":
                connected.clear()
                made.set_connected(NOBODY)
        keys = called(made, now)
        assert not calling & set(keys), "called while it is being called"
        calling.update(keys)
        fresh.update(dict.fromkeys(keys, now))
        waiting = [key for key in calling if fresh[key] + S.unanswered_after > now]
        assert len(waiting) <= limit
        assert len(calling) <= 2 * limit
        assert called(made, now) == []
        deadline = made.next_deadline()
        assert deadline is None or deadline.at > now, "a deadline that nothing comes of"
        if deadline is not None:
            assert made.due(deadline.at - 1e-9) == []


def taken_from(calling: set[str]) -> str:
    first = min(calling)
    calling.remove(first)
    return first


def test_the_deadline_is_when_something_is_due() -> None:
    made = targets("a", "b", settings=TargetSettings(concurrent=1))
    assert called(made, 0.0) == ["a"]
    assert next_at(made) == S.unanswered_after, "b waits for a's answer, but not for long"
    made.failed("a", "x", 1.0)
    assert next_at(made) == 0.0
    assert called(made, 1.0) == ["b"]


def test_views_for_status() -> None:
    made = targets("a", "b", "c")
    called(made, 0.0)
    made.failed("a", "refused", 0.0)
    made.reached("b", synthetic_name(1))
    made.set_connected(frozenset([synthetic_name(1)]))
    made.discover(peers([7]), frozenset([synthetic_name(1)]), 9, 0.0)
    views = {view.address: view for view in made.unconnected()}
    assert views.keys() == {"a", "c"}, "discovered addresses show once they were tried"
    assert (views["a"].calling, views["a"].error, views["a"].retry_at) == (False, "refused", 0.5)
    assert views["c"].calling
