"""Does what got lost get repaired, in a few rounds, and by sending little more than that?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import ourself, signed_record
from tests.kit.gossip_nodes import START, Node, joined, large_record, name, records_of
from weave_py.crypto.identity import peer_name_of
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.model.names import PeerName
from weave_py.wire.gossip import (
    BUCKET_HASH_BYTES,
    Buckets,
    Digest,
    RecordVersion,
    Summary,
    owner_of,
    record_key,
)
from weave_py.wire.topology import SignedRecord

SETTINGS = GossipSettings()
MAX_ROUNDS = 9
"""Digest, buckets, summary, mentions and wish, wish and records, records: 6, and one more as both
begin at once, and if there is more than one message of anything."""


def repair(a: Node, b: Node, rounds: int = MAX_ROUNDS) -> int:
    """Connect two nodes and carry what they say; how many rounds it took."""
    a.gossip.neighbour_joined(b.name, START)
    b.gossip.neighbour_joined(a.name, START)
    return carry(a, b, rounds)


def carry(a: Node, b: Node, rounds: int = MAX_ROUNDS) -> int:
    """Let them talk until they are silent."""
    for spoken in range(rounds):
        for node in (a, b):
            node.gossip.advance(START)  # what one message did not hold
        from_a, from_b = a.said(), b.said()
        if not from_a and not from_b:
            return spoken
        for to, message in from_a:
            assert to == b.name
            b.hear(a, message)
        for to, message in from_b:
            assert to == a.name
            a.hear(b, message)
    raise AssertionError(f"still talking after {rounds} rounds")


def holdings(node: Node) -> dict[PeerName, SignedRecord | None]:
    return {
        peer: node.topology.signed(record_key(peer)) for peer in (*node.topology.peers(), node.name)
    }


@st.composite
def collections(draw: st.DrawFn) -> list[SignedRecord]:
    versions = draw(st.dictionaries(st.integers(10, 60), st.integers(0, 2), max_size=40))
    return [signed_record(number, version=version) for number, version in versions.items()]


@given(collections(), collections())
@settings(deadline=None, max_examples=40)
def test_any_two_topologies_converge_in_a_few_rounds(
    a: list[SignedRecord], b: list[SignedRecord]
) -> None:
    one, other = Node(0, *a), Node(1, *b)
    repair(one, other)
    assert holdings(one) == holdings(other)
    assert one.topology.digest() == other.topology.digest()
    best: dict[PeerName, RecordVersion] = {}
    for came in a + b:
        peer = peer_name_of(came.record.identity)
        best[peer] = max(came.record.order, best.get(peer, came.record.order))
    held = {owner_of(h.key): h.order for h in one.topology.held()}
    assert {peer: held[peer] for peer in best} == best


def test_equal_topologies_say_one_word() -> None:
    one, other = Node(0, ourself(1).signed), Node(1, ourself(0).signed)
    assert repair(one, other) == 1


def test_only_what_differs_is_sent() -> None:
    common = [signed_record(number) for number in range(10, 60)]
    one, other = Node(0, *common, ourself(1).signed), Node(1, *common, ourself(0).signed)
    extra = signed_record(70)
    one.topology.merge_untrusted(extra.body, extra.signature)
    for node, neighbour in ((one, other), (other, one)):
        node.gossip.neighbour_joined(neighbour.name, START)
        node.gossip.take_messages()
    one.hear(other, Digest(other.topology.digest()))
    ((_, buckets),) = one.said()
    assert isinstance(buckets, Buckets)
    other.hear(one, buckets)
    ((_, summary),) = other.said()
    assert isinstance(summary, Summary)
    assert len(summary.buckets) == 1
    one.hear(other, summary)
    ((_, mention),) = one.said()
    other.hear(one, mention)
    ((_, wish),) = other.said()
    one.gossip.advance(START)
    one.hear(other, wish)
    ((_, answer),) = one.said()
    assert answer == records_of(extra)


def test_large_records_are_repaired_in_several_messages() -> None:
    one, other = Node(0, *(large_record(number) for number in range(10, 24))), Node(1)
    repair(one, other)
    assert holdings(one) == holdings(other)


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_an_overfull_bucket_is_cut_and_still_repaired(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever searches for names that all fall into one bucket does not break anything."""
    monkeypatch.setattr("weave_py.mesh.gossip.digests.bucket_of", lambda peer: 0)
    monkeypatch.setattr("weave_py.mesh.gossip.replicator.MAX_SUMMARY", limit)
    one = Node(0, *(signed_record(number) for number in range(10, 40)))
    other = Node(1, *(signed_record(number, version=number % 2) for number in range(25, 60)))
    repair(one, other, 300)
    # What was left out when one of them began comes when the other does.
    for node in (one, other):
        node.gossip.advance(START + SETTINGS.digest_every)
    carry(one, other, 300)
    assert holdings(one) == holdings(other)


def test_many_summaries_stay_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_py.mesh.gossip.replicator.MAX_SUMMARY", 5)
    node = Node(0, *(signed_record(number) for number in range(10, 60)))
    node.gossip.neighbour_joined(name(1), START)
    node.gossip.take_messages()
    node.hear(Node(1), Buckets((bytes(BUCKET_HASH_BYTES),) * 64))
    summaries = [message for _, message in node.said()]
    assert len(summaries) == 1, "the others when the router is woken again"
    for _ in range(64):
        node.gossip.advance(START)
        summaries += [message for _, message in node.said()]
    assert len(summaries) >= 10
    buckets: list[int] = []
    for summary in summaries:
        assert isinstance(summary, Summary)
        assert len(summary.held) <= 5
        buckets += summary.buckets
    assert len(buckets) == len(set(buckets)), "no bucket twice"


def test_every_neighbour_gets_a_digest_in_turn() -> None:
    node = joined(1, 2, 3)
    asked = []
    for turn in range(1, 7):
        at = START + turn * SETTINGS.digest_every
        deadline = node.gossip.next_deadline()
        assert deadline is not None
        assert deadline.at == at
        node.gossip.advance(at - 0.01)
        assert node.said() == []
        node.gossip.advance(at)
        ((to, message),) = node.said()
        assert message == Digest(node.topology.digest())
        asked.append(to)
    assert sorted(asked[:3]) == sorted(asked[3:]) == sorted([name(1), name(2), name(3)])


def test_what_a_broken_connection_lost_arrives_by_repair() -> None:
    """A delta that was pending when its neighbour went is not lost for good."""
    one, other = Node(0), Node(1)
    repair(one, other)
    one.gossip.spread([one.change(5)], START, None)
    one.gossip.neighbour_left(other.name)
    other.gossip.neighbour_left(one.name)
    one.gossip.advance(START + 1)
    assert one.said() == []
    repair(one, other)
    assert holdings(one) == holdings(other)
