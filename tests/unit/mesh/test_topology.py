"""Do all peers end with the same records, whatever the order, and never with a bad one?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import (
    identity,
    neighbour,
    ourself,
    place,
    record,
    signed,
    signed_record,
)
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.gossip.digests import bucket_of
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.ourself import RECORD_CONTEXT
from weave_py.mesh.record_verifier import RecordVerifier
from weave_py.mesh.topology import Topology, TopologySettings
from weave_py.model.errors import AuthenticationError, PeerError, WireError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.gossip import (
    BUCKETS,
    MAX_RECORD_BYTES,
    Held,
    RecordVersion,
    owner_of,
    record_key,
)
from weave_py.wire.topology import SignedRecord, encode_record

US = 0
FORGET = TopologySettings().forget_after


def name(number: int) -> PeerName:
    return identity(number).name


def topology(settings: TopologySettings | None = None) -> Topology:
    return Topology(ourself(US), settings)


def take(into: Topology, came: SignedRecord) -> SignedRecord | None:
    return into.merge_untrusted(came.body, came.signature)


def state(of: Topology) -> dict[PeerName, SignedRecord | None]:
    return {peer: of.signed(record_key(peer)) for peer in of.peers()}


# --- merging ---------------------------------------------------------------------------------


@cache
def pool() -> tuple[SignedRecord, ...]:
    """Of four peers each: several versions, two lives, and two records of the same order."""
    found = []
    for peer in (1, 2, 3, 4):
        for incarnation, version in ((1, 0), (1, 1), (1, 7), (2, 0), (2, 3)):
            found.append(signed_record(peer, [neighbour(5)], incarnation, version))
        found.append(signed_record(peer, [neighbour(6)], 2, 3))
    return tuple(found)


some_records = st.lists(st.sampled_from(range(24)), max_size=12)


def merged(numbers: list[int]) -> Topology:
    result = topology()
    for number in numbers:
        take(result, pool()[number])
    return result


def join(a: Topology, b: Topology) -> Topology:
    """What `a` becomes when it hears all that `b` holds."""
    for came in state(b).values():
        assert came is not None
        take(a, came)
    return a


@given(some_records, some_records)
@settings(deadline=None)
def test_merging_is_commutative(a: list[int], b: list[int]) -> None:
    one, other = join(merged(a), merged(b)), join(merged(b), merged(a))
    assert state(one) == state(other) == state(merged(a + b)) == state(merged(b + a))
    assert one.digest() == other.digest()


@given(some_records, some_records, some_records)
@settings(deadline=None)
def test_merging_is_associative(a: list[int], b: list[int], c: list[int]) -> None:
    left = join(join(merged(a), merged(b)), merged(c))
    right = join(merged(a), join(merged(b), merged(c)))
    assert state(left) == state(right)


@given(some_records, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_merging_is_idempotent_and_blind_to_order(numbers: list[int], random: Random) -> None:
    once = merged(numbers)
    before = state(once)
    shuffled = numbers * 2
    random.shuffle(shuffled)
    for number in shuffled:
        assert take(once, pool()[number]) is None, "no news"
    assert state(once) == before == state(merged(shuffled))
    assert once.quarantined == 0


@given(some_records)
@settings(deadline=None)
def test_the_highest_version_of_each_peer_stays(numbers: list[int]) -> None:
    result = merged(numbers)
    highest: dict[PeerName, RecordVersion] = {}
    for number in numbers:
        came = pool()[number]
        peer = next(name(n) for n in (1, 2, 3, 4) if identity(n).public == came.record.identity)
        highest[peer] = max(highest.get(peer, came.record.order), came.record.order)
    held = {owner_of(h.key): h.order for h in result.held()}
    del held[name(US)]
    assert held == highest
    assert len(result) == len(highest)


def test_an_old_record_is_no_news_and_changes_nothing() -> None:
    result = topology()
    newest = signed_record(1, [neighbour(2)], 2, 1)
    assert take(result, newest) == newest
    for incarnation, version in ((1, 99), (2, 0), (2, 1)):
        assert take(result, signed_record(1, [neighbour(2)], incarnation, version)) is None
    assert result.signed(record_key(name(1))) == newest
    assert result.quarantined == 0


# --- refusing --------------------------------------------------------------------------------


def refused(came: SignedRecord, error: type[PeerError], into: Topology | None = None) -> None:
    into = topology() if into is None else into
    before = state(into)
    with pytest.raises(error) as caught:
        take(into, came)
    assert "\n" not in str(caught.value)
    assert state(into) == before
    assert into.quarantined == 1


def test_forged_signed_by_somebody_else() -> None:
    refused(signed(2, record(1)), AuthenticationError)


def test_forged_altered_after_signing() -> None:
    good = signed_record(1)
    body = encode_record(replace(good.record, nickname="peer2"))
    refused(replace(good, body=body), AuthenticationError)


def test_forged_signed_for_another_purpose() -> None:
    body = encode_record(record(1))
    signature = identity(1).sign(RECORD_CONTEXT + b" ", body)
    refused(SignedRecord(body, signature, record(1)), AuthenticationError)


def test_a_static_key_of_somebody_else() -> None:
    """Who could pass off another's static key would receive the sessions that it begins."""
    theirs = replace(record(1), static=identity(2).static_public)
    refused(signed(1, theirs), AuthenticationError)
    stolen = replace(theirs, certificate=identity(2).certificate)
    refused(signed(1, stolen), AuthenticationError)


