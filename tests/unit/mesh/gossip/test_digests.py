"""Is the hash of what we hold the same whatever the way there, and no other's?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import signed_record, synthetic_name
from weave_py.mesh.gossip.digests import Digests, bucket_of
from weave_py.model.names import PeerName
from weave_py.wire.topology import BUCKETS, SignedRecord

RECORDS = tuple(signed_record(1, [], 1, version) for version in range(3))
NAMES = [*map(synthetic_name, range(6)), synthetic_name(BUCKETS), synthetic_name(2 * BUCKETS)]


def whole(records: dict[PeerName, SignedRecord]) -> Digests:
    made = Digests()
    for name, signed in records.items():
        made.put(name, signed)
    return made


changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from([None, *RECORDS]), st.booleans()),
    max_size=30,
)


@given(changes)
def test_hashes_follow_changes_as_if_all_were_made_at_once(
    script: list[tuple[PeerName, SignedRecord | None, bool]],
) -> None:
    followed, records = Digests(), dict[PeerName, SignedRecord]()
    for name, signed, is_asked in script:
        if signed is not None:
            followed.put(name, signed)
            records[name] = signed
        elif name in records:
            followed.remove(name)
            del records[name]
        if is_asked:
            assert followed.root == whole(records).root
    afresh = whole(records)
    assert (followed.root, followed.hashes) == (afresh.root, afresh.hashes)
    assert followed.held() == afresh.held()
    assert [held.name for held in followed.held()] == sorted(records)


@given(st.sampled_from(NAMES), st.sampled_from(RECORDS), st.sampled_from(RECORDS))
def test_another_record_shows_in_its_bucket_alone(
    name: PeerName, one: SignedRecord, other: SignedRecord
) -> None:
    records = dict.fromkeys(NAMES, RECORDS[0])
    before = whole({**records, name: one})
    after = whole({**records, name: other})
    differ = [n for n in range(BUCKETS) if before.hashes[n] != after.hashes[n]]
    assert differ == ([] if one is other else [bucket_of(name)])
    assert (before.root == after.root) == (one is other)
    assert [h.name for h in before.held([bucket_of(name)])] == sorted(
        n for n in NAMES if bucket_of(n) == bucket_of(name)
    )
