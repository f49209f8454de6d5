"""Does news reach everybody, once and in time, and what is forged or malformed nobody?"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import neighbour, record, signed, signed_record
from tests.kit.gossip_nodes import START, Node, joined, large_record, name, records_of, told
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.wire.gossip import (
    MAX_GOSSIP_BYTES,
    Records,
    RecordVersion,
    Summary,
    encode_gossip,
    record_key,
)

SETTINGS = GossipSettings()


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


def test_much_news_goes_out_in_several_messages() -> None:
    records = [large_record(number) for number in range(10, 24)]
    node = joined(1)
    node.gossip.spread(records, START, None)
    node.gossip.advance(START + 1)
    said = node.said()
    assert len(said) == 1, "a message at a time"
    while (deadline := node.gossip.next_deadline()) and deadline.at <= START + 1:
        node.gossip.advance(START + 1)
        said += node.said()
    assert len(said) > 1
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
    asked = tuple(record_key(name(n)) for n in (*[7] * 4000, 8, 77))
    node.hear(Node(1), Summary(b"", (), asked))
    ((_, answer),) = node.said()
    assert isinstance(answer, Records)
    assert len(answer.records) == 2
    for _ in range(1000):
        node.hear(Node(1), Summary(bytes(range(64)), (), asked))
    assert node.said() == [], "not twice before the router has been woken again"
    node.gossip.advance(START)
    ((_, mention),) = node.said()
    assert isinstance(mention, Summary)
    assert len(mention.held) == 3  # with our own
    node.gossip.advance(START)
    assert Counter(told(node.said())[name(1)]).total() == 2
    node.gossip.advance(START)
    assert node.said() == []


def test_to_a_connection_that_takes_no_more_nothing_is_said() -> None:
    """F5b: an answer of more than 4 MiB was queued at once, and its stream cut for it."""
    node = Node(0, *(large_record(number) for number in range(10, 40)))
    node.gossip.neighbour_joined(name(1), START)
    node.gossip.take_messages()
    node.gossip.stream_writable(name(1), False, START)
    everything = Summary(bytes(range(64)), (), tuple(record_key(name(n)) for n in range(10, 40)))
    node.hear(Node(1), everything)
    node.gossip.spread([large_record(50), node.change(3)], START, None)
    for at in range(5):
        node.gossip.advance(START + at)
        assert node.said() == []
    deadline = node.gossip.next_deadline()
    assert deadline is not None
    assert "digest" in deadline.why, "nor is the router woken for it"
    bodies: set[bytes] = set()
    for turn in range(60):  # the connection takes one message, and then no more for a while
        node.gossip.stream_writable(name(1), True, START + 6)
        node.gossip.advance(START + 6)
        said = node.said()
        assert len(said) <= 2, f"turn {turn}"
        node.gossip.stream_writable(name(1), False, START + 6)
        for _, message in said:
            if isinstance(message, Records):
                bodies |= {body for body, _ in message.records}
    assert len(bodies) == 32


def test_questions_of_strangers_buckets_are_harmless() -> None:
    node = joined(1)
    node.hear(Node(1), Summary(b"\xff\xfe", (), ()))
    assert node.said() == []


def test_an_earlier_life_of_ours_is_no_news_and_goes_no_further() -> None:
    """The engine answers it with a newer record, when it is time to."""
    node = joined(1, 2)
    earlier = signed_record(0, [neighbour(3)], incarnation=4, version=2)
    assert node.hear(Node(1), records_of(earlier)) == []
    assert node.topology.ourself.is_outranked
    node.gossip.advance(START + 1)
    assert told(node.said()) == {}