def test_an_identity_of_small_order() -> None:
    refused(signed(1, replace(record(1), identity=b"\1" + bytes(31))), AuthenticationError)


def test_malformed_and_oversized() -> None:
    good = signed_record(1)
    refused(replace(good, body=b"garbage"), WireError)
    refused(replace(good, body=good.body + b"\0"), WireError)
    refused(replace(good, body=bytes(MAX_RECORD_BYTES + 1)), WireError)
    refused(replace(good, signature=b""), WireError)


def test_every_flipped_bit_is_refused() -> None:
    good = signed_record(1, [neighbour(2)], 3, 4)
    result = topology()
    for bit in range(8 * len(good.body)):
        altered = bytearray(good.body)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            result.merge_untrusted(bytes(altered), good.signature)
    for bit in range(512):
        altered = bytearray(good.signature)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            result.merge_untrusted(good.body, bytes(altered))
    assert len(result) == 0
    assert take(result, good) == good


def test_a_flood_of_peers_ends_at_the_limit() -> None:
    result = topology(TopologySettings(quota=IntroducerQuota(all_records=2)))
    take(result, signed_record(1))
    take(result, signed_record(2))
    refused(signed_record(3), PeerError, result)
    assert take(result, signed_record(1, version=1)) is not None


def bring(into: Topology, via: int, came: SignedRecord, now: float = 0.0) -> bool:
    try:
        return into.merge_untrusted(came.body, came.signature, name(via), now) is not None
    except PeerError:
        return False


def near(*neighbours: int, quota: IntroducerQuota) -> Topology:
    """Connected with these, which are connected with us and each other."""
    result = topology(TopologySettings(quota=quota))
    result.ourself.update([], [neighbour(n) for n in neighbours])
    for number in neighbours:
        result.introducers.joined(name(number))
        others = [neighbour(n) for n in (US, *neighbours) if n != number]
        assert bring(result, number, signed_record(number, others))
    result.refresh(0.0)
    return result


FEW = IntroducerQuota(records=6, bytes=100_000, all_records=12, all_bytes=200_000)


class CountingVerifier(RecordVerifier):
    decoded = 0

    def decode_untrusted(self, body: bytes, signature: bytes) -> SignedRecord:
        self.decoded += 1
        return super().decode_untrusted(body, signature)


def test_of_a_peer_one_thing_a_second_is_taken_and_forgeries_do_not_spend_it() -> None:
    """F5a: and what is too much is not even decoded."""
    verifier = CountingVerifier()
    result = Topology(ourself(US), verifier=verifier)
    result.introducers.joined(name(1))
    burst = int(TopologySettings().burst)
    for version in range(burst):
        forged = signed_record(7, version=1000 + version)
        assert not bring(result, 1, replace(forged, signature=bytes(64)))
    taken = sum(bring(result, 1, signed_record(7, version=v)) for v in range(3 * burst))
    assert taken == burst
    assert verifier.decoded == 2 * burst
    assert not bring(result, 1, signed_record(7, version=900), now=0.5)
    assert bring(result, 1, signed_record(7, version=901), now=1.5)
    assert bring(result, 1, signed_record(8)), "another's is not spent"


