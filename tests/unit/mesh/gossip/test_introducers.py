"""F5a: is every record charged to the neighbour that brought it, and to no other?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import synthetic_name
from weave_py.mesh.gossip.introducers import GONE, IntroducerQuota, Introducers
from weave_py.model.names import PeerName
from weave_py.wire.gossip import RecordKey, record_key

QUOTA = IntroducerQuota(records=10, bytes=1000, all_records=40, all_bytes=4000)
NEAR = [synthetic_name(number) for number in range(1, 9)]


def key(number: int) -> RecordKey:
    return record_key(synthetic_name(100 + number))


def ledger(*neighbours: PeerName) -> Introducers:
    made = Introducers(QUOTA)
    for neighbour in neighbours:
        made.joined(neighbour)
    return made


def bring(made: Introducers, via: PeerName, numbers: range, size: int = 10) -> int:
    kept = 0
    for number in numbers:
        if made.may_keep(key(number), via, size):
            made.keep(key(number), via, size)
            kept += 1
    return kept


def test_alone_a_neighbour_may_bring_all_there_is_room_for_and_among_many_its_quota() -> None:
    assert bring(ledger(NEAR[0]), NEAR[0], range(100)) == QUOTA.all_records
    assert bring(ledger(*NEAR), NEAR[0], range(100)) == QUOTA.records
    assert bring(ledger(*NEAR), NEAR[0], range(100), size=300) == QUOTA.bytes // 300
    assert bring(ledger(*NEAR[:2]), NEAR[0], range(100)) == QUOTA.all_records // 2, "fair share"


def test_at_its_quota_it_has_to_give_something_itself_and_others_do_not() -> None:
    made = ledger(*NEAR)
    bring(made, NEAR[0], range(10))
    assert made.is_full(NEAR[0])
    assert made.must_give(key(50), NEAR[0], 10) == NEAR[0]
    assert made.must_give(key(50), NEAR[1], 10) is None
    assert made.must_give(key(3), NEAR[0], 10) is None, "a newer version of the same"
    made.spare(key(4))
    made.spare(key(2))
    assert made.first_spare(NEAR[0], key(50)) == key(4)
    made.needed(key(4))
    assert made.first_spare(NEAR[0], key(50)) == key(2)


def test_a_record_is_charged_to_who_brought_its_present_version() -> None:
    made = ledger(*NEAR)
    bring(made, NEAR[0], range(10))
    made.keep(key(3), NEAR[1], 70)
    assert made.usage(NEAR[0]) == (9, 90)
    assert made.usage(NEAR[1]) == (1, 70)
    assert (len(made), made.bytes) == (10, 160)


def test_when_all_is_taken_who_brought_most_gives_and_what_nobody_answers_for_first() -> None:
    made = ledger(*NEAR[:3])
    bring(made, NEAR[0], range(13))
    bring(made, NEAR[1], range(20, 33))
    bring(made, NEAR[2], range(40, 53))
    made.keep(key(60), None, 10)
    assert len(made) == QUOTA.all_records
    made.joined(NEAR[3])
    assert made.must_give(key(70), NEAR[3], 10) == GONE
    made.drop(key(60))
    made.keep(key(13), NEAR[1], 10)
    assert made.must_give(key(70), NEAR[3], 10) == NEAR[1]
    assert next(made.latest(NEAR[1], key(70))) == key(13)
    assert made.must_give(key(71), NEAR[1], 10) == NEAR[1]


def test_who_is_connected_pays_for_nobody_and_is_charged_to_nobody() -> None:
    made = ledger(*NEAR[:2])
    own = record_key(NEAR[1])
    made.keep(own, NEAR[0], 900)
    assert len(made) == made.bytes == 0
    made.left(NEAR[1])
    assert made.usage(GONE) == (1, 900)
    made.keep(own, NEAR[0], 900)
    made.joined(NEAR[1])
    assert (made.usage(NEAR[0]), len(made)) == ((0, 0), 0)


def test_what_a_neighbour_brought_stays_when_it_leaves_until_another_brings_newer() -> None:
    """It cannot bring as much again by coming back, under whatever name: all of that is together
    what makes room first."""
    made = ledger(*NEAR)
    for round_ in range(6):
        bring(made, NEAR[0], range(10 * round_, 10 * round_ + 10))
        made.left(NEAR[0])
        made.joined(NEAR[0])
        assert len(made) <= QUOTA.all_records
    assert made.usage(GONE)[0] == QUOTA.all_records
    assert made.must_give(key(99), NEAR[1], 10) == GONE


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "drop", "join", "leave", "spare"]),
            st.integers(0, 5),
            st.integers(0, 30),
            st.integers(1, 200),
        ),
        max_size=150,
    )
)
def test_the_sums_are_right_whatever_happens(
    happens: list[tuple[str, int, int, int]],
) -> None:
    made = Introducers(QUOTA)
    kept: dict[RecordKey, int] = {}
    present: set[PeerName] = set()
    keys = [key(n) if n > 5 else record_key(NEAR[n]) for n in range(31)]
    for what, who, number, size in happens:
        if what == "keep":
            made.keep(keys[number], NEAR[who], size)
            kept[keys[number]] = size
        elif what == "drop":
            made.drop(keys[number])
            kept.pop(keys[number], None)
        elif what == "join":
            made.joined(NEAR[who])
            present.add(NEAR[who])
        elif what == "leave" and NEAR[who] in present:
            made.left(NEAR[who])
            present.discard(NEAR[who])
        else:
            made.spare(keys[number])
        free = {record_key(name) for name in present}
        paid = {k: s for k, s in kept.items() if k not in free}
        assert (len(made), made.bytes) == (len(paid), sum(paid.values()))
        accounts = [*NEAR, GONE]
        assert sum(made.usage(name)[0] for name in accounts) == len(paid)
        assert sum(made.usage(name)[1] for name in accounts) == sum(paid.values())
