"""Does every address have its turn, however many lead nowhere?"""

from __future__ import annotations

from tests.kit.builders import synthetic_name
from tests.kit.calling import NOBODY, S, at, called, next_at, targets
from weave_py.mesh.targets import Targets
from weave_py.model.names import Endpoint


def places(*numbers: int) -> tuple[Endpoint, ...]:
    return tuple(at(number) for number in numbers)


def fails(made: Targets, seconds: float, *dead: Endpoint, takes: float = 5.0) -> list[str]:
    """Every call of the dead fails after a while; all that was called, in order."""
    order: list[str] = []
    calling: dict[str, float] = {}
    for tick in range(int(seconds * 10)):
        now = tick / 10
        for key, until in list(calling.items()):
            if now >= until:
                del calling[key]
                made.failed(key, "timed out", now)
        for key in called(made, now):
            order.append(key)
            calling[key] = now + takes if key in {place.text for place in dead} else 1e9
    return order


def test_a_peers_last_address_has_its_turn_before_its_first_is_called_again() -> None:
    """Most hosts have bridges whose addresses lead nowhere from elsewhere."""
    dead, alive = places(1, 2, 3, 4), at(5)
    made = targets()
    made.discover({synthetic_name(600): (*dead, alive)}, NOBODY, 10, 0.0)
    order = fails(made, 60, *dead)
    assert order.index(alive.text) == len(dead)


def test_a_live_peer_has_its_turn_before_dead_ones_are_called_again() -> None:
    dead = [synthetic_name(600 + n) for n in range(3 * S.concurrent)]
    alive = synthetic_name(700)
    found = {name: (at(n),) for n, name in enumerate([*dead, alive])}
    made = targets()
    made.discover(found, NOBODY, 100, 0.0)
    order = fails(made, 60, *(found[name][0] for name in dead))
    assert order.index(found[alive][0].text) <= len(dead)


def test_a_living_target_is_called_soon_however_many_are_dead() -> None:
    """(t44) Eight dead ones at the head of a list kept the ninth waiting until they had failed."""
    made = targets(*(at(number).text for number in range(1, 42)))
    assert len(called(made, 0.0)) == S.concurrent
    for second in range(1, 5):
        assert called(made, second * S.unanswered_after - 0.01) == []
        assert next_at(made) == second * S.unanswered_after
        assert len(called(made, second * S.unanswered_after)) == S.concurrent
    assert called(made, 5.0) == [at(41).text]


def test_no_more_calls_than_there_may_be_wait_for_an_answer() -> None:
    """(t44)"""
    made = targets(*(at(number).text for number in range(1, 201)))
    calls = [key for tenth in range(300) for key in called(made, tenth / 10)]
    assert len(calls) == S.most
    assert made.next_deadline() is None, "only an answer can change anything"


def test_an_address_that_is_announced_no_more_is_called_no_more() -> None:
    peer = synthetic_name(600)
    made = targets()
    for number in range(100):
        made.discover({peer: places(number, number + 1)}, NOBODY, 10, 0.0)
    order = fails(made, 60, *places(*range(101)), takes=0.1)
    assert set(order) == {at(99).text, at(100).text}


def test_new_hope_for_all() -> None:
    made = targets("a")
    for now in range(0, 1000, 50):
        for key in called(made, now):
            made.failed(key, "unreachable", now)
    made.hurry(1000.0)
    assert called(made, 1000.0) == ["a"]
    made.failed("a", "refused", 1000.0)
    assert next_at(made) == 1000.0 + S.first_retry


def test_the_forgotten_are_called_rarely_and_at_once_when_they_are_back() -> None:
    peer = synthetic_name(600)
    made = targets()
    made.discover({}, NOBODY, 10, 0.0, forgotten={peer: places(1)})
    assert next_at(made) == S.longest_retry
    assert called(made, S.longest_retry) == [at(1).text]
    made.failed(at(1).text, "timed out", S.longest_retry + 5)
    assert next_at(made) == 2 * S.longest_retry + 5
    assert made.unconnected() == []
    made.discover({peer: places(1)}, NOBODY, 10, 40.0)
    assert called(made, 40.0) == [at(1).text]


def test_the_forgotten_that_are_not_to_be_called_any_more_are_not() -> None:
    made = targets()
    made.discover({}, NOBODY, 10, 0.0, forgotten={synthetic_name(600): places(1)})
    made.discover({}, NOBODY, 10, 1.0, forgotten={synthetic_name(601): places(2)})
    assert fails(made, 100, *places(1, 2))[0] == at(2).text
    assert at(1).text not in fails(made, 100, *places(1, 2))


def test_a_targets_address_is_not_called_twice() -> None:
    made = targets("10.0.0.5")
    made.discover({synthetic_name(600): places(5, 6)}, NOBODY, 10, 0.0)
    assert set(fails(made, 20, *places(5, 6))) == {"10.0.0.5", at(6).text}