def test_a_neighbour_brings_its_quota_and_the_others_theirs() -> None:
    """F5a: what is made up is one branch, and a newcomer behind the same neighbour another."""
    result = near(1, 2, quota=FEW)
    everybody = [neighbour(n) for n in range(21, 40)]
    assert bring(result, 1, signed_record(20, [neighbour(1), *everybody]))
    assert bring(result, 1, signed_record(1, [neighbour(US), neighbour(2), neighbour(20)], 1, 1))
    fakes = [signed_record(n, [neighbour(20)]) for n in range(21, 40)]
    for fake in fakes:
        bring(result, 1, fake)
    result.refresh(1.0)
    assert result.introducers.usage(name(1))[0] == FEW.records
    assert not any(bring(result, 1, fake, 2.0) for fake in fakes[8:]), "one branch has its share"
    refused = signed_record(39, [neighbour(20)])
    assert not result.lacks(Held(record_key(name(39)), refused.order, refused.mark), name(1), 2.0)
    claims = [neighbour(US), neighbour(2), neighbour(20), neighbour(50)]
    assert bring(result, 1, signed_record(1, claims, 1, 2), 2.0)
    assert bring(result, 1, signed_record(50, [neighbour(1)]), 2.0), "a newcomer"
    assert result.introducers.usage(name(1))[0] == FEW.records
    result.refresh(3.0)
    assert {name(1), name(2), name(20), name(50)} <= result.routes.hops.keys()
    assert bring(result, 2, signed_record(60, [neighbour(2)]), 3.0), "another's quota is its own"


def test_what_nobody_can_reach_makes_room_first_and_expired_records_are_charged_too() -> None:
    """F5a: nor does limbo hold more than the quota."""
    result = near(1, 2, quota=FEW)
    for life in range(5):
        for number in range(20, 40):
            bring(result, 1, signed_record(number, version=life), 100.0 * life)
        forget(result)
        assert len(result) + len(result.forgotten(99)) <= FEW.records + 2
    lost = signed_record(49)
    assert not bring(result, 1, lost, 900.0), "who cannot be reached either takes no one's place"
    assert bring(result, 1, signed_record(1, [neighbour(US), neighbour(50)], 1, 1), 900.0)
    assert bring(result, 1, signed_record(50, [neighbour(1)]), 900.0)


# --- our own record --------------------------------------------------------------------------


def test_our_own_record_comes_back_and_is_no_news() -> None:
    result = topology()
    first = result.ourself.signed
    result.ourself.update([place(1)], [])
    assert take(result, first) is None
    assert take(result, result.ourself.signed) is None
    assert result.ourself.record.order == RecordVersion(1, 1)


@pytest.mark.parametrize("order", [(1, 1), (1, 5), (4, 0)])
def test_an_earlier_lifes_record_is_outranked(order: tuple[int, int]) -> None:
    """Also one that has come exactly as far as ours."""
    result = topology()
    result.ourself.update([place(1)], [])
    earlier = signed_record(US, [neighbour(3)], *order)
    assert take(result, earlier) is None
    assert result.ourself.is_outranked
    assert result.ourself.update([place(1)], [], outrank=True)
    assert not result.ourself.is_outranked
    news = result.ourself.signed
    assert news == result.signed(record_key(name(US)))
    assert news.record.order > earlier.record.order
    assert news.record.neighbours == ()
    elsewhere = Topology(ourself(9))
    take(elsewhere, earlier)
    assert take(elsewhere, news) == news
    assert take(elsewhere, earlier) is None


def test_nobody_else_makes_us_speak() -> None:
    result = topology()
    forged = signed(1, record(US, incarnation=9))
    with pytest.raises(AuthenticationError):
        take(result, forged)
    assert result.ourself.record.order == RecordVersion(1, 0)


# --- forgetting ------------------------------------------------------------------------------


def forget(result: Topology) -> None:
    result.refresh(1000.0)
    result.refresh(1000.0 + FORGET)


