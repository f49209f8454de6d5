"""What can a member make a router do by messages through the mesh, in whoever's name?"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.kit.exchanges import counted
from tests.kit.simulation import Simulation
from weave_py.crypto.identity import Identity
from weave_py.crypto.pair_mac import MAC_BYTES
from weave_py.link.session import HANDSHAKES_PER_SECOND, MOST_HANDSHAKES, Session
from weave_py.model.names import NAME_BYTES, PeerName, PeerUID
from weave_py.model.token_bucket import TokenBucket
from weave_py.router import unicast_budget
from weave_py.router.session_channel import SESSION, SessionChannel
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost
from weave_py.wire.messages import Unicast
from weave_py.wire.packing import pack

dice = random.Random(9)
FLOOD = 1000
NOW = 1000.0


def say(liar: SimHost, relay: SimHost, messages: list[Unicast]) -> None:
    stream = liar.engine.neighbours.of(relay.name)
    assert stream is not None
    assert stream.connection is not None
    for message in messages:
        stream.connection.send(message)
    liar.streams[stream.number].send(stream.connection.take_bytes())


def forgery(source: PeerName, victim: SimHost, kind: int) -> Unicast:
    body = pack([kind, dice.getrandbits(32), dice.randbytes(96), 2**62])
    return Unicast("session", source, victim.name, 32, dice.randbytes(MAC_BYTES) + body)


def settled_chain(
    count: int, settings: EngineSettings | None = None
) -> tuple[Simulation, list[SimHost]]:
    simulation = Simulation(3, settings=settings)
    hosts = simulation.chain(count)
    simulation.run_until(simulation.all_reachable, within=20)
    simulation.run(5)
    return simulation, hosts


def sessions(hosts: list[SimHost]) -> dict[tuple[str, PeerName], int]:
    return {
        (h.address, link.peer): link.session.handshakes for h in hosts for link in h.engine.links
    }


def test_forgeries_through_an_honest_relay_cost_no_exchange() -> None:
    """F7: in the name of everybody, known and unknown, for everybody behind the relay."""
    simulation, hosts = settled_chain(4)
    liar, relay, *others = hosts
    assert simulation.is_whole()
    before = sessions(hosts)
    names = [host.name for host in hosts] + [PeerName(dice.randbytes(NAME_BYTES))]
    with counted() as exchanges:
        for _ in range(10):
            flood = [
                forgery(dice.choice(names), dice.choice([relay, *others]), dice.randint(0, 4))
                for _ in range(FLOOD)
            ]
            say(liar, relay, flood)
            simulation.run(0.1)
    assert exchanges.count == 0
    assert sessions(hosts) == before
    assert simulation.is_whole()
    assert not any(host.events("connection ended") for host in hosts)


def session_channel(host: SimHost) -> SessionChannel:
    channel = host.engine._channels[SESSION]
    assert isinstance(channel, SessionChannel)
    return channel


def calls_per_forgery(peers: int) -> float:
    """Python calls that a router with so many links makes for each forged message."""
    simulation = Simulation(3)
    liar, victim, *_ = simulation.mesh(peers)
    simulation.run_until(simulation.is_full_mesh, within=20)
    simulation.run(5)
    channel = session_channel(victim)
    names = sorted(link.peer for link in victim.engine.links)
    messages = [forgery(dice.choice(names), victim, dice.randint(1, 3)) for _ in range(FLOOD)]
    with calls_counted() as calls:
        for message in messages:
            channel.receive_unicast_untrusted(
                message.source, message.body, liar.name, simulation.now
            )
    return calls() / FLOOD


class calls_counted:
    def __enter__(self) -> Callable[[], int]:
        self.calls = 0
        sys.setprofile(self._note)
        return lambda: self.calls

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: object, event: str, argument: object) -> None:
        self.calls += event == "call"


def test_what_a_forgery_costs_does_not_grow_with_the_links() -> None:
    """F7: each message walked over all links."""
    few, many = calls_per_forgery(3), calls_per_forgery(20)
    assert many == pytest.approx(few, rel=0.05)
    assert few < 100


def test_only_who_has_really_asked_gets_a_link() -> None:
    """F7: in a network with more peers than get a link at once anybody could make a router begin
    a session with each of the others."""
    simulation, hosts = settled_chain(4, EngineSettings(eager_links=0))
    liar, relay, victim, asking = hosts
    channel = session_channel(victim)
    far = [liar.name, Identity.create(dice.randbytes).name]
    with counted() as exchanges:
        for _ in range(FLOOD):
            say(liar, relay, [forgery(name, victim, 1) for name in far])
        simulation.run(1)
    assert exchanges.count <= 1, "one for each known peer, for ever"
    assert victim.engine.links.get(liar.name) is None
    assert len(channel._strangers) == 1
    liar.engine.link_to(victim.name, simulation.now)
    liar.carry_out()
    simulation.run(2)
    link = victim.engine.links.get(liar.name)
    assert link is not None
    assert link.session.current is not None
    assert asking.engine.links.get(liar.name) is None


def test_a_flood_for_others_is_passed_on_within_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """F7: what a relay passes on is what the target has to read."""
    monkeypatch.setattr(unicast_budget, "FORWARDED", 100)
    monkeypatch.setattr(unicast_budget, "FORWARDED_PER_SECOND", 10.0)
    simulation, (liar, relay, victim) = settled_chain(3)
    arrived: list[PeerName] = []
    channel = session_channel(victim)
    take_in = channel.receive_unicast_untrusted

    def note(source: PeerName, message: bytes, neighbour: PeerName, now: float) -> None:
        arrived.append(source)
        take_in(source, message, neighbour, now)

    monkeypatch.setattr(channel, "receive_unicast_untrusted", note)
    simulation.run(30)
    say(liar, relay, [forgery(liar.name, victim, 1) for _ in range(FLOOD)])
    simulation.run(1)
    assert 100 <= len(arrived) <= 110
    assert relay.engine.unicasts_undeliverable == FLOOD - len(arrived)
    say(relay, victim, [forgery(liar.name, victim, 1)])
    simulation.run(1)
    assert len(arrived) <= 111, "what the relay says for itself is not booked to it there"


def test_many_that_flood_leave_the_others_at_the_same_relay_their_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What one relay passes on was more than the next one takes from it: of what honest peers said
    there as little arrived as of the garbage, the less, the more neighbours flood."""
    for budget, much in (("FORWARDED", 200), ("ONWARD", 200), ("LITTLE", 5)):
        monkeypatch.setattr(unicast_budget, budget, much)
        monkeypatch.setattr(unicast_budget, f"{budget}_PER_SECOND", much / 10)
    monkeypatch.setattr(unicast_budget, "KEPT_FREE", 100)
    simulation = Simulation(3)
    relay, last, victim = simulation.chain(3)
    *liars, honest = (simulation.add() for _ in range(9))
    for leaf in (*liars, honest):
        for other in simulation.hosts:
            if other is not relay and other is not leaf:
                simulation.cut(leaf, other)
        simulation.call(leaf, relay)
    simulation.run_until(simulation.all_reachable, within=20)
    simulation.run(60)  # and with their budgets full again
    arrived: list[bytes] = []
    channel = session_channel(victim)

    def note(source: PeerName, message: bytes, neighbour: PeerName, now: float) -> None:
        arrived.append(message)

    monkeypatch.setattr(channel, "receive_unicast_untrusted", note)
    spoken = []
    for second in range(60):
        for liar in liars:
            say(liar, relay, [forgery(honest.name, victim, 1) for _ in range(100)])
        spoken.append(b"%d" % second)
        if not second % 2:
            say(honest, relay, [Unicast(SESSION, honest.name, victim.name, 32, spoken[-1])])
        simulation.run(1)
    said = set(spoken[::2])
    assert len(said.intersection(arrived)) >= 0.9 * len(said)
    assert len(arrived) <= 1500, "and the flood is kept within bounds"
    assert last.engine.unicasts_undeliverable <= len(arrived) / 20


