"""What does a NAT or firewall do to simulated datagrams? An underlay with boxes between hosts.

The kinds are those of `weave_py.lab.nats`, in virtual time and from their definitions (RFC 3489,
RFC 4787), not from what Linux does: the two check each other. Only what `linux masquerade` is, is
defined by what Linux does.
"""

from __future__ import annotations

import itertools

from tests.kit.simulation import Simulation
from weave_py.lab.nat_pairs import Kinds
from weave_py.lab.nats import TRANSLATING, Kind
from weave_py.model.names import DEFAULT_PORT, Endpoint
from weave_py.sim.host import SimHost
from weave_py.sim.underlay import UDP_IP_BYTES, Station, Underlay, Wire

FORGET_AFTER = 30.0  # seconds; RFC 4787 asks for two minutes, many give less


class Box:
    """What is between one host and the internet."""

    def __init__(self, kind: Kind, inner: str, outer: str) -> None:
        self.kind = kind
        self.inner = inner
        self.outer = outer if kind in TRANSLATING else inner
        self._ports = itertools.count(40_000)
        self._mappings: dict[Endpoint | None, int] = {}
        self._contacts: dict[tuple[int, Endpoint], float] = {}
        """When something last went from a port of ours to a place."""

    def forget(self) -> None:
        """Restarted: new ports from now on."""
        self._mappings.clear()
        self._contacts.clear()

    def source(self, to: Endpoint, now: float) -> Endpoint | None:
        """As who a datagram to there goes out; None: it does not."""
        if self.kind in (Kind.NO_UDP, Kind.TCP_OUT):
            return None
        port = DEFAULT_PORT
        if self.kind in TRANSLATING:
            key = to if self.kind is Kind.SYMMETRIC else None
            if key not in self._mappings:
                self._mappings[key] = next(self._ports)
            port = self._mappings[key]
        self._contacts[port, to] = now
        return Endpoint(self.outer, port)

    def admits(self, port: int, source: Endpoint, now: float) -> bool:
        """Whether a datagram from there to a port of ours gets in."""
        places = [
            place
            for (used, place), at in self._contacts.items()
            if used == port and now < at + FORGET_AFTER
        ]
        match self.kind:
            case Kind.NO_UDP | Kind.TCP_OUT:
                return False
            case Kind.OPEN:
                return port == DEFAULT_PORT
            case Kind.FULL_CONE | Kind.HAIRPIN:
                return port in self._mappings.values()
            case Kind.RESTRICTED:
                return any(place.host == source.host for place in places)
        return source in places


class MasqueradeBox(Box):
    """Linux with `masquerade` as its only rule. Every flow between a port of the gateway and a
    place outside is somebody's: its host's, who keeps its port as long as that is free, or, if a
    datagram came in first, the gateway's own."""

    def __init__(self, kind: Kind, inner: str, outer: str) -> None:
        super().__init__(kind, inner, outer)
        self._flows: dict[tuple[int, Endpoint], tuple[bool, float]] = {}
        """Whether it is the host's, and until when it is remembered."""

    def forget(self) -> None:
        self._flows.clear()

    def source(self, to: Endpoint, now: float) -> Endpoint | None:
        self._flows = {flow: entry for flow, entry in self._flows.items() if now < entry[1]}
        ours = [port for (port, at), (is_ours, _) in self._flows.items() if is_ours and at == to]
        free = (DEFAULT_PORT, to) not in self._flows
        port = ours[0] if ours else DEFAULT_PORT if free else next(self._ports)
        self._remember(port, to, True, now)
        return Endpoint(self.outer, port)

    def admits(self, port: int, source: Endpoint, now: float) -> bool:
        is_ours, until = self._flows.get((port, source), (False, 0.0))
        is_ours &= now < until
        self._remember(port, source, is_ours, now)
        return is_ours

    def _remember(self, port: int, place: Endpoint, is_ours: bool, now: float) -> None:
        self._flows[port, place] = (is_ours, now + FORGET_AFTER)


class Boxes(Underlay):
    """An underlay on which hosts at inner addresses are behind boxes."""

    def __init__(self, seed: int, default: Wire) -> None:
        super().__init__(seed, default)
        self._by_inner: dict[str, Box] = {}
        self._by_outer: dict[str, Box] = {}

    def put(self, box: Box) -> None:
        self._by_inner[box.inner] = self._by_outer[box.outer] = box

    def box(self, host: SimHost) -> Box:
        return self._by_inner[host.address]

    def send_datagram(self, source: Station, to: Endpoint, datagram: bytes) -> None:
        """As the base does, but through the boxes on the way."""
        wire = self.wire(source.address, to.host)
        self.datagrams += 1
        box = self._by_inner.get(source.address)
        origin = Endpoint(source.address, DEFAULT_PORT) if box is None else box.source(to, self.now)
        is_lost = self.dice.random() < wire.loss or len(datagram) + UDP_IP_BYTES > wire.mtu
        if is_lost or origin is None:
            return

        def arrive() -> None:
            box = self._by_outer.get(to.host)
            if box is not None and not box.admits(to.port, origin, self.now):
                return
            station = self.at(to.host if box is None else box.inner)
            if station is not None and (box is not None or to.host not in self._by_inner):
                self.when_awake(station, lambda: station.on_datagram(datagram, origin))

        self.later(self.delay(source.address, to.host), arrive)

    def dial(self, source: Station, number: int, remote: Endpoint) -> None:
        """Only who is open, or blocks nothing but UDP, can be called."""
        box = self._by_inner.get(remote.host) or self._by_outer.get(remote.host)
        if box is not None and box.kind not in (Kind.OPEN, Kind.NO_UDP):
            self.later(1.0, lambda: source.on_dial_failed(number, "no answer"))
        else:
            super().dial(source, number, remote)


def behind(
    seed: int, *kinds: Kind, wire: Wire | None = None, late: float = 0.0
) -> tuple[Simulation, Boxes, list[SimHost]]:
    """A public host and one behind each of these; all call the public one, each so many seconds
    after the one before."""
    wire = wire or Wire()
    simulation = Simulation(seed, default=wire)
    boxes = Boxes(seed, wire)
    simulation.underlay, simulation.dice = boxes, boxes.dice
    hosts = [simulation.add(address="198.51.100.1")]
    for number, kind in enumerate(kinds, start=2):
        make = MasqueradeBox if kind is Kind.MASQUERADE else Box
        boxes.put(make(kind, f"10.9.{number}.2", f"198.51.100.{number}"))
        simulation.run(late if number > 2 else 0.0)
        hosts.append(simulation.add(hosts[0], address=f"10.9.{number}.2"))
    return simulation, boxes, hosts


def kinds(a: SimHost, b: SimHost) -> Kinds:
    paths = {(one, path.peer): path.kind for one in (a, b) for path in one.view().paths}
    return Kinds(paths.get((a, b.name), "none"), paths.get((b, a.name), "none"))


def are_direct(a: SimHost, b: SimHost) -> bool:
    return kinds(a, b) == Kinds("direct", "direct")
