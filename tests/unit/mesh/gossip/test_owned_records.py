"""Do all hold the same records of a channel in the end, and only what owners may have held?"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import identity
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.gossip.owned_records import OwnedRecords, Quota
from weave_py.model.errors import AuthenticationError, PeerError
from weave_py.model.names import PeerName
from weave_py.wire.gossip import Held, RecordVersion, record_key
from weave_py.wire.owned_record import MAX_PAYLOAD, OwnedRecord, context_of, encode_body

US, THEM, OTHER, STRANGER = 0, 1, 2, 3
KNOWN = {identity(n).name: identity(n).public for n in (US, THEM, OTHER)}


def name(number: int) -> PeerName:
    return identity(number).name


def records(
    number: int = US, incarnation: int = 1, known: dict[PeerName, bytes] | None = None
) -> OwnedRecords:
    return OwnedRecords(
        "test", identity(number), incarnation, (KNOWN if known is None else known).get
    )


def signed(
    owner: int, slot: int, order: tuple[int, int], payload: bytes, channel: str = "test"
) -> OwnedRecord:
    who = identity(owner)
    body = encode_body(who.public, slot, RecordVersion(*order), payload)
    signature = who.sign(context_of(channel), body)
    return OwnedRecord(body, signature, who.public, slot, RecordVersion(*order), payload)


def take(store: OwnedRecords, record: OwnedRecord) -> OwnedRecord | None:
    return store.merge_untrusted(record.body, record.signature)


def everything(store: OwnedRecords) -> tuple[object, bytes]:
    return {owner: store.payloads(owner) for owner in store.owners()}, store.digest()


# --- merging ---------------------------------------------------------------------------------

SOME = [
    signed(owner, slot, (incarnation, version), b"%d.%d" % (incarnation, version))
    for owner in (THEM, OTHER)
    for slot in (0, 3)
    for incarnation in (1, 2)
    for version in (1, 2)
]
# Two of the same order: an owner's fault.
SOME += [signed(THEM, 0, (2, 2), b"twice"), signed(THEM, 0, (2, 2), b"thrice")]


@given(st.lists(st.sampled_from(SOME), max_size=12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_whatever_the_order_all_hold_the_same(came: list[OwnedRecord], dice: object) -> None:
    one, other = records(), records()
    shuffled = list(came)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    for record in came:
        take(one, record)
    for record in itertools.chain(shuffled, came):
        take(other, record)
    assert everything(one) == everything(other)
    assert one.held() == other.held()


def test_news_is_told_once() -> None:
    store, record = records(), signed(THEM, 1, (1, 1), b"a")
    assert take(store, record) == record
    assert store.take_changed() == {name(THEM)}
    assert take(store, record) is None
    assert store.take_changed() == set()
    assert store.payloads(name(THEM)) == {1: b"a"}


def test_with_a_new_incarnation_all_that_was_said_before_is_gone() -> None:
    store = records()
    for slot in range(3):
        take(store, signed(THEM, slot, (1, 5), b"old"))
    assert take(store, signed(THEM, 7, (2, 1), b"new"))
    assert store.payloads(name(THEM)) == {7: b"new"}
    assert take(store, signed(THEM, 1, (1, 9), b"late")) is None
    assert not store.lacks(Held(record_key(name(THEM), 1), RecordVersion(1, 9), b"mark"))


def test_an_empty_record_frees_its_slot() -> None:
    store = records()
    take(store, signed(THEM, 1, (1, 1), b"a"))
    take(store, signed(THEM, 1, (1, 2), b""))
    assert store.payloads(name(THEM)) == {}
    assert take(store, signed(THEM, 1, (1, 1), b"a")) is None


# --- what is refused -------------------------------------------------------------------------


def test_nobody_speaks_for_another_nor_in_another_channel() -> None:
    store = records()
    forged = signed(THEM, 1, (1, 1), b"a")
    with pytest.raises(AuthenticationError):
        store.merge_untrusted(forged.body, bytes(64))
    with pytest.raises(AuthenticationError):
        take(store, signed(THEM, 1, (1, 1), b"a", channel="other"))
    assert store.refused == 2
    assert not store.owners()


def test_a_name_belongs_to_the_first_key() -> None:
    store = records(known={name(THEM): bytes(32)})
    with pytest.raises(PeerError, match="another key"):
        take(store, signed(THEM, 1, (1, 1), b"a"))


def test_strangers_have_no_records_until_they_are_known() -> None:
    known = dict(KNOWN)
    store, record = records(known=known), signed(STRANGER, 1, (1, 1), b"a")
    assert take(store, record) is None
    held = Held(record_key(name(STRANGER), 1), record.order, record.mark)
    assert not store.lacks(held)
    known[name(STRANGER)] = identity(STRANGER).public
    assert store.take_missed({name(STRANGER), name(THEM)})
    assert not store.take_missed({name(STRANGER)})
    assert store.lacks(held)
    assert take(store, record) == record


def test_who_is_forgotten_leaves_nothing() -> None:
    store = records()
    empty = store.digest()
    take(store, signed(THEM, 1, (1, 1), b"a"))
    store.take_changed()
    store.forget([name(THEM), name(OTHER)])
    assert store.take_changed() == {name(THEM)}
    assert store.digest() == empty


def test_an_owner_has_others_keep_so_much_and_no_more() -> None:
    store = OwnedRecords("test", identity(US), 1, KNOWN.get, Quota(most_slots=2, most_bytes=10))
    take(store, signed(THEM, 0, (1, 1), b"12345"))
    take(store, signed(THEM, 1, (1, 2), b"12345"))
    for slot, payload in ((2, b""), (1, b"123456")):
        with pytest.raises(PeerError, match="more than a peer may"):
            take(store, signed(THEM, slot, (1, 3), payload))
    take(store, signed(THEM, 0, (1, 4), b""))
    assert take(store, signed(THEM, 1, (1, 5), b"1234567890"))
    # A new incarnation begins with nothing.
    assert take(store, signed(THEM, 5, (2, 1), b"1234567890"))


# --- ours ------------------------------------------------------------------------------------


def test_we_publish_what_is_new() -> None:
    store, other = records(), records(OTHER)
    first = store.begin()
    assert store.publish(4, b"a") is not None
    assert store.publish(4, b"a") is None
    assert store.publish(4, None) is not None
    assert store.publish(4, None) is None
    assert store.publish(9, b"b") is not None
    assert store.payloads(name(US)) == {9: b"b"}
    for held in store.held():
        record = store.signed(held.key)
        assert record is not None
        take(other, record)
    assert other.payloads(name(US)) == {9: b"b"}
    assert first.payload == b""


def test_we_publish_nothing_that_others_would_refuse() -> None:
    store = records()
    with pytest.raises(ValueError, match="bytes"):
        store.publish(0, bytes(MAX_PAYLOAD + 1))
    for slot in range(Quota().most_slots):
        store.publish(slot, b"x")
    with pytest.raises(ValueError, match="records"):
        store.publish(Quota().most_slots, b"x")


def test_records_of_ours_that_we_did_not_make_are_outranked() -> None:
    """Our state went back in time, or another router has our key."""
    store = records(incarnation=3)
    store.begin()
    store.publish(1, b"mine")
    assert take(store, signed(US, 1, (7, 2), b"theirs")) is None
    assert store.is_outranked
    again = store.outrank()
    assert not store.is_outranked
    assert {record.order.incarnation for record in again} == {8}
    assert store.payloads(name(US)) == {1: b"mine"}
    other = records(OTHER)
    take(other, signed(US, 1, (7, 2), b"theirs"))
    for record in again:
        take(other, record)
    assert other.payloads(name(US)) == {1: b"mine"}


def test_what_a_neighbour_brings_is_charged_to_it_whosever_records_they_are() -> None:
    """F5a: 64 records of 128 KiB in all for each identity are too much for many identities."""
    owners = range(10, 30)
    known = {identity(n).name: identity(n).public for n in (US, *owners)}
    quota = IntroducerQuota(records=10, bytes=10_000, all_records=30, all_bytes=30_000)
    store = OwnedRecords("test", identity(US), 1, known.get, introduced=quota)
    via = [name(number) for number in (10, 11, 12, 13)]
    for neighbour in via:
        store.introducers.joined(neighbour)

    def bring(who: PeerName, owner: int, slot: int) -> bool:
        record = signed(owner, slot, (1, 1), b"x")
        try:
            return store.merge_untrusted(record.body, record.signature, who) is not None
        except PeerError:
            return False

    assert sum(bring(via[0], owner, slot) for owner in owners[4:] for slot in range(3)) == 10
    assert not store.lacks(Held(record_key(name(29), 9), RecordVersion(1, 1), b"mark"), via[0])
    assert store.lacks(Held(record_key(name(29), 9), RecordVersion(1, 1), b"mark"), via[1])
    assert bring(via[0], 10, 5), "its own is not charged"
    assert sum(bring(via[1], owner, slot) for owner in owners[4:] for slot in range(3, 6)) == 10
    assert sum(bring(via[2], owner, slot) for owner in owners[4:] for slot in range(6, 9)) == 10
    assert bring(via[3], 29, 60), "whoever brought most makes room"
    assert len(store.introducers) == 30
    store.forget([name(owner) for owner in owners])
    assert len(store.introducers) == 0