def test_a_peer_is_forgotten_once_it_was_unreachable_for_long_enough() -> None:
    result = topology()
    take(result, signed_record(1))
    assert result.next_deadline() is None
    result.refresh(100.0)
    deadline = result.next_deadline()
    assert deadline is not None
    assert deadline.at == 100.0 + FORGET
    result.refresh(deadline.at - 0.1)
    assert result.record(name(1)) is not None
    result.refresh(deadline.at)
    assert result.record(name(1)) is None
    assert list(result.peers()) == []
    assert result.next_deadline() is None
    assert result.digest() == topology().digest()


def connect(result: Topology, *peers: int) -> None:
    result.ourself.update([], [neighbour(peer) for peer in peers])


def test_a_reachable_peer_is_never_forgotten() -> None:
    result = topology()
    connect(result, 1)
    take(result, signed_record(1, [neighbour(US), neighbour(2)]))
    take(result, signed_record(2, [neighbour(1)]))
    result.refresh(0.0)
    result.refresh(1e6)
    assert list(result.peers()) == sorted([name(1), name(2)])
    assert result.next_deadline() is None
    assert result.routes.hops == {name(US): 0, name(1): 1, name(2): 2}


def test_an_interruption_starts_the_wait_anew() -> None:
    result = topology()
    take(result, signed_record(1, [neighbour(US)]))
    result.refresh(0.0)
    connect(result, 1)
    result.refresh(FORGET - 1)
    connect(result)
    result.refresh(FORGET)
    assert result.record(name(1)) is not None
    result.refresh(2 * FORGET - 0.1)
    assert result.record(name(1)) is not None
    result.refresh(2 * FORGET)
    assert result.record(name(1)) is None


def test_the_same_record_does_not_bring_a_forgotten_peer_back() -> None:
    result = topology()
    last = signed_record(1, [neighbour(2)], 1, 5)
    take(result, last)
    forget(result)
    assert take(result, last) is None
    assert take(result, signed_record(1, [], 1, 4)) is None
    result.refresh(5000.0)
    assert result.record(name(1)) is None
    assert result.quarantined == 0


def test_a_newer_record_brings_it_back() -> None:
    result = topology()
    take(result, signed_record(1))
    forget(result)
    newer = signed_record(1, version=1)
    assert take(result, newer) == newer
    assert result.record(name(1)) == newer.record
    result.refresh(5000.0)
    assert result.record(name(1)) == newer.record, "and it waits from the start"
    result.refresh(5000.0 + FORGET)
    assert result.record(name(1)) is None


def test_becoming_reachable_brings_it_back_and_all_behind_it() -> None:
    """A partition healed, and nothing had changed on the other side of it."""
    result = topology()
    take(result, signed_record(1, [neighbour(US), neighbour(2)]))
    take(result, signed_record(2, [neighbour(1)]))
    take(result, signed_record(3))
    forget(result)
    assert len(result) == 0
    connect(result, 1)
    result.refresh(5000.0)
    assert list(result.peers()) == sorted([name(1), name(2)])
    assert result.routes.unicast[name(2)] == name(1)
    assert {owner_of(h.key) for h in result.held()} == {name(US), name(1), name(2)}


def test_limbo_is_bounded_and_drops_what_was_forgotten_first() -> None:
    result = topology(TopologySettings(max_expired=2))
    for peer in (1, 2, 3):
        take(result, signed_record(peer))
        forget(result)
    assert take(result, signed_record(2)) is None
    assert take(result, signed_record(3)) is None
    assert take(result, signed_record(1)) is not None


def test_routes_get_a_new_version_each_time() -> None:
    result = topology()
    versions = []
    for now in range(3):
        result.refresh(float(now))
        versions.append(result.routes.version)
    assert versions == [1, 2, 3]


def test_what_is_kept_for_speed_does_not_grow() -> None:
    result = topology(TopologySettings(max_expired=1))
    for version in range(4):
        for peer in (1, 2, 3):
            take(result, signed_record(peer, version=version))
        forget(result)
    assert len(result) == 0
    assert len(result._owners) == 1


def test_a_changed_static_key_is_certified_anew() -> None:
    """The certificate of a known peer is not checked with every version, but with every key."""
    result = topology()
    take(result, signed_record(1))
    theirs = replace(record(1, version=1), static=identity(2).static_public)
    refused(signed(1, theirs), AuthenticationError, result)
    assert take(result, signed_record(1, version=2)) is not None


