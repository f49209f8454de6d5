"""Does news reach everybody, once and in time, and does what got lost get repaired?"""

from __future__ import annotations

from collections import Counter

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
    synthetic_name,
)
from weave_py.crypto.identity import peer_name_of
from weave_py.mesh import gossip
from weave_py.mesh.gossip import GossipSettings, TopologyGossip
from weave_py.mesh.topology import Topology
from weave_py.model.names import PeerName
from weave_py.wire.messages import Gossip, encode_message
from weave_py.wire.stream import MAX_FRAME_BYTES
from weave_py.wire.topology import (
    MAX_GOSSIP_BYTES,
    Buckets,
    Digest,
    PeerRecord,
    Records,
    RecordVersion,
    SignedRecord,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
)
from weave_py.wire.topology import TopologyGossip as GossipMessage

SETTINGS = GossipSettings()
START = 1000.0


def name(number: int) -> PeerName:
    return identity(number).name


class Node:
    """A topology and its gossip."""

    def __init__(self, number: int, *records: SignedRecord) -> None:
        self.topology = Topology(ourself(number))
        self.name = name(number)
        for came in records:
            self.topology.merge_untrusted(came.body, came.signature)
        self.gossip = TopologyGossip(self.topology, START)

    def said(self) -> list[tuple[PeerName, GossipMessage]]:
        """What it wants to say now, decoded; all of it fits the control stream."""
        found = []
        for to, body in self.gossip.take_messages():
            assert len(encode_message(Gossip("topology", body))) + 16 <= MAX_FRAME_BYTES
            message = decode_gossip_untrusted(body)
            if isinstance(message, Summary):
                assert len(message.held) <= gossip.MAX_SUMMARY
            found.append((to, message))
        return found

    def hear(self, source: Node, message: GossipMessage, now: float = START) -> list[SignedRecord]:
        return self.gossip.receive_untrusted(source.name, encode_gossip(message), now)

    def change(self, *places: int) -> SignedRecord:
        self.topology.ourself.update([place(number) for number in places], [])
        return self.topology.ourself.signed


def told(messages: list[tuple[PeerName, GossipMessage]]) -> dict[PeerName, list[RecordVersion]]:
    """Who was told records, and in which versions."""
    result: dict[PeerName, list[RecordVersion]] = {}
    for to, message in messages:
        if isinstance(message, Records):
            from_wire = [signed_of(pair) for pair in message.records]
            result.setdefault(to, []).extend(r.order for r in from_wire)
    return result


def signed_of(pair: tuple[bytes, bytes]) -> PeerRecord:
    scratch = Topology(ourself(99))
    came = scratch.merge_untrusted(*pair)
    assert came is not None
    return came.record


def records_of(*records: SignedRecord) -> Records:
    return Records(tuple((came.body, came.signature) for came in records))


def joined(*others: int) -> Node:
    """Node 0 with these neighbours, after the digests of the beginning."""
    node = Node(0)
    for other in others:
        node.gossip.neighbour_joined(name(other), START)
    node.gossip.take_messages()
    return node


# --- deltas ----------------------------------------------------------------------------------


def test_news_goes_to_everybody_but_its_source() -> None:
    node, news = joined(1, 2, 3), signed_record(7)
    assert node.hear(Node(2), records_of(news)) == [news]
    node.gossip.advance(START + SETTINGS.flush_every)
    said = node.said()
    assert {to for to, _ in said} == {name(1), name(3)}
    assert {m for _, m in said} == {records_of(news)}


@pytest.mark.parametrize(
    ("owner_claims", "neighbour_claims", "is_told"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, True)],
)
def test_who_hears_it_from_its_owner_need_not_hear_it_from_us(
    owner_claims: bool, neighbour_claims: bool, is_told: bool
) -> None:
    """But only if both of them say that they are connected."""
    node = joined(1, 2)
    node.hear(Node(2), records_of(signed_record(1, [neighbour(7)] if neighbour_claims else [])))
    node.gossip.advance(START + 1)
    node.said()
    news = signed_record(7, [neighbour(1)] if owner_claims else [])
    assert node.hear(Node(2), records_of(news)) == [news]
    node.gossip.advance(START + 2)
    assert told(node.said()) == ({name(1): [news.record.order]} if is_told else {})


def test_a_broken_connection_is_told_to_its_other_end() -> None:
    """Its owner cannot tell it any more."""
    node = joined(1, 2)
    node.hear(Node(2), records_of(signed_record(1, [neighbour(7)])))
    node.hear(Node(2), records_of(signed_record(7, [neighbour(1)])))
    node.gossip.advance(START + 1)
    node.said()
    news = signed_record(7, [], version=1)
    node.hear(Node(2), records_of(news))
    node.gossip.advance(START + 2)
    assert told(node.said()) == {name(1): [news.record.order]}


