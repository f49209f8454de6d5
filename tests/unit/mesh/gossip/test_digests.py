"""Is the hash of what we hold the same whatever the way there, and no other's?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import signed_record, synthetic_name
from weave_py.mesh.gossip.digests import Digests, bucket_of
from weave_py.wire.gossip import BUCKETS, RecordKey, record_key
from weave_py.wire.topology import SignedRecord

RECORDS = tuple(signed_record(1, [], 1, version) for version in range(3))
NAMES = [*map(synthetic_name, range(5)), synthetic_name(BUCKETS), synthetic_name(2 * BUCKETS)]
KEYS = [*map(record_key, NAMES), record_key(NAMES[0], 1), record_key(NAMES[1], 258)]


def whole(records: dict[RecordKey, SignedRecord]) -> Digests[SignedRecord]:
    made: Digests[SignedRecord] = Digests()
    for key, signed in records.items():
        made.put(key, signed)
    return made


changes = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from([None, *RECORDS]), st.booleans()),
    max_size=30,
)


@given(changes)
def test_hashes_follow_changes_as_if_all_were_made_at_once(
    script: list[tuple[RecordKey, SignedRecord | None, bool]],
) -> None:
    followed: Digests[SignedRecord] = Digests()
    records: dict[RecordKey, SignedRecord] = {}
    for key, signed, is_asked in script:
        if signed is not None:
            followed.put(key, signed)
            records[key] = signed
        elif key in records:
            followed.remove(key)
            del records[key]
        if is_asked:
            assert followed.root == whole(records).root
    afresh = whole(records)
    assert (followed.root, followed.hashes) == (afresh.root, afresh.hashes)
    assert followed.held() == afresh.held()
    assert [held.key for held in followed.held()] == sorted(records)


@given(st.sampled_from(KEYS), st.sampled_from(RECORDS), st.sampled_from(RECORDS))
def test_another_record_shows_in_its_bucket_alone(
    key: RecordKey, one: SignedRecord, other: SignedRecord
) -> None:
    records = dict.fromkeys(KEYS, RECORDS[0])
    before = whole({**records, key: one})
    after = whole({**records, key: other})
    differ = [n for n in range(BUCKETS) if before.hashes[n] != after.hashes[n]]
    assert differ == ([] if one is other else [bucket_of(key)])
    assert (before.root == after.root) == (one is other)
    assert [h.key for h in before.held([bucket_of(key)])] == sorted(
        k for k in KEYS if bucket_of(k) == bucket_of(key)
    )
