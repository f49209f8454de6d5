"""What does a neighbour's question cost? Answers are the largest thing that gossip says."""

from __future__ import annotations

from tests.kit.builders import identity, record
from weave_py.loop.control_stream import MAX_QUEUED_BYTES
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.gossip.replicator import Replicator
from weave_py.model.names import PeerName
from weave_py.wire.gossip import Summary, encode_gossip
from weave_py.wire.owned_record import MAX_PAYLOAD, SLOTS, OwnedRecord

NOW = 100.0
OWNERS = range(1, 40)
KNOWN = {identity(n).name: record(n) for n in (0, *OWNERS)}
ALL = Summary(bytes(range(64)), ())


class NoGraph:
    def __len__(self) -> int:
        return 2

    def degree(self, peer: PeerName) -> int | None:
        return None

    def connected(self, peer: PeerName, among: object) -> tuple[PeerName, ...]:
        return ()


def replicator() -> Replicator[OwnedRecord]:
    """Of one that holds what 39 owners have published, all within their quotas: 4.9 MiB."""
    held = OwnedRecords("test", identity(0), record(0).uid, KNOWN.get)
    for number in OWNERS:
        owner = OwnedRecords("test", identity(number), record(number).uid, KNOWN.get)
        for slot in range(SLOTS):
            published = owner.publish(slot, bytes(MAX_PAYLOAD))
            assert published is not None
            held.merge_untrusted(published.body, published.signature)
    made: Replicator[OwnedRecord] = Replicator("test", identity(0).name, held, NoGraph(), NOW)
    made.neighbour_joined(identity(1).name, NOW)
    made.take_messages()
    return made


def test_an_answer_fits_what_a_control_stream_queues() -> None:
    """What 33 owners may publish is more than MAX_QUEUED_BYTES. Whoever lacks it (a newcomer, one
    after a partition) is answered with all of it in one turn, and cut off for taking no bytes;
    it calls again, and is cut off again: for a network that uses its quotas, or in which one
    member has 33 identities, nobody can join any more, for the control connection is the
    topology's, too."""
    ours, newcomer = replicator(), identity(1).name
    ours.receive_untrusted(newcomer, encode_gossip(ALL), NOW)
    assert sum(len(body) for _, body in ours.take_messages()) < MAX_QUEUED_BYTES / 2


def test_a_question_asked_again_at_once_is_not_answered_again() -> None:
    """70 bytes ask for all we hold. A neighbour that repeats them has us sort, pack and seal all of
    it each time, some 70,000 bytes for each of its own, though none of it changed."""
    ours, neighbour = replicator(), identity(1).name
    ours.receive_untrusted(neighbour, encode_gossip(ALL), NOW)
    once = sum(len(body) for _, body in ours.take_messages())
    for _ in range(5):
        ours.receive_untrusted(neighbour, encode_gossip(ALL), NOW)
    assert sum(len(body) for _, body in ours.take_messages()) <= once
