"""Does a service's word leave in order, after what it must not forget, to those that listen?"""

from __future__ import annotations

from tests.kit.counter_service import Add
from tests.kit.record_channels import NOW, THEM, US, channel, kept, name, started
from weave_py.mesh.channel import PeersChanged
from weave_py.model.effects import Effect, KeepState, LogEvent, Reply
from weave_py.wire.gossip import Records, decode_gossip_untrusted, encode_gossip


def test_nothing_is_told_before_it_is_on_disk() -> None:
    ours = started()
    ours.neighbour_joined(name(THEM), NOW)
    ours.take_messages()
    ours.request(1, Add(5), NOW)
    ours.advance(NOW + 1)
    (keep,) = kept(ours.take_effects())
    assert (keep.name, keep.value) == ("counter", 5)
    assert ours.records.payloads(name(US)) == {0: b"0"}
    ours.state_kept(keep.ticket, NOW + 2)
    assert ours.take_effects() == [Reply(1, 5)]
    assert ours.records.payloads(name(US)) == {0: b"5"}


def test_what_comes_later_waits_for_the_disk_too_and_stays_in_order() -> None:
    ours = started()
    for ticket in (1, 2, 3):
        ours.request(ticket, Add(1), NOW)
    said: list[Effect] = []
    for _ in range(3):
        effects = ours.take_effects()
        said += effects
        for keep in kept(effects):
            ours.state_kept(keep.ticket, NOW)
    said += ours.take_effects()
    assert [e.value for e in said if isinstance(e, KeepState)] == [1, 2, 3]
    assert [e.ticket for e in said if isinstance(e, Reply)] == [1, 2, 3]


def test_only_who_announced_the_channel_is_listened_to() -> None:
    ours, theirs = started(US), started(THEM)
    page = theirs.records.signed(theirs.records.held()[0].key)
    assert page is not None
    body = encode_gossip(Records(((page.body, page.signature),)))
    ours.receive_gossip_untrusted(name(THEM), body, NOW)
    assert name(THEM) not in ours.records.owners()
    ours.neighbour_joined(name(THEM), NOW)
    ours.receive_gossip_untrusted(name(THEM), body, NOW)
    assert name(THEM) in ours.records.owners()


def test_a_bad_record_is_logged_and_ends_nothing() -> None:
    ours = started()
    ours.neighbour_joined(name(THEM), NOW)
    ours.receive_gossip_untrusted(
        name(THEM), encode_gossip(Records(((b"garbage", bytes(64)),) * 20)), NOW
    )
    ours.receive_gossip_untrusted(name(THEM), b"no message at all", NOW)
    logged = [effect for effect in ours.take_effects() if isinstance(effect, LogEvent)]
    assert 1 <= len(logged) <= 4
    assert {entry.event for entry in logged} == {"record refused"}


def test_what_is_not_authentic_does_not_reach_the_service() -> None:
    ours = started()
    ours.receive_unicast_untrusted(name(THEM), b"how-much?", name(THEM), NOW)
    assert ours.take_unicasts() == []
    assert ours.refused == 1


def test_without_the_service_records_are_carried_all_the_same() -> None:
    carrier, theirs = channel(US), started(THEM)
    carrier.start(None, NOW)
    for each in (carrier, theirs):
        other = name(US) if each is theirs else name(THEM)
        each.neighbour_joined(other, NOW)
    page = theirs.records.signed(theirs.records.held()[0].key)
    assert page is not None
    body = encode_gossip(Records(((page.body, page.signature),)))
    carrier.receive_gossip_untrusted(name(THEM), body, NOW)
    carrier.neighbour_joined(name(9), NOW)  # (who joins is told by digests)
    newer = theirs.records.publish(1, b"more")
    assert newer is not None
    told = encode_gossip(Records(((newer.body, newer.signature),)))
    carrier.receive_gossip_untrusted(name(THEM), told, NOW)
    carrier.advance(NOW + 1)
    said = [decode_gossip_untrusted(body) for to, body in carrier.take_messages() if to == name(9)]
    assert Records(((newer.body, newer.signature),)) in said


def test_who_is_forgotten_is_gone_for_the_service_too() -> None:
    ours, theirs = started(US), started(THEM)
    ours.neighbour_joined(name(THEM), NOW)
    page = theirs.records.signed(theirs.records.held()[0].key)
    assert page is not None
    ours.receive_gossip_untrusted(
        name(THEM), encode_gossip(Records(((page.body, page.signature),))), NOW
    )
    assert ours.service is not None
    assert ours.service.snapshot(NOW) == {name(US): 0, name(THEM): 0}
    ours.peers_changed(PeersChanged(forgotten={name(THEM)}), NOW)
    assert ours.service.snapshot(NOW) == {name(US): 0}


def test_what_a_peer_says_is_heard_once_however_often_it_comes() -> None:
    ours, theirs = started(US), started(THEM)
    body = theirs._unicasts.seal("counter", name(US), b"how-much?")
    assert body is not None
    for via in (7, 7, 8):
        ours.receive_unicast_untrusted(name(THEM), body, name(via), NOW)
    assert [to for to, _ in ours.take_unicasts()] == [name(THEM)]
    assert ours.refused == 2