def test_no_news_is_not_passed_on() -> None:
    node, news = joined(1, 2), signed_record(7)
    for source in (Node(1), Node(2), Node(1)):
        node.hear(source, records_of(news))
        node.gossip.advance(START + 1)
    assert told(node.said()) == {name(2): [news.record.order]}


def test_our_own_news_goes_to_everybody() -> None:
    node = joined(1, 2)
    node.gossip.spread([node.change(1)], START + 1, None)
    node.gossip.advance(START + 1)
    assert told(node.said()).keys() == {name(1), name(2)}


def test_news_is_coalesced_and_only_the_latest_version_goes_out() -> None:
    node = joined(1)
    for number in range(10):
        node.gossip.spread([node.change(number)], START, None)
        node.gossip.spread([signed_record(7, version=number)], START, name(2))
    node.gossip.advance(START + SETTINGS.flush_every)
    assert told(node.said()) == {name(1): [RecordVersion(1, 10), RecordVersion(1, 9)]}


def test_deltas_to_a_neighbour_are_spaced_and_the_deadline_says_so() -> None:
    node = joined(1)
    flushes = 0
    now = START
    while now < START + 1:
        node.gossip.spread([node.change(flushes % 7, flushes)], now, None)
        deadline = node.gossip.next_deadline()
        assert deadline is not None
        assert now <= deadline.at <= now + SETTINGS.flush_every
        node.gossip.advance(max(now, deadline.at - 1e-6))
        before = node.said()
        node.gossip.advance(deadline.at)
        flushes += len(before) + len(node.said())
        now = deadline.at + 1e-3
    assert 15 <= flushes <= 1 / SETTINGS.flush_every + 1


def test_whose_turn_is_soon_is_told_with_the_others() -> None:
    """The router is woken once for all, and they stay together from then on."""
    node = joined(1)
    node.gossip.neighbour_joined(name(2), START + SETTINGS.flush_every / 3)
    node.gossip.take_messages()
    node.gossip.spread([node.change(1)], START + SETTINGS.flush_every / 2, None)
    deadline = node.gossip.next_deadline()
    assert deadline is not None
    assert deadline.at == START + SETTINGS.flush_every
    node.gossip.advance(deadline.at)
    assert told(node.said()).keys() == {name(1), name(2)}
    node.gossip.advance(START + 1)
    assert node.said() == []


def test_whose_turn_is_late_is_not() -> None:
    node = joined(1)
    node.gossip.neighbour_joined(name(2), START + SETTINGS.flush_every * 0.9)
    node.gossip.take_messages()
    node.gossip.spread([node.change(1)], START + SETTINGS.flush_every * 0.9, None)
    node.gossip.advance(START + SETTINGS.flush_every)
    assert told(node.said()).keys() == {name(1)}


def test_after_a_pause_news_goes_out_at_once() -> None:
    node = joined(1)
    node.gossip.spread([node.change(1)], START + 5, None)
    deadline = node.gossip.next_deadline()
    assert deadline is not None
    assert deadline.at == START + 5


def test_who_left_is_told_no_more() -> None:
    node = joined(1, 2)
    node.gossip.spread([node.change(1)], START, None)
    node.gossip.neighbour_left(name(1))
    node.gossip.neighbour_left(name(9))
    node.gossip.advance(START + 1)
    assert told(node.said()).keys() == {name(2)}
    node.gossip.neighbour_left(name(2))
    assert node.gossip.next_deadline() is not None
    node.gossip.advance(START + 100)
    assert node.said() == []


def test_nothing_to_tell_sets_no_timer() -> None:
    node = joined(1)
    node.gossip.spread([], START, None)
    deadline = node.gossip.next_deadline()
    assert deadline is not None
    assert (deadline.at, deadline.why) == (START + SETTINGS.digest_every, "topology digest")


def large_record(number: int) -> SignedRecord:
    many = [neighbour(1)._replace(name=synthetic_name(n)) for n in range(400)]
    return signed(number, record(number, many))


def test_much_news_goes_out_in_several_messages() -> None:
    records = [large_record(number) for number in range(10, 24)]
    node = joined(1)
    node.gossip.spread(records, START, None)
    node.gossip.advance(START + 1)
    said = node.said()
    assert len(said) > 2
    bodies = []
    for _, message in said:
        assert isinstance(message, Records)
        assert len(encode_gossip(message)) <= MAX_GOSSIP_BYTES
        bodies += [body for body, _ in message.records]
    assert Counter(bodies) == Counter(came.body for came in records)


# --- bad news --------------------------------------------------------------------------------


