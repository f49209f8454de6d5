"""What can one member with many identities do? A liar's end of control connections, by hand.

It has the password, speaks the protocol and nothing else: no engine behind it. On a simulation's
underlay it dials whom it is told to, and says what the test wants said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.kit.simulation import Simulation
from weave_py.crypto.identity import Identity
from weave_py.mesh.connection import Connection, ConnectionEnded, MessageReceived
from weave_py.mesh.handshake import ControlHandshake, hello_of
from weave_py.mesh.ourself import RECORD_CONTEXT
from weave_py.model.names import DEFAULT_PORT as PORT
from weave_py.model.names import Endpoint, PeerName, PeerUID
from weave_py.sim.host import SimHost
from weave_py.sim.underlay import StreamEnd
from weave_py.wire.gossip import MAX_GOSSIP_BYTES, Records, RecordVersion, encode_gossip
from weave_py.wire.messages import ControlMessage, Gossip
from weave_py.wire.topology import Neighbour, PeerRecord, encode_record

SOMEWHERE = Endpoint("2001:db8:1111:2222:3333:4444:5555:6666", PORT)
Pair = tuple[bytes, bytes]


def signed_pair(
    owner: Identity, neighbours: Iterable[PeerName], version: int = 1, uid: int = 7
) -> Pair:
    """A record of `owner`, encoded, and its true signature."""
    claims = [Neighbour(name, 1, True, True, SOMEWHERE) for name in sorted(neighbours)]
    record = PeerRecord(
        owner.public,
        owner.static_public,
        owner.certificate,
        PeerUID(uid),
        RecordVersion(1, version),
        "fake",
        (SOMEWHERE,),
        tuple(claims),
        (1, 2),
    )
    body = encode_record(record)
    return body, owner.sign(RECORD_CONTEXT, body)


def in_messages(pairs: Sequence[Pair]) -> Iterable[Gossip]:
    part: list[Pair] = []
    for pair in pairs:
        if part and sum(len(b) + 80 for b, _ in part) + len(pair[0]) + 80 > MAX_GOSSIP_BYTES:
            yield Gossip("topology", encode_gossip(Records(tuple(part))))
            part = []
        part.append(pair)
    yield Gossip("topology", encode_gossip(Records(tuple(part))))


class Member:
    """A Station (sim.underlay) with one control connection."""

    def __init__(self, simulation: Simulation, address: str = "10.66.0.1") -> None:
        self.address = address
        self.alive = self.powered = True
        self.frozen_until = self.toil = self.free_at = 0.0
        self.identity = Identity.create(simulation.dice.randbytes)
        self.name = self.identity.name
        self.fakes: list[Identity] = []
        """Its other identities."""
        self.heard: list[ControlMessage] = []
        self.reads = True
        self.ended = ""
        self._simulation = simulation
        self._connection: Connection | None = None
        self._end: StreamEnd | None = None
        if simulation.underlay.at(address) is None:
            simulation.underlay.register(self)

    def call(self, host: SimHost) -> None:
        self._simulation.underlay.dial(self, 1, Endpoint(host.address, PORT))

    def join(self, host: SimHost) -> None:
        """Call, and tell our record, until we are a neighbour like any other."""
        self.call(host)
        self._simulation.run_until(
            lambda: host.engine.neighbours.of(self.name) is not None, within=5
        )
        self.tell([signed_pair(self.identity, [host.name])])

    def tell(self, pairs: Sequence[Pair]) -> None:
        self.say(*in_messages(pairs))

    def say(self, *messages: ControlMessage) -> None:
        if self._connection is not None:
            for message in messages:
                self._connection.send(message)
            self._flush()

    def invented(self, host: SimHost, count: int, claims: int, version: int = 1) -> list[Pair]:
        """Records of so many identities, which claim the member and each other, after the member's
        own, which claims as many of them as it may."""
        while len(self.fakes) < count:
            self.fakes.append(Identity.create(self._simulation.dice.randbytes))
        names = [fake.name for fake in self.fakes]
        pairs = [signed_pair(self.identity, {host.name, *names[:255]}, version + 1)]
        for number, fake in enumerate(self.fakes):
            near = {names[(number + step) % count] for step in range(1, claims)} - {fake.name}
            pairs.append(signed_pair(fake, {self.name, *near}, version))
        return pairs

    # --- Station -----------------------------------------------------------------------------

    def on_accepted(self, end: StreamEnd, remote: Endpoint) -> None:
        end.close()

    def on_dialled(self, number: int, end: StreamEnd, remote: Endpoint) -> None:
        simulation = self._simulation
        hello = hello_of(self.identity, PeerUID(7), "fake", PORT)
        handshake = ControlHandshake(
            initiator=True,
            identity=self.identity,
            membership=simulation.hosts[0].engine.neighbours._membership,
            ours=hello,
            remote=remote,
            token_bytes=simulation.dice.randbytes,
        )
        self._end = end
        self._connection = Connection(handshake, remote, simulation.now)
        self._flush()
        self._beat()

    def on_dial_failed(self, number: int, error: str) -> None:
        self.ended = error

    def on_bytes(self, end: StreamEnd, data: bytes) -> None:
        if self._connection is not None:
            self._connection.receive_untrusted(data, self._simulation.now)
            for event in self._connection.take_events():
                if isinstance(event, MessageReceived):
                    self.heard.append(event.message)
                elif isinstance(event, ConnectionEnded):
                    self.ended = event.reason
            self._flush()

    def on_end(self, end: StreamEnd, reason: str) -> None:
        self.ended = self.ended or reason

    def on_writable(self, end: StreamEnd, is_writable: bool) -> None:
        """A liar does not care."""

    def on_datagram(self, datagram: bytes, origin: Endpoint) -> None:
        """Nor does it have sessions."""

    def _beat(self) -> None:
        if self._connection is not None and not self.ended:
            self._connection.advance(self._simulation.now)
            self._flush()
            self._simulation.underlay.later(0.5, self._beat)

    def _flush(self) -> None:
        if self._connection is not None and self._end is not None:
            data = self._connection.take_bytes()
            if data:
                self._end.send(data)