# --- true handshakes -------------------------------------------------------------------------


def pairs(count: int) -> Iterator[tuple[Session, Session]]:
    """Peers, and the sessions with them of one that is named above them all."""
    made = sorted((Identity.create(dice.randbytes) for _ in range(count + 1)), key=lambda i: i.name)
    *peers, target = made
    index = iter(range(1000, 10_000_000))
    for peer in peers:
        theirs = Session(peer, PeerUID(1), target.name, (1,), dice.randbytes, lambda: next(index))
        ours = Session(target, PeerUID(2), peer.name, (1,), dice.randbytes, lambda: next(index))
        theirs.peer_known(target.static_public, PeerUID(2), NOW)
        ours.peer_known(peer.static_public, PeerUID(1), NOW)
        yield theirs, ours


def bucket() -> TokenBucket:
    return TokenBucket(unicast_budget.HANDSHAKES, unicast_budget.HANDSHAKES_PER_SECOND)


def test_a_thousand_peers_behind_one_neighbour_start_and_renew_at_once() -> None:
    """F7: the limit must not hurt them, though each try is also sent again and arrives twice, as
    renewals do."""
    thousand = list(pairs(999))
    neighbour = bucket()
    for round_number in range(2):
        now = NOW + 125 * round_number
        said = []
        for at in (now, now + 0.5, now + 1.5, now + 3.5):  # their answers come too late
            for theirs, ours in thousand:
                theirs.advance(at)
                said += [(ours, message) for message in theirs.take_messages()]
        for ours, message in said:
            for _ in range(2):
                ours.receive_untrusted(message, now + 4, neighbour)
        for theirs, ours in thousand:
            for answer in ours.take_messages():
                theirs.receive_untrusted(answer, now + 4)
            assert theirs.handshakes == round_number + 1, ours.last_error
            assert theirs.current is not None
            ours.confirmed(theirs.current.theirs, now + 4)