def test_a_bad_record_is_dropped_alone() -> None:
    node = joined(1, 2)
    good, also_good = signed_record(7), signed_record(8)
    forged = signed(7, record(9))
    pairs = tuple((s.body, s.signature) for s in (good, forged, also_good))
    news = node.hear(Node(1), Records((pairs[0], (b"garbage", bytes(64)), *pairs[1:])))
    assert news == [good, also_good]
    assert len(node.gossip.errors) == 2
    assert node.topology.quarantined == 2
    node.gossip.advance(START + 1)
    assert told(node.said()) == {name(2): [good.record.order, also_good.record.order]}


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_a_malformed_message_is_dropped_whole(body: bytes) -> None:
    node = joined(1)
    assert node.gossip.receive_untrusted(name(1), body, START) == []
    assert len(node.gossip.errors) == 1
    assert node.said() == []


def test_however_often_a_peer_asks_it_is_told_once() -> None:
    """Else a small message would have us send a hundred megabytes."""
    node = Node(0, large_record(7), signed_record(8))
    node.gossip.neighbour_joined(name(1), START)
    node.gossip.take_messages()
    asked = (name(7),) * 4000 + (name(8), name(77))
    node.hear(Node(1), Summary(b"", (), asked))
    ((_, answer),) = node.said()
    assert isinstance(answer, Records)
    assert len(answer.records) == 2
    whole = Summary(bytes(range(64)), (), asked)
    node.hear(Node(1), whole)
    assert Counter(told(node.said())[name(1)]).total() == 3  # with our own


def test_questions_of_strangers_buckets_are_harmless() -> None:
    node = joined(1)
    node.hear(Node(1), Summary(b"\xff\xfe", (), ()))
    assert node.said() == []


def test_an_earlier_life_of_ours_is_no_news_and_goes_no_further() -> None:
    """The engine answers it with a newer record, when it is time to."""
    node = joined(1, 2)
    earlier = signed_record(0, [neighbour(3)], epoch=4, version=2)
    assert node.hear(Node(1), records_of(earlier)) == []
    assert node.topology.ourself.is_outranked
    node.gossip.advance(START + 1)
    assert told(node.said()) == {}


# --- repair ----------------------------------------------------------------------------------

MAX_ROUNDS = 7
"""Digest, buckets, summary, records and wish, records: 5, and one more as both begin at once."""


def repair(a: Node, b: Node, rounds: int = MAX_ROUNDS) -> int:
    """Connect two nodes and carry what they say; how many rounds it took."""
    a.gossip.neighbour_joined(b.name, START)
    b.gossip.neighbour_joined(a.name, START)
    return carry(a, b, rounds)


def carry(a: Node, b: Node, rounds: int = MAX_ROUNDS) -> int:
    """Let them talk until they are silent."""
    for spoken in range(rounds):
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
    return {peer: node.topology.signed(peer) for peer in (*node.topology.peers(), node.name)}


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
    held = {h.name: h.order for h in one.topology.held()}
    assert {peer: held[peer] for peer in best} == best


def test_equal_topologies_say_one_word() -> None:
    one, other = Node(0, ourself(1).signed), Node(1, ourself(0).signed)
    assert repair(one, other) == 1


def test_only_what_differs_is_sent() -> None:
    common = [signed_record(number) for number in range(10, 60)]
    one, other = Node(0, *common, ourself(1).signed), Node(1, *common, ourself(0).signed)
    extra = signed_record(70)
    one.topology.merge_untrusted(extra.body, extra.signature)
    one.gossip.neighbour_joined(other.name, START)
    one.gossip.take_messages()
    one.hear(other, Digest(other.topology.digest()))
    ((_, buckets),) = one.said()
    assert isinstance(buckets, Buckets)
    other.hear(one, buckets)
    ((_, summary),) = other.said()
    assert isinstance(summary, Summary)
    assert len(summary.buckets) == 1
    one.hear(other, summary)
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
    for module in ("weave_py.mesh.gossip", "weave_py.mesh.topology"):
        monkeypatch.setattr(f"{module}.bucket_of", lambda peer: 0)
    monkeypatch.setattr("weave_py.mesh.gossip.MAX_SUMMARY", limit)
    one = Node(0, *(signed_record(number) for number in range(10, 40)))
    other = Node(1, *(signed_record(number, version=number % 2) for number in range(25, 60)))
    repair(one, other)
    # What was left out when one of them began comes when the other does.
    for node in (one, other):
        node.gossip.advance(START + SETTINGS.digest_every)
    carry(one, other)
    assert holdings(one) == holdings(other)


def test_many_summaries_stay_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_py.mesh.gossip.MAX_SUMMARY", 5)
    node = Node(0, *(signed_record(number) for number in range(10, 60)))
    node.gossip.neighbour_joined(name(1), START)
    node.gossip.take_messages()
    node.hear(Node(1), Buckets((bytes(8),) * 64))
    summaries = [message for _, message in node.said()]
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


# --- hints -----------------------------------------------------------------------------------


