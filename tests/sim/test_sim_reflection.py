"""Can a member have the others send to a third party? Not more than it could by itself.

Nobody is at THIRD. What is sent there is weighed against all that the liar has sent (F10).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.kit.nat_box import are_direct, behind
from tests.kit.simulation import Simulation
from weave_py.lab.nats import Kind
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import NextHop
from weave_py.link.link import SendControl
from weave_py.link.path import PathState
from weave_py.model.names import Endpoint
from weave_py.sim.host import SimHost
from weave_py.sim.underlay import Station
from weave_py.wire.probes import Probe, decode_untrusted, encode_answer
from weave_py.wire.probes import ProbeAnswer as Answer

THIRD = "203.0.113."
GAIN = 3.0


class Scales:
    """What goes over an underlay: bytes from the liar, and to nobody."""

    def __init__(self, simulation: Simulation, liar: SimHost) -> None:
        self.said = self.reflected = 0
        underlay = simulation.underlay
        send, note = underlay.send_datagram, underlay.note_stream

        def send_datagram(source: Station, to: Endpoint, datagram: bytes) -> None:
            if to.host.startswith(THIRD) and source is not liar:
                self.reflected += len(datagram)
            if source is liar:
                self.said += len(datagram)
            send(source, to, datagram)

        def note_stream(source: str, destination: str, data: bytes) -> None:
            if source == liar.address:
                self.said += len(data)
            note(source, destination, data)

        underlay.send_datagram = send_datagram  # type: ignore[method-assign]
        underlay.note_stream = note_stream  # type: ignore[method-assign]

    @property
    def gain(self) -> float:
        return self.reflected / self.said


def mesh_of(count: int, network: str) -> tuple[Simulation, list[SimHost], SimHost]:
    simulation = Simulation(7)
    first = simulation.add(address=f"{network}.1")
    hosts = [first, *(simulation.add(first, address=f"{network}.{n}") for n in range(2, count + 1))]
    simulation.run_until(simulation.is_full_mesh, within=10)
    simulation.run(15)
    return simulation, hosts[:-1], hosts[-1]


def announce_others(liar: SimHost, places: Callable[[], list[Endpoint]]) -> None:
    liar.engine._announcements._places = places  # type: ignore[method-assign]


def lie_in_answers(
    liar: SimHost, place: Callable[[], Endpoint], note: Callable[[int], None] = lambda _: None
) -> None:
    """To every probe: I see you there."""
    for link in liar.engine.links:
        real = link._receive_body_untrusted

        def receive(record: ControlRecord, body: bytes, now: float, link=link, real=real) -> None:  # type: ignore[no-untyped-def]
            probe, way = decode_untrusted(body), link._way_back(record)
            if not isinstance(probe, Probe) or way is None:
                real(record, body, now)
                return
            note(probe.number)
            size = record.datagram_bytes
            answer = Answer(probe.number, size, probe.sent, record.received, place())
            link._outputs.append(SendControl(way, encode_answer(answer)))

        link._receive_body_untrusted = receive  # type: ignore[method-assign]


@pytest.mark.parametrize("has_direct_paths", [True, False])
def test_new_ports_of_a_third_party_in_every_record(has_direct_paths: bool) -> None:
    """b05: eleven of them ten times a second had each router probe each of them."""
    simulation, honest, liar = mesh_of(8, "10.9.1")
    if not has_direct_paths:
        for host in honest:
            simulation.underlay.wire(liar.address, host.address).udp = False
        simulation.run(10)
    ports = itertools.count(1)
    announce_others(liar, lambda: [Endpoint(f"{THIRD}9", next(ports)) for _ in range(11)])
    scales = Scales(simulation, liar)
    for _ in range(600):
        liar.engine._announcements.soon(simulation.now)
        liar.carry_out()
        simulation.run(0.1)
    assert next(ports) > 500, "it was heard"
    print(f"gain {scales.gain:.2f}")
    assert 0 < scales.gain < GAIN / 3, "nor does it come near that"


@pytest.mark.parametrize("network", ["10.9.1", "198.51.100"])
def test_a_peer_that_says_it_sees_us_elsewhere(network: str) -> None:
    """b06: honest routers announced what one peer said, each time another third party."""
    simulation, honest, liar = mesh_of(20, network)
    versions = [host.engine.ourself.record.order.version for host in honest]
    numbers = itertools.count(1)
    lie_in_answers(liar, lambda: Endpoint(f"{THIRD}{next(numbers) % 254 + 1}", 1000))
    scales = Scales(simulation, liar)
    simulation.run(60)
    print(f"gain {scales.gain:.2f}, {next(numbers)} lies")
    assert scales.gain < GAIN
    for host, version in zip(honest, versions, strict=True):
        record = host.engine.ourself.record
        told = [place for place in record.endpoints if place.host.startswith(THIRD)]
        assert len(told) <= (1 if network.startswith("10.") else 0)
        assert record.order.version <= version + 7
    assert simulation.is_full_mesh()


def test_an_answer_to_a_probe_that_did_not_arrive_proves_nothing() -> None:
    """Numbers that could be foretold would have our frames go where the liar is not."""
    simulation, (victim, *_), liar = mesh_of(3, "10.9.1")
    there = Endpoint(f"{THIRD}9", 1000)
    theirs, ours = liar.engine.links.get(victim.name), victim.engine.links.get(liar.name)
    assert theirs is not None
    assert ours is not None
    heard: list[int] = []
    lie_in_answers(liar, lambda: liar.endpoint, heard.append)
    announce_others(liar, lambda: [liar.endpoint, there])
    liar.engine._announcements.soon(simulation.now)
    scales = Scales(simulation, liar)
    way = NextHop(victim.endpoint, None)
    for _ in range(400):
        simulation.run(0.05)
        for number in range(heard[-1] + 1, heard[-1] + 4) if heard else ():
            answer = Answer(number, 64, 0, 0, victim.endpoint)
            theirs._outputs.append(SendControl(way, encode_answer(answer)))
        theirs.advance(simulation.now)
        liar.engine.links._drain(theirs, simulation.now)
        liar.carry_out()
        assert ours.paths._direct[there].state is PathState.UNPROVEN if scales.reflected else True
    assert scales.reflected > 0
    assert heard


@pytest.mark.parametrize("other", [Kind.OPEN, Kind.PORT_RESTRICTED])
def test_a_nat_that_often_forgets_its_mappings_is_followed(other: Kind) -> None:
    """What is meant for liars must not keep the honest from each other."""
    simulation, boxes, (_, a, b) = behind(3, Kind.PORT_RESTRICTED, other)
    simulation.run_until(lambda: are_direct(a, b), within=5)
    flow = simulation.flow(a, b)
    for _ in range(12):
        boxes.box(a).forget()
        simulation.run(30)
        assert are_direct(a, b)
    assert flow.longest_gap() < 2.0
