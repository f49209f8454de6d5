"""What if two keys have one name? Then nobody has it: which came first, nobody can prove.

A name is 46 bits of a key's hash: a pair of own keys under one name takes some 2^23 keys to make, a
key under the name of a given peer 2^46. Whoever keeps the key that came first ends up with
the one of its half of the network; whoever prefers one of the two by some order lets the key that
was made for the purpose take a peer's place. So both are refused, by all: who sees a second key
makes a record of both with their certificates (which nobody can make up), that outranks all other
records of that name and spreads like any. Of two such records one outranks the other in the same
way for all, so every way of spreading them converges.

They stay as long as there is room: records of peers that cannot be reached go first. A peer that
has lost its name needs another key.
"""

from __future__ import annotations

from weave_py.crypto.identity import check_certificate_untrusted, peer_name_of
from weave_py.model.errors import AuthenticationError
from weave_py.wire.topology import (
    DISPUTE_SIGNATURE,
    DISPUTED,
    Keys,
    PeerRecord,
    SignedRecord,
    encode_dispute,
)

WHY = "two keys for one peer name: neither has it"


def dispute_between(one: PeerRecord, other: PeerRecord) -> SignedRecord:
    """The record that says it: the same bytes whoever makes it of these two keys' records, as long
    as the keys have the same static keys."""
    first, second = sorted((keys_of(one), keys_of(other)))
    record = PeerRecord(*first, order=DISPUTED, rival=second)
    return SignedRecord(encode_dispute(first, second), DISPUTE_SIGNATURE, record)


def check_dispute_untrusted(record: PeerRecord, rival: Keys) -> None:
    """AuthenticationError unless these are two keys with one name."""
    if not record.identity < rival.identity:
        raise AuthenticationError("a dispute between keys that are in the wrong order")
    if peer_name_of(record.identity) != peer_name_of(rival.identity):
        raise AuthenticationError("a dispute between keys that have two names")
    check_certificate_untrusted(record.identity, record.static, record.certificate)
    check_certificate_untrusted(*rival)


def keys_of(record: PeerRecord) -> Keys:
    """Whose it is."""
    return Keys(record.identity, record.static, record.certificate)
