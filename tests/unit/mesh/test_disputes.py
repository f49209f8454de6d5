"""Two keys under one name: does everybody find out, and does it end in the same way? (F19.)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import tokens
from tests.kit.short_names import short_names, twins
from weave_py.crypto.identity import Identity, peer_name_of
from weave_py.mesh.disputes import dispute_between
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.gossip.replicator import Replicator
from weave_py.mesh.ourself import Ourself
from weave_py.mesh.topology import Topology, TopologySettings
from weave_py.model.errors import AuthenticationError, PeerError, WireError
from weave_py.model.names import Endpoint, PeerUID
from weave_py.wire.topology import (
    DISPUTE_SIGNATURE,
    DISPUTED,
    Keys,
    Neighbour,
    SignedRecord,
    decode_record_untrusted,
    encode_dispute,
    glance_at_record_untrusted,
)

NOW = 1000.0


@pytest.fixture(autouse=True)
def _short_names() -> Iterator[None]:
    with short_names():
        yield


def ourself(identity: Identity, incarnation: int = 1) -> Ourself:
    return Ourself(identity, PeerUID(1), incarnation, "peer", [1])


def said(identity: Identity, incarnation: int = 1) -> SignedRecord:
    return ourself(identity, incarnation).signed


def topology(seed: int = 1, settings: TopologySettings | None = None) -> Topology:
    return Topology(ourself(Identity.create(tokens(seed))), settings)


def take(into: Topology, came: SignedRecord) -> SignedRecord | None:
    return into.merge_untrusted(came.body, came.signature)


def test_neither_has_the_name() -> None:
    one, other = twins()
    result = topology()
    take(result, said(one))
    dispute = take(result, said(other))
    assert dispute is not None
    assert dispute.order == DISPUTED
    assert result.is_nobodys(one.name)
    assert result.record(one.name) is None
    assert result.record(one.name) is None
    assert one.name not in result.names
    assert [name for name, *_ in result.take_disputes()] == [one.name]
    for record in (said(one, 2**63 - 1), said(other, 9)):
        assert take(result, record) is None
    assert result.take_disputes() == []


def test_whichever_comes_first_it_is_the_same_record() -> None:
    one, other = twins()
    forwards, backwards = topology(1), topology(2)
    for record in (said(one), said(other, 5)):
        take(forwards, record)
    for record in (said(other), said(one, 7)):
        take(backwards, record)
    key = forwards.key_of(said(one))
    assert forwards.signed(key) == backwards.signed(key) is not None


def test_the_record_comes_back_from_the_wire_and_says_who() -> None:
    one, other = twins()
    made = dispute_between(said(one).record, said(other).record)
    assert decode_record_untrusted(made.body, made.signature) == made
    glance = glance_at_record_untrusted(made.body)
    assert (peer_name_of(glance.identity), glance.order) == (one.name, DISPUTED)
    assert glance.is_dispute


def test_who_hears_of_it_believes_what_it_proves() -> None:
    one, other = twins()
    made = dispute_between(said(one).record, said(other).record)
    result = topology()
    take(result, said(one))
    assert take(result, made) == made
    assert take(result, made) is None
    assert result.is_nobodys(one.name)
    fresh = topology()
    assert take(fresh, made) == made
    assert take(fresh, said(one)) is None


def test_what_it_does_not_prove_is_refused() -> None:
    one, other = twins()
    low, high = sorted(
        Keys(each.public, each.static_public, each.certificate) for each in (one, other)
    )
    stranger = Identity.create(tokens(99))
    strange = Keys(stranger.public, stranger.static_public, stranger.certificate)
    bad = {
        "in the wrong order": (high, low),
        "one key": (low, low),
        "two names": tuple(sorted((low, strange))),
        "a certificate of nobody": (low, high._replace(certificate=bytes(64))),
        "the other's certificate": (low._replace(certificate=high.certificate), high),
    }
    result = topology()
    take(result, said(one))
    for what, (first, second) in bad.items():
        with pytest.raises(AuthenticationError):
            result.merge_untrusted(encode_dispute(first, second), DISPUTE_SIGNATURE)
        assert not result.is_nobodys(one.name), what
    good = encode_dispute(low, high)
    for cut in range(len(good)):
        with pytest.raises(WireError):
            result.merge_untrusted(good[:cut], DISPUTE_SIGNATURE)
    assert result.record(one.name) is not None


def test_a_forged_second_key_disputes_nothing() -> None:
    one, other = twins()
    result = topology()
    take(result, said(one))
    forged = said(other)
    with pytest.raises(PeerError):
        result.merge_untrusted(forged.body, bytes(64))
    assert not result.is_nobodys(one.name)
    assert result.record(one.name) is not None


def test_a_peer_that_was_forgotten_has_its_name_still() -> None:
    one, other = twins()
    result = topology()
    take(result, said(one))
    result.refresh(NOW)
    result.refresh(NOW + 61)
    assert one.name not in result.names
    take(result, said(other))
    assert result.is_nobodys(one.name)
    result.refresh(NOW + 200)
    assert result.is_nobodys(one.name)


def test_our_own_name() -> None:
    """Others will not take us any more, and we say so; once."""
    one, other = twins()
    result = Topology(ourself(one))
    assert take(result, said(other)) is None
    assert result.is_disputed
    assert [name for name, *_ in result.take_disputes()] == [one.name]
    assert take(result, said(other, 2)) is None
    assert take(result, dispute_between(said(one).record, said(other).record)) is None
    assert result.take_disputes() == []
    assert result.signed(result.key_of(said(one))) == result.ourself.signed
    assert Topology(ourself(one)).is_disputed is False


def test_disputes_go_first_where_there_is_no_room() -> None:
    """And they are charged to who brought them."""
    quota = IntroducerQuota(records=2, bytes=100_000, all_records=2, all_bytes=200_000)
    result = topology(1, TopologySettings(quota=quota))
    via, peers = Identity.create(tokens(5)), [Identity.create(tokens(50 + n)) for n in range(3)]
    result.introducers.joined(via.name)

    def bring(record: SignedRecord) -> bool:
        try:
            merged = result.merge_untrusted(record.body, record.signature, via.name, NOW)
        except PeerError:
            return False
        return merged is not None

    def connected(who: Identity, *others: Identity) -> SignedRecord:
        mine = ourself(who)
        ends = [Neighbour(o.name, 1, True, True, Endpoint("192.0.2.1", 1)) for o in others]
        mine.update([], ends)
        return mine.signed

    us = result.ourself._identity
    assert bring(connected(via, us, *peers))
    result.ourself.update([], [Neighbour(via.name, 1, True, True, Endpoint("192.0.2.1", 1))])
    result.refresh(NOW)
    one, other = twins(3)
    assert bring(dispute_between(said(one).record, said(other).record))
    for peer in peers[:2]:
        assert bring(connected(peer, via))
        result.refresh(NOW)
    assert not result.is_nobodys(one.name)
    assert all(result.record(peer.name) is not None for peer in peers[:2])


def test_and_are_refused_where_there_is_none_at_all() -> None:
    quota = IntroducerQuota(records=2, bytes=100_000, all_records=2, all_bytes=200_000)
    result = topology(1, TopologySettings(quota=quota))
    via = Identity.create(tokens(5))
    result.introducers.joined(via.name)
    kept = 0
    for seed in range(5):
        one, other = twins(seed)
        made = dispute_between(said(one).record, said(other).record)
        with suppress(PeerError):
            kept += result.merge_untrusted(made.body, made.signature, via.name, NOW) is not None
    assert kept == 2


def test_of_one_name_one_dispute_a_second_is_taken() -> None:
    """Its owners could make any number, each greater than the last, by changing static keys."""
    result = topology()
    via = Identity.create(tokens(5))
    result.introducers.joined(via.name)
    one, other = twins()
    secret, _ = other.secrets()
    made = []
    for number in range(200):
        again = Identity.from_secrets(secret, tokens(1000 + number)(32))
        made.append(dispute_between(said(one).record, said(again).record))
    taken = 0
    for dispute in sorted(made, key=lambda each: each.body):
        with suppress(PeerError):
            taken += bool(result.merge_untrusted(dispute.body, dispute.signature, via.name, NOW))
    assert taken == TopologySettings().burst


@given(st.randoms(use_true_random=False), st.integers(0, 3))
@settings(deadline=None, max_examples=25)
def test_any_order_of_any_records_ends_in_the_same(random: Random, seed: int) -> None:
    """Of three keys under one name, disputes of each two of them, and older and newer records."""
    with short_names():
        found = twins(seed, 3)
        pool = [said(each, order) for each in found for order in (1, 2)]
        pool += [
            dispute_between(said(a).record, said(b).record) for a in found for b in found if a != b
        ]
        states = []
        for number in (1, 2):
            result = topology(number)
            for record in random.sample(pool, len(pool)):
                take(result, record)
            key = result.key_of(pool[0])
            states.append(result.signed(key))
            assert result.is_nobodys(found[0].name)
        assert states[0] == states[1]


@pytest.mark.parametrize("length", [2, 5])
def test_halves_with_a_key_each_agree_after_a_while(length: int) -> None:
    """Nodes in a row; the first half knows one of the keys, the other half the other."""
    one, other = twins()
    nodes = [
        Ourself(Identity.create(tokens(70 + n)), PeerUID(1), 1, "n", [1]) for n in range(length)
    ]
    stores = [Topology(node) for node in nodes]
    for number, store in enumerate(stores):
        take(store, said(one if number < length // 2 else other, 1 + number % 2))
    gossips = [
        Replicator("topology", node.name, store, store, NOW)
        for node, store in zip(nodes, stores, strict=True)
    ]
    by_name = {node.name: number for number, node in enumerate(nodes)}
    for left in range(length - 1):
        gossips[left].neighbour_joined(nodes[left + 1].name, NOW)
        gossips[left + 1].neighbour_joined(nodes[left].name, NOW)
    now, quiet = NOW, 0
    while now < NOW + 60:
        now += 0.05
        sent = 0
        for number, gossip in enumerate(gossips):
            gossip.advance(now)
            for to, body in gossip.take_messages():
                gossips[by_name[to]].receive_untrusted(nodes[number].name, body, now)
                sent += 1
        quiet = 0 if sent else quiet + 1
    assert all(store.is_nobodys(one.name) for store in stores)
    assert len({store.digest() for store in stores}) == 1
    for gossip in gossips:
        gossip.errors.clear()
        before = gossip.looked_at
        gossip.compare([node.name for node in nodes])
        assert gossip.looked_at == before