def star(neighbours: int) -> tuple[Node, list[int], list[int]]:
    """Node 0 with many neighbours, and which of them it sends others' records unasked or not."""
    numbers = list(range(1, neighbours + 1))
    node = joined(*numbers)
    came = signed_record(90)
    node.hear(Node(91), records_of(came))
    node.gossip.advance(START + 0.1)
    eager = {to for to, message in node.said() if isinstance(message, Records)}
    return (
        node,
        [n for n in numbers if name(n) in eager],
        [n for n in numbers if name(n) not in eager],
    )


def test_a_record_goes_to_a_few_and_its_name_to_the_others() -> None:
    node, eager, others = star(40)
    assert 0 < len(eager) < 15
    assert node.said() == []
    node.gossip.advance(START + SETTINGS.hint_after + 0.01)
    said = node.said()
    assert {to for to, _ in said} == {name(n) for n in others}
    for _, message in said:
        assert isinstance(message, Summary)
        assert [held.name for held in message.held] == [name(90)]
        assert message.buckets == b""


def test_who_lacks_what_it_is_told_of_asks_and_gets_it() -> None:
    node, _, others = star(40)
    node.gossip.advance(START + 1)
    hint = next(message for to, message in node.said() if to == name(others[0]))
    asker = Node(others[0])
    asker.hear(node, hint)
    ((to, question),) = asker.said()
    assert to == node.name
    assert question == Summary(b"", (), (name(90),))
    node.hear(asker, question)
    ((to, answer),) = node.said()
    assert to == asker.name
    assert isinstance(answer, Records)
    assert asker.hear(node, answer)
    asker.hear(node, hint)
    assert asker.said() == [], "now it has it"


def test_who_has_told_us_of_it_needs_no_hint() -> None:
    node, _, others = star(40)
    node.gossip.advance(START + 1)
    hints = dict(node.said())
    silent, told_us = others[0], others[1]
    again = signed_record(90, version=5)
    node.hear(Node(91), records_of(again), START + 2)
    other = Node(told_us, again)
    other.gossip.neighbour_joined(node.name, START)
    node.hear(other, Summary(b"", tuple(other.topology.held()[:]), ()), START + 2.1)
    node.said()
    node.gossip.advance(START + 3)
    later = {to for to, message in node.said() if isinstance(message, Summary)}
    assert name(silent) in later
    assert name(told_us) not in later
    assert name(told_us) in hints


def gaps_between_deltas(records: int) -> set[float]:
    """One after the other, as fast as they are sent, with so many records in each."""
    node = joined(1)
    node.hear(Node(91), records_of(signed_record(90)))
    node.gossip.advance(START + 0.5)
    node.said()
    now, gaps = START + 1, set()
    for version in range(2, 7):
        node.gossip.spread(
            [signed_record(n, version=version) for n in range(10, 10 + records)], now, name(2)
        )
        deadline = node.gossip.next_deadline()
        assert deadline is not None
        if version > 2:
            gaps.add(round(deadline.at - now, 6))
        now = deadline.at
        node.gossip.advance(now)
        assert told(node.said()).keys() == {name(1)}
    return gaps


def test_much_news_in_a_large_network_comes_in_fewer_and_larger_deltas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = SETTINGS.flush_every
    assert gaps_between_deltas(3 * gossip.MUCH) == {usual}  # a small network
    monkeypatch.setattr(gossip, "MANY", 0.1)  # as if it were ten times as large as is usual
    assert gaps_between_deltas(gossip.MUCH) == {usual}
    assert gaps_between_deltas(3 * gossip.MUCH) == {round(3 * usual, 6)}
    assert gaps_between_deltas(15 * gossip.MUCH) == {10 * usual}


def test_in_a_large_network_names_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "MANY", 0.1)  # as if there were ten times as many as is usual
    monkeypatch.setattr(gossip, "MUCH", 0.1)
    node, _, others = star(40)
    pause = 2 * 10 * SETTINGS.flush_every
    first = START + SETTINGS.hint_after
    node.gossip.advance(first)
    assert {to for to, _ in node.said()} == {name(n) for n in others}
    node.hear(Node(91), records_of(signed_record(90, version=5)), first)
    node.gossip.advance(first + pause - 0.01)
    assert not any(isinstance(message, Summary) for _, message in node.said())
    node.gossip.advance(first + pause)
    said = node.said()
    assert {to for to, _ in said} == {name(n) for n in others}
    assert all(isinstance(message, Summary) for _, message in said)


def test_our_own_news_goes_to_all_at_once() -> None:
    numbers = list(range(1, 41))
    node = joined(*numbers)
    node.gossip.spread([node.change(7)], START + 1, None)
    node.gossip.advance(START + 1)
    assert told(node.said()).keys() == {name(n) for n in numbers}
