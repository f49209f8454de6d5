"""What can a full disk, a service's slip, or a stranger do to a service's channel?"""

from __future__ import annotations

from dataclasses import replace

from tests.kit.builders import identity, record
from tests.kit.counter_service import Add, CounterService
from tests.kit.exchanges import counted
from tests.kit.record_channels import NOW, THEM, US, channel, name, started
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.service import Keep, Publish, Send
from weave_py.model.effects import ERROR, KeepState, LogEvent, Reply
from weave_py.model.names import PeerUID
from weave_py.router.record_channel import RecordChannel
from weave_py.router.unicast_budget import KEPT, MESSAGES, OF_PEER
from weave_py.wire.gossip import Records, encode_gossip
from weave_py.wire.owned_record import MAX_PAYLOAD
from weave_py.wire.service_unicast import (
    MAX_MESSAGE,
    decode_unicast_untrusted,
    encode_unicast,
)

MANY = 5000


def test_what_a_service_says_too_much_ends_no_router() -> None:
    """ValueError came out of `advance`, `state_kept` or `received`, and with it the router ended:
    what a service publishes may be as large as others make it (a list of what they asked for)."""

    class Slipping(CounterService):
        def requested(self, ticket: int, request: object, now: float) -> None:
            self._outputs += [
                Publish(1, bytes(MAX_PAYLOAD + 1)),
                Send(name(THEM), bytes(MAX_MESSAGE + 1)),
                Reply(ticket, "done"),
            ]

    ours = channel(US, Slipping())
    ours.start(None, NOW)
    ours.request(1, None, NOW)
    effects = ours.take_effects()
    assert effects[-1] == Reply(1, "done")
    assert [e.level for e in effects if isinstance(e, LogEvent)] == [ERROR, ERROR]


def test_what_strangers_make_a_service_say_does_not_pile_up_behind_a_full_disk() -> None:
    """Behind a Keep all waits for the disk. As long as it is full each message of a peer, which may
    come 500 times a second, was one answer more in memory."""
    ours, theirs = started(US), started(THEM)
    ours.request(1, Add(1), NOW)  # and its Keep is never on disk
    for number in range(MANY):
        body = theirs._unicasts.seal("counter", name(US), b"how-much?")
        assert body is not None
        ours.receive_unicast_untrusted(name(THEM), body, name(THEM), NOW + number)
    assert len(ours._waiting) <= MANY / 2


def test_what_is_to_be_kept_when_the_router_stops_is_kept() -> None:
    """While one Keep was being written the next ones waited, and at the stop they were lost, those
    of `stopping` among them: the engine is not asked again what it wants."""

    class Closing(CounterService):
        def stopping(self, now: float) -> None:
            self._outputs += [Keep("the end"), Publish(0, None)]

    ours = channel(US, Closing())
    ours.start(None, NOW)
    ours.request(1, Add(1), NOW)
    ours.take_effects()
    ours.stop(NOW)
    assert [e.value for e in ours.take_effects() if isinstance(e, KeepState)] == ["the end"]


def sealed(theirs: RecordChannel, message: bytes = b"how-much?") -> bytes:
    body = theirs._unicasts.seal("counter", name(US), message)
    assert body is not None
    return body


