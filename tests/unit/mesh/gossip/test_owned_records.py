"""Do all hold the same records of a channel in the end, and only what owners may have held?"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import identity, record
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.model.errors import AuthenticationError, PeerError, WireError
from weave_py.model.names import PeerName, PeerUID
from weave_py.wire.gossip import Held, RecordVersion, record_key
from weave_py.wire.owned_record import MAX_PAYLOAD, SLOTS, OwnedRecord, context_of, encode_body
from weave_py.wire.topology import PeerRecord

US, THEM, OTHER, STRANGER = 0, 1, 2, 3
BEFORE, NOW, NEXT = 1000, 3, 2
"""Three lives of a peer. (UIDs have no order.)"""


def name(number: int) -> PeerName:
    return identity(number).name


def living(number: int, uid: int = NOW) -> PeerRecord:
    return replace(record(number), uid=PeerUID(uid))


KNOWN = {name(n): living(n) for n in (US, THEM, OTHER)}


def records(
    number: int = US, uid: int = NOW, known: dict[PeerName, PeerRecord] | None = None
) -> OwnedRecords:
    return OwnedRecords(
        "test", identity(number), PeerUID(uid), (KNOWN if known is None else known).get
    )


def signed(
    owner: int, slot: int, order: tuple[int, int], payload: bytes, channel: str = "test"
) -> OwnedRecord:
    who = identity(owner)
    body = encode_body(who.public, slot, RecordVersion(*order), payload)
    signature = who.sign(context_of(channel), body)
    return OwnedRecord(body, signature, who.public, slot, RecordVersion(*order), payload)


def take(store: OwnedRecords, came: OwnedRecord) -> OwnedRecord | None:
    return store.merge_untrusted(came.body, came.signature)


def everything(store: OwnedRecords) -> tuple[object, bytes]:
    return {owner: store.payloads(owner) for owner in store.owners()}, store.digest()


# --- merging ---------------------------------------------------------------------------------

SOME = [
    signed(owner, slot, (uid, version), b"%d.%d" % (uid, version) if version != 2 else b"")
    for owner in (THEM, OTHER)
    for slot in (0, 3, SLOTS - 1)
    for uid in (BEFORE, NOW, NEXT)
    for version in (1, 2, 3)
]
# Two of the same order: an owner's fault.
SOME += [signed(THEM, 0, (NOW, 2), b"twice"), signed(THEM, 0, (NOW, 2), b"thrice")]


def expected(came: list[OwnedRecord], lives: dict[PeerName, PeerRecord]) -> set[bytes]:
    """The bodies of what is to be held: the newest of each slot, of those in their owner's life."""
    newest: dict[bytes, OwnedRecord] = {}
    for each in came:
        owner = next(peer for peer, life in KNOWN.items() if life.identity == each.identity)
        if each.life == lives[owner].uid:
            key = record_key(owner, each.slot)
            best = newest.setdefault(key, each)
            if (each.order, each.body) > (best.order, best.body):
                newest[key] = each
    return {each.body for each in newest.values()}


def bodies(store: OwnedRecords) -> set[bytes]:
    found = [store.signed(held.key) for held in store.held()]
    return {each.body for each in found if each is not None}


