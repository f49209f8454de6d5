"""What does it cost to be told of records that there are not?"""

from __future__ import annotations

from tests.kit.builders import synthetic_name
from weave_py.mesh.gossip.pending import ASK_AGAIN, MAX_ASKED, PendingRequests
from weave_py.wire.gossip import Held, RecordVersion, record_key

NEIGHBOUR = synthetic_name(1)


class Clock(float):
    """A time that counts how often it is compared."""

    looks = 0

    def __lt__(self, other: object) -> bool:
        Clock.looks += 1
        return float(self) < other  # type: ignore[operator]

    def __ge__(self, other: object) -> bool:
        Clock.looks += 1
        return float(self) >= other  # type: ignore[operator]


def invented(number: int) -> Held:
    return Held(record_key(synthetic_name(number)), RecordVersion(1, 1), b"mark")


def test_one_more_invention_costs_the_same_however_many_came_before() -> None:
    """A neighbour that mentions more than MAX_ASKED records which there are not had all of them
    looked at again for each further one: 42 kB of summary took some 4 s, of the loop that also
    carries frames. Any member can send that as often as it likes."""
    requests = PendingRequests()
    for number in range(MAX_ASKED):
        assert requests.ask(invented(number), NEIGHBOUR, 0.0)
    Clock.looks = 0
    now = Clock(ASK_AGAIN / 2)
    assert not any(requests.ask(invented(MAX_ASKED + n), NEIGHBOUR, now) for n in range(100))
    assert Clock.looks <= 1000


def test_old_questions_make_room_and_a_repeated_one_is_young_again() -> None:
    requests = PendingRequests()
    for number in range(MAX_ASKED):
        requests.ask(invented(number), NEIGHBOUR, 0.0)
    assert requests.ask(invented(0), NEIGHBOUR, ASK_AGAIN)
    assert requests.ask(invented(MAX_ASKED), NEIGHBOUR, ASK_AGAIN)
    assert not requests.ask(invented(0), NEIGHBOUR, 1.5 * ASK_AGAIN)
    assert requests.ask(invented(1), NEIGHBOUR, 1.5 * ASK_AGAIN)