def test_forgeries_do_not_silence_the_peers_behind_the_same_neighbour() -> None:
    """Anybody can have 2000 messages a second forwarded, and name any source; 500 a second of them
    emptied the budget of the last relay on the way. From then on nothing of any peer behind it was
    heard, and nothing was said: neither to the service nor in the log. (Session handshakes prove
    by a hash who made them before they cost anything: F7. Services' messages do, too.)"""
    ours, theirs, relay = started(US), started(THEM), name(7)
    true = decode_unicast_untrusted(sealed(theirs))
    forged = [
        (name(8), b"anything"),
        (name(THEM), b"anything"),
        (name(THEM), encode_unicast(true._replace(mac=bytes(16)))),
        (name(THEM), encode_unicast(true._replace(number=1 << 63))),
        (name(THEM), encode_unicast(true._replace(message=b"so-much 7"))),
        (name(THEM), encode_unicast(true._replace(uid=PeerUID(true.uid + 1)))),
        (name(US), encode_unicast(true)),
        (name(8), encode_unicast(true)),
    ]
    with counted() as exchanges:
        for number in range(2 * MESSAGES):
            source, body = forged[number % len(forged)]
            ours.receive_unicast_untrusted(source, body, relay, NOW)
    assert exchanges.count <= 2, "one for each peer that is known"
    assert ours.take_unicasts() == []
    for _ in range(MESSAGES // 2):
        ours.receive_unicast_untrusted(name(THEM), encode_unicast(true), relay, NOW)  # once heard
    assert len(ours.take_unicasts()) == 1
    ours.receive_unicast_untrusted(name(THEM), sealed(theirs), relay, NOW)
    assert len(ours.take_unicasts()) == 1


def test_who_says_much_does_not_silence_who_says_little_behind_the_same_neighbour() -> None:
    """What is true is paid for, too. One peer cannot spend what its neighbour has for all, and many
    together cannot spend the little that each has for itself."""
    many = range(20, 26)
    ours, theirs, relay = channel(US, CounterService(), (US, THEM, *many)), started(THEM), name(7)
    ours.start(None, NOW)
    loud = [channel(number, None, (US, number)) for number in many]

    def flood(who: RecordChannel) -> int:
        for _ in range(OF_PEER + 200):
            ours.receive_unicast_untrusted(who.records.ourself, sealed(who), relay, NOW)
        return len(ours.take_unicasts())

    assert flood(loud[0]) == OF_PEER
    heard = OF_PEER + sum(flood(each) for each in loud[1:])
    assert MESSAGES <= heard <= MESSAGES + KEPT * len(many)
    for _ in range(KEPT + 1):
        ours.receive_unicast_untrusted(name(THEM), sealed(theirs), relay, NOW)
    assert len(ours.take_unicasts()) == KEPT
    ours.receive_unicast_untrusted(name(THEM), sealed(theirs), name(6), NOW)
    assert len(ours.take_unicasts()) == 1, "through another neighbour"


def test_what_an_earlier_life_published_is_void_wherever_the_new_one_is_known() -> None:
    """A router that had a service, and now only carries its channel, or not even that, could not
    have its old records replaced: they stayed in the network as long as it did."""
    lives = {name(n): record(n) for n in (US, THEM)}
    ours = channel(US, CounterService(), known=lives)
    ours.start(None, NOW)
    ours.neighbour_joined(name(THEM), NOW)
    before = OwnedRecords("counter", identity(THEM), lives[name(THEM)].uid, lives.get)
    old = before.publish(0, b"5")
    assert old is not None
    body = encode_gossip(Records(((old.body, old.signature),)))
    ours.receive_gossip_untrusted(name(THEM), body, NOW)
    assert ours.records.payloads(name(THEM)) == {0: b"5"}
    lives[name(THEM)] = replace(record(THEM), uid=PeerUID(99))
    ours.peers_changed(PeersChanged(born={name(THEM)}), NOW)
    for _ in range(2):
        assert name(THEM) not in ours.records.owners()
        assert ours.service is not None
        assert ours.service.snapshot(NOW) == {name(US): 0}
        ours.receive_gossip_untrusted(name(THEM), body, NOW)


def test_who_starts_anew_again_and_again_does_not_have_us_compare_as_often() -> None:
    """A neighbour that mentions records of lives to come, and has them come, had all neighbours
    compare all they hold with us each time."""
    lives = {name(n): record(n) for n in (US, THEM)}
    ours = channel(US, CounterService(), known=lives)
    ours.start(None, NOW)
    for neighbour in (name(THEM), name(7)):
        ours.neighbour_joined(neighbour, NOW)
    ours.take_messages()
    for number in range(100, 200):
        uid = PeerUID(number)
        owner = OwnedRecords("counter", identity(THEM), uid, lives.get)
        early = owner.publish(0, b"5")
        assert early is not None
        told = encode_gossip(Records(((early.body, early.signature),)))
        ours.receive_gossip_untrusted(name(THEM), told, NOW + number / 100)
        lives[name(THEM)] = replace(record(THEM), uid=uid)
        ours.peers_changed(PeersChanged(born={name(THEM)}), NOW + number / 100)
    said = ours.take_messages()
    assert {to for to, _ in said} == {name(THEM)}
    assert len(said) <= 2
