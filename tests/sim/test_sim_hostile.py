"""What can a member of the network do to the others by what it says? It is in: it has the password.

A bad record is dropped alone, a bad message costs the liar its own connection, and what the others
have with each other stays as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.kit.simulation import Simulation
from weave_py.crypto.identity import Identity
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.ourself import RECORD_CONTEXT
from weave_py.mesh.topology import TopologySettings
from weave_py.model.names import NAME_BYTES, PeerName
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost
from weave_py.wire.gossip import Records, encode_gossip
from weave_py.wire.messages import ControlMessage, Gossip, Train, Unicast
from weave_py.wire.stream import frame
from weave_py.wire.topology import encode_record

Speech = Callable[[SimHost, SimHost], Iterator[ControlMessage]]
ROUNDS = 100
MOST = 50  # peers that a router knows at a time
dice = random.Random(8)


def garbage(liar: SimHost, victim: SimHost) -> Iterator[ControlMessage]:
    """Bodies that are none, on channels that are and on others."""
    for channel in ("topology", "session", "nobody listens here"):
        yield Gossip(channel, dice.randbytes(300))
        yield Unicast(channel, liar.name, victim.name, 5, dice.randbytes(300))


def forged(liar: SimHost, victim: SimHost) -> Iterator[ControlMessage]:
    """The victim's own record and those of others, altered, with signatures of the liar's."""
    for name in liar.engine.topology.peers():
        record = liar.engine.topology.record(name)
        if record is None or name == liar.name:
            continue
        order = record.order._replace(version=record.order.version + 100)
        body = encode_record(replace(record, order=order, nickname="liar"))
        signature = liar.engine.ourself._identity.sign(RECORD_CONTEXT, body)
        yield Gossip("topology", encode_gossip(Records(((body, signature),))))


def invented(liar: SimHost, victim: SimHost) -> Iterator[ControlMessage]:
    """Peers that do not exist, each with a true signature of its own."""
    template = liar.engine.ourself.record
    pairs = []
    for _ in range(10):
        identity = Identity.create(dice.randbytes)
        body = encode_record(
            replace(
                template,
                identity=identity.public,
                static=identity.static_public,
                certificate=identity.certificate,
            )
        )
        pairs.append((body, identity.sign(RECORD_CONTEXT, body)))
    yield Gossip("topology", encode_gossip(Records(tuple(pairs))))


def lost_mail(liar: SimHost, victim: SimHost) -> Iterator[ControlMessage]:
    """To peers that do not exist, to everybody, and trains of garbage."""
    yield Unicast("session", victim.name, PeerName(dice.randbytes(NAME_BYTES)), 255, b"x" * 1000)
    for name in liar.engine.topology.peers():
        yield Unicast("session", PeerName(dice.randbytes(NAME_BYTES)), name, 255, b"x" * 1000)
    yield Train(100, dice.randbytes(1000))


def say(liar: SimHost, speech: Speech, victim: SimHost) -> None:
    stream = liar.engine.neighbours.of(victim.name)
    if stream is None or stream.connection is None:
        return
    for message in speech(liar, victim):
        stream.connection.send(message)
    liar.streams[stream.number].send(stream.connection.take_bytes())


@pytest.mark.parametrize("speech", [garbage, forged, invented, lost_mail])
def test_what_a_liar_says_costs_the_others_nothing(speech: Speech) -> None:
    topology = TopologySettings(quota=IntroducerQuota(all_records=MOST))
    simulation = Simulation(4, settings=EngineSettings(topology=topology))
    hosts = simulation.mesh(4)
    simulation.run_until(simulation.is_full_mesh, within=5)
    simulation.run(5)
    *honest, liar = hosts
    start = simulation.now
    flows = [simulation.flow(a, b) for a in honest for b in honest if a is not b]
    for _ in range(ROUNDS):
        for victim in honest:
            say(liar, speech, victim)
        simulation.run(0.05)
    assert all(flow.longest_gap(start) < 0.3 for flow in flows)
    assert all(flow.refused == [] for flow in flows)
    names = {host.name for host in honest}
    for host in honest:
        assert not host.events("connection ended", since=start)
        assert names <= host.engine.topology.routes.hops.keys() | {host.name}
        for name in names:
            record = host.engine.topology.record(name)
            assert record is not None
            assert record.nickname != "liar"
        assert len(list(host.engine.topology.peers())) <= MOST + len(host.engine.neighbours)
        assert len(host.egresses) <= 3, "no port for peers that do not exist"
    newcomer = simulation.add(honest[0])
    simulation.run_until(simulation.is_full_mesh, within=5)
    assert names <= newcomer.engine.topology.routes.hops.keys()
    simulation.kill(liar)
    simulation.run(75)
    assert all(set(h.engine.topology.peers()) < {*names, newcomer.name} for h in honest)


@pytest.mark.parametrize("noise", [b"\x01", b"\xff" * 40, b"\x00" * 16])
def test_a_malformed_message_costs_the_liar_its_connection_only(noise: bytes) -> None:
    simulation = Simulation(5)
    *honest, liar = simulation.mesh(4)
    simulation.run_until(simulation.is_full_mesh, within=5)
    simulation.run(5)
    start = simulation.now
    flows = [simulation.flow(a, b) for a in honest for b in honest if a is not b]
    for _ in range(5):
        for victim in honest:
            stream = liar.engine.neighbours.of(victim.name)
            if stream is not None and stream.number in liar.streams:
                liar.streams[stream.number].send(frame(noise))
        simulation.run(1)
    assert all(flow.longest_gap(start) < 0.3 for flow in flows)
    for host in honest:
        ended = host.events("connection ended", since=start)
        assert ended
        assert all(liar.engine.nickname in str(entry.fields["peer"]) for entry in ended)
    simulation.run_until(simulation.is_full_mesh, within=35)
