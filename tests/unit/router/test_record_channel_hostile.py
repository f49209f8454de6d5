"""What can a full disk, a service's slip, or a stranger do to a service's channel?"""

from __future__ import annotations

import pytest

from tests.kit.builders import identity
from tests.kit.counter_service import Add, CounterService
from tests.kit.record_channels import NOW, THEM, US, channel, name, started
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.service import Keep, Publish, Send
from weave_py.model.effects import ERROR, KeepState, LogEvent, Reply
from weave_py.router.unicast_budget import SIGNATURES
from weave_py.wire.gossip import Records, encode_gossip
from weave_py.wire.owned_record import MAX_PAYLOAD
from weave_py.wire.signed_unicast import MAX_MESSAGE

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


@pytest.mark.xfail(strict=True, reason="forgeries are paid from what honest peers need")
def test_forgeries_do_not_silence_the_peers_behind_the_same_neighbour() -> None:
    """Anybody can have 2000 messages a second forwarded, and name any source; 500 a second of them
    empty the budget of the last relay on the way. From then on nothing of any peer behind it is
    heard, and nothing is said: neither to the service nor in the log. (Session handshakes prove
    by a hash who made them before they cost anything: F8. Services' messages could, too.)"""
    ours, theirs, relay = started(US), started(THEM), name(7)
    for _ in range(int(SIGNATURES)):
        ours.receive_unicast_untrusted(name(8), b"anything", relay, NOW)
    body = theirs._unicasts.seal("counter", name(US), b"how-much?")
    assert body is not None
    ours.receive_unicast_untrusted(name(THEM), body, relay, NOW)
    assert len(ours.take_unicasts()) == 1


def test_what_an_earlier_life_published_is_void_where_only_the_channel_is_carried() -> None:
    """A router that had a service, and now only carries its channel, saw its old records, which
    nobody else may replace, and said nothing: they stayed in the network as long as it did."""
    carrier = channel(US)
    carrier.start(None, NOW)
    carrier.neighbour_joined(name(THEM), NOW)
    before = OwnedRecords("counter", identity(US), 1, {name(US): identity(US).public}.get)
    old = before.publish(0, b"5")
    assert old is not None
    body = encode_gossip(Records(((old.body, old.signature),)))
    carrier.receive_gossip_untrusted(name(THEM), body, NOW)
    carrier.advance(NOW + 1)
    ours = [carrier.records.signed(held.key) for held in carrier.records.held()]
    assert any(record is not None and record.order > old.order for record in ours)
