"""How do nodes gossip without a network? The test carries what each says to the others."""

from __future__ import annotations

from tests.kit.builders import identity, neighbour, ourself, place, record, signed, synthetic_name
from weave_py.mesh.gossip import replicator
from weave_py.mesh.gossip.replicator import Replicator
from weave_py.mesh.topology import Topology
from weave_py.model.names import PeerName
from weave_py.wire.gossip import (
    GossipMessage,
    Records,
    RecordVersion,
    Summary,
    decode_gossip_untrusted,
    encode_gossip,
)
from weave_py.wire.messages import Gossip, encode_message
from weave_py.wire.stream import MAX_FRAME_BYTES
from weave_py.wire.topology import PeerRecord, SignedRecord

START = 1000.0


def name(number: int) -> PeerName:
    return identity(number).name


class Node:
    """A topology and its gossip."""

    def __init__(self, number: int, *records: SignedRecord) -> None:
        self.topology = Topology(ourself(number))
        self.name = name(number)
        for came in records:
            self.topology.merge_untrusted(came.body, came.signature)
        self.gossip = Replicator("topology", self.name, self.topology, self.topology, START)

    def said(self) -> list[tuple[PeerName, GossipMessage]]:
        """What it wants to say now, decoded; all of it fits the control stream."""
        found = []
        for to, body in self.gossip.take_messages():
            assert len(encode_message(Gossip("topology", body))) + 16 <= MAX_FRAME_BYTES
            message = decode_gossip_untrusted(body)
            if isinstance(message, Summary):
                assert len(message.held) <= replicator.MAX_SUMMARY
            found.append((to, message))
        return found

    def hear(self, source: Node, message: GossipMessage, now: float = START) -> list[SignedRecord]:
        return self.gossip.receive_untrusted(source.name, encode_gossip(message), now)

    def change(self, *places: int) -> SignedRecord:
        self.topology.ourself.update([place(number) for number in places], [])
        return self.topology.ourself.signed


def joined(*others: int) -> Node:
    """Node 0 with these neighbours, after the digests of the beginning."""
    node = Node(0)
    for other in others:
        node.gossip.neighbour_joined(name(other), START)
    node.gossip.take_messages()
    return node


def told(messages: list[tuple[PeerName, GossipMessage]]) -> dict[PeerName, list[RecordVersion]]:
    """Who was told records, and in which versions."""
    result: dict[PeerName, list[RecordVersion]] = {}
    for to, message in messages:
        if isinstance(message, Records):
            from_wire = [_signed_of(pair) for pair in message.records]
            result.setdefault(to, []).extend(r.order for r in from_wire)
    return result


def _signed_of(pair: tuple[bytes, bytes]) -> PeerRecord:
    scratch = Topology(ourself(99))
    came = scratch.merge_untrusted(*pair)
    assert came is not None
    return came.record


def records_of(*records: SignedRecord) -> Records:
    return Records(tuple((came.body, came.signature) for came in records))


def large_record(number: int) -> SignedRecord:
    many = [neighbour(1)._replace(name=synthetic_name(n)) for n in range(250)]
    return signed(number, record(number, many))
