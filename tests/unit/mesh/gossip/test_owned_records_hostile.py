"""What can an owner do with its records that leaves honest stores different, or too full?"""

from __future__ import annotations

import contextlib
import itertools

import pytest

from tests.kit.builders import identity, record, synthetic_name
from weave_py.mesh.gossip.owned_records import MAX_MISSED, OwnedRecords
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.wire.gossip import (
    BUCKET_HASH_BYTES,
    DIGEST_BYTES,
    MARK_BYTES,
    Held,
    RecordVersion,
    mark_of,
    record_key,
)
from weave_py.wire.owned_record import MAX_PAYLOAD, SLOTS, OwnedRecord, context_of, encode_body
from weave_py.wire.packing import pack
from weave_py.wire.topology import PeerRecord

US, THEM = 0, 1
KNOWN = {identity(n).name: record(n) for n in (US, THEM)}
UID = record(THEM).uid


def store(number: int = US) -> OwnedRecords:
    return OwnedRecords("test", identity(number), record(number).uid, KNOWN.get)


def signed(slot: int, version: int, payload: bytes) -> OwnedRecord:
    who = identity(THEM)
    order = RecordVersion(UID, version)
    body = encode_body(who.public, slot, order, payload)
    return OwnedRecord(body, who.sign(context_of("test"), body), who.public, slot, order, payload)


def take(into: OwnedRecords, *records: OwnedRecord) -> None:
    for each in records:
        with contextlib.suppress(PeerError):
            into.merge_untrusted(each.body, each.signature)


def test_too_much_is_too_much_in_any_order() -> None:
    """An owner that signed more than it had room for had each router keep what came there first:
    honest stores differed for ever, and every digest had both send all that the other refused
    again. What a record may take depends on nothing but itself."""
    much = [
        signed(0, 1, bytes(MAX_PAYLOAD)),
        signed(SLOTS - 1, 2, bytes(MAX_PAYLOAD)),
        signed(SLOTS, 3, b"a slot too many"),
        signed(1, 4, bytes(MAX_PAYLOAD + 1)),
        signed(0, 5, b"less"),
    ]
    seen = set()
    for order in itertools.permutations(much):
        one = store()
        take(one, *order, *order)
        seen.add((one.digest(), tuple(sorted(one.payloads(identity(THEM).name)))))
    assert len(seen) == 1
    assert set(one.payloads(identity(THEM).name)) == {0, SLOTS - 1}


def test_bytes_that_an_honest_owner_moves_to_another_slot_are_not_refused() -> None:
    """An honest owner within its quota all the time: it emptied slot 5 and filled slot 2 with as
    much. Deltas and answers come in the order of keys: the new record was refused, logged as bad
    against an honest neighbour, and was there only after another round of digests."""
    owner, other = store(THEM), store(US)
    full = bytes(MAX_PAYLOAD)
    for slot in range(SLOTS):
        assert owner.publish(slot, full if slot != 2 else b"") is not None or slot == 2
    take(other, *(each for held in owner.held() if (each := owner.signed(held.key)) is not None))
    owner.publish(5, None)
    owner.publish(2, full)
    keys = [held.key for held in owner.held()]
    take(other, *(each for key in keys if (each := owner.signed(key)) is not None))
    assert other.refused == 0
    assert other.digest() == owner.digest()


def test_an_owner_has_all_its_slots_whichever_it_takes_first() -> None:
    """docs/extending.md said "each peer owns up to 64 records". A service that numbered its slots
    from 1 got a ValueError, out of the engine, at its 64th: slot 0 counted from the start."""
    ours = store()
    for slot in range(1, SLOTS):
        assert ours.publish(slot, b"x") is not None
    assert ours.publish(0, b"x") is not None


def test_a_slot_that_is_free_does_not_count() -> None:
    """wire/owned_record.py: "an empty payload is a record that says nothing: its slot is free". It
    still counted: a service that took a free slot for each thing ended after 64 of them."""
    ours = store()
    for number in range(10 * SLOTS):
        assert ours.publish(number % SLOTS, b"x") is not None
        assert ours.publish(number % SLOTS, None) is not None
    assert ours.payloads(identity(US).name) == {}


def test_what_is_appended_to_a_record_counts() -> None:
    """The quota counted payloads; what "later versions may append" is kept and passed on, too: 64
    records that said nothing held 1 MiB, where 128 KiB were allowed."""
    who, held = identity(THEM), store()
    for slot in range(2 * SLOTS):
        for size in (0, 20, MAX_PAYLOAD, 16 * 1024):
            for payload in (b"", bytes(MAX_PAYLOAD)):
                body = pack(
                    [1, who.public, slot, UID, 1 + size + len(payload), payload, bytes(size)]
                )
                with contextlib.suppress(PeerError):
                    held.merge_untrusted(body, who.sign(context_of("test"), body))
    kept = [held.signed(each.key) for each in held.held()]
    assert SLOTS * MAX_PAYLOAD < sum(len(r.body) for r in kept if r is not None) <= 160 * 1024


def test_two_records_of_one_order_are_told_apart_though_their_owner_chose_them() -> None:
    """An owner signed two records of one order whose marks were the same (4 bytes: some 2^16
    hashes) and told one to each half of the network: all digests agreed, so no repair ever found
    it, and two halves acted on different words of the same peer for ever. Now that takes 2^64."""
    who = identity(THEM)
    found: dict[bytes, bytes] = {}
    payload = other = b""
    for number in range(300_000):
        payload = b"%d" % number
        body = encode_body(who.public, 0, RecordVersion(UID, 1), payload)
        other = found.setdefault(mark_of(body), payload)
        if other != payload:
            break
    else:
        other = b"0"  # none was found: any two, then
    one, two = store(), store()
    take(one, signed(0, 1, payload))
    take(two, signed(0, 1, other))
    assert one.payloads(who.name) != two.payloads(who.name)
    assert one.digest() != two.digest()
    assert one.bucket_hashes() != two.bucket_hashes()
    assert one.lacks(two.held()[0])
    assert two.lacks(one.held()[0])
    take(one, signed(0, 1, other))
    take(two, signed(0, 1, payload))
    assert one.digest() == two.digest()


@pytest.mark.parametrize("size", [MARK_BYTES, BUCKET_HASH_BYTES, DIGEST_BYTES])
def test_every_hash_of_a_comparison_is_too_long_for_collisions(size: int) -> None:
    """Buckets were told apart by 8 bytes: some 2^32 hashes for an owner that knows what else is in
    its bucket, and hides two records of its own behind them."""
    assert size >= 16


def test_inventions_do_not_hide_whom_we_missed() -> None:
    """A neighbour that mentions MAX_MISSED owners which there are not had us note nobody else for
    as long as we run: records of newcomers then came with digests only, a turn of ten seconds for
    each neighbour, and not at once."""
    known: dict[PeerName, PeerRecord] = {}
    ours = OwnedRecords("test", identity(US), record(US).uid, known.get)
    for number in range(MAX_MISSED):
        ours.lacks(Held(record_key(synthetic_name(number)), RecordVersion(1, 1), b"mark"))
    newcomer = identity(THEM)
    ours.lacks(Held(record_key(newcomer.name), RecordVersion(UID, 1), b"mark"))
    known[newcomer.name] = record(THEM)
    neighbour = synthetic_name(1)
    assert ours.take_missed({newcomer.name}, {neighbour}) == {neighbour}
    assert not ours.take_missed({newcomer.name}, {neighbour})