@given(st.lists(st.sampled_from(SOME), max_size=20), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_whatever_the_order_all_hold_the_same(came: list[OwnedRecord], dice: random.Random) -> None:
    one, other = records(), records()
    shuffled = list(came)
    dice.shuffle(shuffled)
    for each in came:
        take(one, each)
    for each in itertools.chain(shuffled, came):
        take(other, each)
    assert everything(one) == everything(other)
    assert one.held() == other.held()
    assert bodies(one) == expected(came, KNOWN)


@given(
    st.lists(st.sampled_from([*SOME, THEM, OTHER]), max_size=30),
    st.lists(st.sampled_from([BEFORE, NOW, NEXT]), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=300)
def test_lives_may_become_known_before_or_after_what_is_said_in_them(
    events: list[OwnedRecord | int], last: list[int]
) -> None:
    """A number says that the topology now tells of another life of that peer. Whoever is asked
    again when the store has missed something brings all: nothing else is ever to be repaired."""
    lives = {name(n): living(n, BEFORE) for n in (US, THEM, OTHER)}
    known: dict[PeerName, PeerRecord] = {name(US): living(US)}
    store = records(known=known)
    came: list[OwnedRecord] = []
    turn = itertools.cycle((NEXT, NOW, BEFORE))

    def born(number: int, uid: int) -> None:
        peer = name(number)
        lives[peer] = known[peer] = living(number, uid)
        missed = store.take_missed({peer}, {name(OTHER)})
        store.born({peer})
        assert all(each.life == uid for each in kept(peer))
        for each in came if missed else ():
            take(store, each)

    def kept(owner: PeerName) -> list[OwnedRecord]:
        found = (store.signed(record_key(owner, slot)) for slot in range(SLOTS))
        return [each for each in found if each is not None]

    for event in events:
        if isinstance(event, int):
            born(event, next(turn))
        else:
            came.append(event)
            take(store, event)
    for number, uid in zip((THEM, OTHER), last, strict=True):
        born(number, uid)
    assert bodies(store) == expected(came, lives)
    for each in came:
        key = store.key_of(each)
        ours = store.signed(key)
        is_twice = ours is not None and ours.order == each.order  # (the bodies decide)
        assert is_twice or not store.lacks(Held(key, each.order, each.mark))


def test_news_is_told_once() -> None:
    store, news = records(), signed(THEM, 1, (NOW, 1), b"a")
    assert take(store, news) == news
    assert store.take_changed() == {name(THEM)}
    assert take(store, news) is None
    assert store.take_changed() == set()
    assert store.payloads(name(THEM)) == {1: b"a"}


def test_with_a_new_life_all_that_was_said_before_is_gone() -> None:
    """Also if it says nothing on this channel. An owner that came back without the service had what
    its earlier life had published stay with all for ever."""
    known = dict(KNOWN)
    store = records(known=known)
    empty = store.digest()
    for slot in range(3):
        take(store, signed(THEM, slot, (NOW, 5), b"old"))
    store.take_changed()
    known[name(THEM)] = living(THEM, NEXT)
    store.born({name(THEM)})
    assert store.digest() == empty
    assert store.take_changed() == {name(THEM)}
    assert take(store, signed(THEM, 1, (NOW, 9), b"late")) is None
    assert not store.lacks(Held(record_key(name(THEM), 1), RecordVersion(NOW, 9), b"mark"))
    assert take(store, signed(THEM, 7, (NEXT, 1), b"new"))
    assert store.payloads(name(THEM)) == {7: b"new"}


def test_what_is_new_in_a_new_life_is_taken_before_the_old_is_dropped() -> None:
    """Both may come in one breath: `born` is told at its end."""
    known = dict(KNOWN)
    store = records(known=known)
    for slot in (1, 2):
        take(store, signed(THEM, slot, (NOW, 5), b"old"))
    known[name(THEM)] = living(THEM, NEXT)
    new = signed(THEM, 1, (NEXT, 1), b"new")
    assert store.lacks(Held(record_key(name(THEM), 1), new.order, new.mark))
    assert take(store, new) == new
    store.born({name(THEM)})
    assert store.payloads(name(THEM)) == {1: b"new"}


def test_an_empty_record_frees_its_slot() -> None:
    store = records()
    take(store, signed(THEM, 1, (NOW, 1), b"a"))
    take(store, signed(THEM, 1, (NOW, 2), b""))
    assert store.payloads(name(THEM)) == {}
    assert take(store, signed(THEM, 1, (NOW, 1), b"a")) is None


# --- what is refused -------------------------------------------------------------------------


def test_nobody_speaks_for_another_nor_in_another_channel() -> None:
    store = records()
    forged = signed(THEM, 1, (NOW, 1), b"a")
    with pytest.raises(AuthenticationError):
        store.merge_untrusted(forged.body, bytes(64))
    with pytest.raises(AuthenticationError):
        take(store, signed(THEM, 1, (NOW, 1), b"a", channel="other"))
    assert store.refused == 2
    assert not store.owners()


def test_a_name_belongs_to_the_first_key() -> None:
    store = records(known={name(THEM): living(OTHER)})
    with pytest.raises(PeerError, match="another key"):
        take(store, signed(THEM, 1, (NOW, 1), b"a"))


def test_strangers_have_no_records_until_they_are_known() -> None:
    known = dict(KNOWN)
    store, theirs = records(known=known), signed(STRANGER, 1, (NOW, 1), b"a")
    assert take(store, theirs) is None
    held = Held(record_key(name(STRANGER), 1), theirs.order, theirs.mark)
    assert not store.lacks(held)
    known[name(STRANGER)] = living(STRANGER)
    assert store.take_missed({name(STRANGER), name(THEM)}, {name(OTHER)}) == {name(OTHER)}
    assert not store.take_missed({name(STRANGER)}, {name(OTHER)})
    assert take(store, theirs)


def test_who_has_told_of_a_stranger_is_asked_when_it_is_known() -> None:
    """And not all neighbours: the topology often comes a moment after what its news are about."""
    known = dict(KNOWN)
    store, theirs = records(known=known), signed(STRANGER, 1, (NOW, 1), b"a")
    held = Held(record_key(name(STRANGER), 1), theirs.order, theirs.mark)
    neighbours = {name(OTHER), name(THEM)}
    for told in (
        lambda: store.merge_untrusted(theirs.body, theirs.signature, name(OTHER)),
        lambda: store.lacks(held, name(OTHER)),
    ):
        told()
        assert not store.take_missed({name(STRANGER)}, neighbours)
        known[name(STRANGER)] = living(STRANGER)
        assert store.take_missed({name(STRANGER)}, neighbours) == {name(OTHER)}
        del known[name(STRANGER)]


def test_who_starts_anew_is_asked_about_only_if_something_came_too_early() -> None:
    """A restart in a large network is no reason for all to compare all they hold with all."""
    known = dict(KNOWN)
    store = records(known=known)
    for uid in range(NOW, NOW + 5):
        known[name(THEM)] = living(THEM, uid)
        assert not store.take_missed({name(THEM)}, {name(OTHER)})
        store.born({name(THEM)})
        assert take(store, signed(THEM, 0, (uid, 1), b"x"))
    known[name(THEM)] = living(THEM, NOW)
    assert store.take_missed({name(THEM)}, {name(OTHER)}), "a life that is back"


def test_who_is_forgotten_leaves_nothing() -> None:
    store = records()
    empty = store.digest()
    take(store, signed(THEM, 1, (NOW, 1), b"a"))
    store.take_changed()
    store.forget([name(THEM), name(OTHER)])
    assert store.take_changed() == {name(THEM)}
    assert store.digest() == empty


def test_an_owner_has_others_keep_so_much_and_no_more() -> None:
    store = records()
    for slot in range(SLOTS):
        assert take(store, signed(THEM, slot, (NOW, 1), bytes(MAX_PAYLOAD)))
    for slot, payload in ((SLOTS, b""), (1, bytes(MAX_PAYLOAD + 1))):
        with pytest.raises(WireError):
            take(store, signed(THEM, slot, (NOW, 3), payload))
    assert not store.lacks(Held(record_key(name(THEM), SLOTS), RecordVersion(NOW, 3), b"mark"))


# --- ours ------------------------------------------------------------------------------------


def test_we_publish_what_is_new() -> None:
    store, other = records(), records(OTHER)
    assert store.publish(4, b"a") is not None
    assert store.publish(4, b"a") is None
    assert store.publish(4, None) is not None
    assert store.publish(4, None) is None
    assert store.publish(9, b"b") is not None
    assert store.payloads(name(US)) == {9: b"b"}
    for held in store.held():
        ours = store.signed(held.key)
        assert ours is not None
        take(other, ours)
    assert other.payloads(name(US)) == {9: b"b"}


@pytest.mark.parametrize(("slot", "size"), [(0, MAX_PAYLOAD + 1), (SLOTS, 1), (-1, 1)])
def test_we_publish_nothing_that_others_would_refuse(slot: int, size: int) -> None:
    store = records()
    empty = store.digest()
    with pytest.raises(ValueError, match="slots are 0 to"):
        store.publish(slot, bytes(size))
    assert store.digest() == empty


def test_what_an_earlier_life_of_ours_said_is_not_ours() -> None:
    """Our state went back in time, or another router has our key."""
    store = records()
    store.publish(1, b"mine")
    theirs = signed(US, 1, (BEFORE, 9), b"theirs")
    assert take(store, theirs) is None
    assert not store.lacks(Held(record_key(name(US), 1), theirs.order, theirs.mark))
    assert store.payloads(name(US)) == {1: b"mine"}
    other = records(OTHER)
    assert take(other, theirs) is None


def test_what_a_neighbour_brings_is_charged_to_it_whosever_records_they_are() -> None:
    """F5a: 128 KiB for each identity are too much for many identities."""
    owners = range(10, 30)
    known = {name(n): living(n) for n in (US, *owners)}
    quota = IntroducerQuota(records=10, bytes=10_000, all_records=30, all_bytes=30_000)
    store = OwnedRecords("test", identity(US), PeerUID(NOW), known.get, quota)
    via = [name(number) for number in (10, 11, 12, 13)]
    for neighbour in via:
        store.introducers.joined(neighbour)

    def bring(who: PeerName, owner: int, slot: int) -> bool:
        brought = signed(owner, slot, (NOW, 1), b"x")
        try:
            return store.merge_untrusted(brought.body, brought.signature, who) is not None
        except PeerError:
            return False

    assert sum(bring(via[0], owner, slot) for owner in owners[4:] for slot in range(3)) == 10
    assert not store.lacks(Held(record_key(name(29), 9), RecordVersion(NOW, 1), b"mark"), via[0])
    assert store.lacks(Held(record_key(name(29), 9), RecordVersion(NOW, 1), b"mark"), via[1])
    assert bring(via[0], 10, 5), "its own is not charged"
    assert sum(bring(via[1], owner, slot) for owner in owners[4:] for slot in range(3, 6)) == 10
    assert sum(bring(via[2], owner, slot) for owner in owners[4:] for slot in range(6, 9)) == 10
    assert bring(via[3], 29, 60), "whoever brought most makes room"
    assert len(store.introducers) == 30
    store.forget([name(owner) for owner in owners])
    assert len(store.introducers) == 0