def test_a_member_with_many_identities_is_bounded_by_the_neighbour_it_comes_through() -> None:
    """It holds the keys of all, so what it says is true, and new."""
    farm = list(pairs(300))
    neighbour, honest = TokenBucket(100, 10), bucket()
    with counted() as exchanges:
        for second in range(10):
            said = []
            for theirs, ours in farm:
                for millisecond in range(3):
                    theirs._initiate(NOW + second + millisecond / 1000)
                said += [(ours, message) for message in theirs.take_messages()]
            made = exchanges.count
            for ours, message in said:
                ours.receive_untrusted(message, NOW + second, neighbour)
            spent = exchanges.count - made
            assert spent <= 4 * (110 if second == 0 else 11)
    theirs, ours = next(pairs(1))
    theirs.advance(NOW)
    (message,) = theirs.take_messages()
    ours.receive_untrusted(message, NOW, honest)
    assert ours.current is not None, "who comes through another neighbour does not notice"


def test_one_identity_does_not_spend_what_others_have() -> None:
    (theirs, ours), *_ = pairs(1)
    neighbour = TokenBucket(100, 0)
    for second in range(100):
        for millisecond in range(10):
            theirs._initiate(NOW + second + millisecond / 1000)
        for message in theirs.take_messages():
            ours.receive_untrusted(message, NOW + second, neighbour)
    left = sum(neighbour.take(NOW) for _ in range(200))
    assert 100 - left <= MOST_HANDSHAKES + 100 * HANDSHAKES_PER_SECOND


def test_a_renewal_inside_the_session_needs_nothing_of_the_neighbours_budget() -> None:
    (theirs, ours), *_ = pairs(1)
    spent = TokenBucket(0, 0)
    theirs.advance(NOW)
    (message,) = theirs.take_messages()
    ours.receive_untrusted(message, NOW, spent)
    assert "through one neighbour" in ours.last_error
    assert ours.current is None
    ours.receive_untrusted(message, NOW)
    assert ours.current is not None