def test_whether_a_peer_can_be_reached_without_us() -> None:
    result = topology()
    connect(result, 1, 2)
    take(result, signed_record(1, [neighbour(US), neighbour(3)]))
    take(result, signed_record(2, [neighbour(US)]))
    take(result, signed_record(3, [neighbour(1)]))
    result.refresh(0.0)
    near = {name(1), name(2)}
    assert not result.reachable_without([name(2)], near)
    assert not result.reachable_without([name(1)], near)
    assert result.reachable_without([name(3)], near), "we have no connection with it anyway"
    take(result, signed_record(2, [neighbour(US), neighbour(3)], version=1))
    take(result, signed_record(3, [neighbour(1), neighbour(2)], version=1))
    assert result.reachable_without([name(1)], near)
    assert result.reachable_without([name(2)], near)
    assert not result.reachable_without([name(9)], near)
    assert not result.reachable_without([name(1)], {name(1)}), "F5d: the other one has just gone"


# --- digests ---------------------------------------------------------------------------------


@given(some_records, some_records)
@settings(deadline=None)
def test_digests_are_equal_exactly_if_the_holdings_are(a: list[int], b: list[int]) -> None:
    one, other = merged(a), merged(b)
    same = one.held() == other.held()
    assert (one.digest() == other.digest()) == same
    assert (one.bucket_hashes() == other.bucket_hashes()) == same


@given(some_records)
@settings(deadline=None)
def test_buckets_part_the_holdings(numbers: list[int]) -> None:
    result = merged(numbers)
    parts = [result.held(frozenset((bucket,))) for bucket in range(BUCKETS)]
    assert sorted(held for part in parts for held in part) == result.held()
    for bucket, part in enumerate(parts):
        assert all(bucket_of(held.key) == bucket for held in part)
    assert result.held(frozenset(range(BUCKETS))) == result.held()


def test_a_bucket_hash_changes_alone() -> None:
    result = topology()
    before = result.bucket_hashes()
    take(result, signed_record(1))
    after = result.bucket_hashes()
    assert [n for n in range(BUCKETS) if before[n] != after[n]] == [bucket_of(record_key(name(1)))]
    assert (record_key(name(1)), RecordVersion(1, 0)) in [h[:2] for h in result.held()]


def test_at_the_quota_a_peers_news_replaces_its_own_record() -> None:
    """It is the one that has been unreachable longest, and so would be the first to make room."""
    made = topology(TopologySettings(quota=IntroducerQuota(all_records=3)))
    for number in (1, 2, 3):
        take(made, signed_record(number, [], 1, 1))
        made.refresh(float(number))
    newer = signed_record(1, [], 1, 2)
    assert take(made, newer) is not None
    made.refresh(5.0)
    assert made.signed(record_key(name(1))) == newer
    assert made.forgotten(9) == []
    assert made.names == {name(1), name(2), name(3)}


# --- lives -----------------------------------------------------------------------------------


def test_a_new_life_is_told_once_and_also_the_first() -> None:
    """What services' records belong to: it is told though the peer is reached all the while."""
    made = topology()
    made.ourself.update([], [neighbour(1)])
    made.refresh(0.0)
    made.take_reachability()
    take(made, signed_record(1, [neighbour(US)]))
    assert made.take_reachability() == PeersChanged(born={name(1)})
    made.refresh(0.0)
    assert made.take_reachability() == PeersChanged(reachable={name(1)})
    take(made, signed_record(1, [neighbour(US)], version=2))
    assert not made.take_reachability()
    take(made, signed(1, replace(record(1, [neighbour(US)], 2), uid=PeerUID(99))))
    assert made.take_reachability() == PeersChanged(born={name(1)})
    assert not made.take_reachability()


def test_whose_record_made_room_is_forgotten_though_routes_still_lead_there() -> None:
    """Routes follow later; that it was forgotten was not told at all, and what services held of it
    stayed."""
    made = topology()
    made.ourself.update([], [neighbour(1)])
    take(made, signed_record(1, [neighbour(US)]))
    made.refresh(0.0)
    made.take_reachability()
    made._drop(name(1))
    assert made.take_reachability() == PeersChanged(forgotten={name(1)})
    take(made, signed_record(1, [neighbour(US)]))
    assert made.take_reachability() == PeersChanged(born={name(1)})
