"""Does a large network get by with few records and many names, told together, and lack nothing?"""

from __future__ import annotations

import pytest

from tests.kit.builders import signed_record
from tests.kit.gossip_nodes import START, Node, joined, name, records_of, told
from weave_py.mesh.gossip import pending, replicator
from weave_py.mesh.gossip.pending import ASK_AGAIN, PendingRequests
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.mesh.topology import TopologySettings
from weave_py.wire.gossip import Held, Records, RecordVersion, Summary, owner_of, record_key

SETTINGS = GossipSettings()


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
        assert [owner_of(held.key) for held in message.held] == [name(90)]
        assert message.buckets == b""


def test_who_lacks_what_it_is_told_of_asks_and_gets_it() -> None:
    node, _, others = star(40)
    node.gossip.advance(START + 1)
    hint = next(message for to, message in node.said() if to == name(others[0]))
    asker = Node(others[0])
    asker.hear(node, hint)
    ((to, question),) = asker.said()
    assert to == node.name
    assert question == Summary(b"", (), (record_key(name(90)),))
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
    assert gaps_between_deltas(3 * replicator.MUCH) == {usual}  # a small network
    monkeypatch.setattr(replicator, "MANY", 0.1)  # as if it were ten times as large as is usual
    assert gaps_between_deltas(replicator.MUCH) == {usual}
    assert gaps_between_deltas(3 * replicator.MUCH) == {round(3 * usual, 6)}
    assert gaps_between_deltas(15 * replicator.MUCH) == {10 * usual}


def test_in_a_large_network_names_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicator, "MANY", 0.1)  # as if there were ten times as many as is usual
    monkeypatch.setattr(replicator, "MUCH", 0.1)
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


def test_however_many_names_are_made_up_few_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending, "MAX_ASKED", 50)
    asked = PendingRequests()
    invented = [Held(record_key(name(n)), RecordVersion(1, 1), b"mark") for n in range(120)]
    assert [asked.ask(held, name(1), 0.0) for held in invented].count(True) == 50
    assert not asked.ask(invented[110], name(1), 0.5)
    assert asked.ask(invented[110], name(1), ASK_AGAIN + 0.5)
    assert len(asked._open) == 1


def test_what_is_in_limbo_is_not_asked_for() -> None:
    node = joined(1)
    gone = signed_record(9, [], 1, 1)
    node.hear(Node(1), records_of(gone))
    node.topology.refresh(START)
    node.topology.refresh(START + TopologySettings().forget_after)
    assert name(9) in node.topology.forgotten(9)
    held = Held(record_key(name(9)), gone.record.order, gone.mark)
    assert not node.topology.lacks(held)
    assert node.topology.lacks(held._replace(order=RecordVersion(1, 2), mark=b"mew!"))
