"""Does the router go by the kernel's routes, whatever peers say of where they are?"""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.simulation import Simulation
from weave_py.model.names import Endpoint
from weave_py.model.underlay import OwnAddress, Route
from weave_py.router.outputs import Dial, FindRoutes, Output, SendControlRecord
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost
from weave_py.wire.topology import MAX_ENDPOINTS


class Kernels(Simulation):
    """Its hosts have kernels that know ways: out by the wire, unless told otherwise."""

    def __init__(self) -> None:
        super().__init__(settings=EngineSettings(asks_routes=True))
        self.known: dict[str, dict[str, Route]] = {}
        self.asked: list[str] = []
        self.sent: list[tuple[SimHost, str]] = []
        self.dialled: list[tuple[SimHost, str]] = []

    def start(self, *targets: SimHost, ways: dict[str, Route] | None = None) -> SimHost:
        host = self.add()
        self.known[host.address] = ways or {}
        host._do = self._shell(host, host._do)  # type: ignore[method-assign,assignment]
        if targets:
            self.call(host, *targets)
        return host

    def _shell(self, host: SimHost, do: Callable[[Output], None]) -> Callable[[Output], None]:
        def more(output: Output) -> None:
            match output:
                case FindRoutes(hosts):
                    self.asked += hosts
                    host.engine.routes_found(self.find(host, hosts), self.now)
                    return
                case SendControlRecord(_, next_hop) if next_hop.endpoint is not None:
                    self.sent.append((host, next_hop.endpoint.host))
                case Dial(_, address, _):
                    self.dialled.append((host, address))
            do(output)

        return more

    def find(self, host: SimHost, hosts: tuple[str, ...]) -> dict[str, Route]:
        known = self.known[host.address]
        return {h: known.get(h, Route(host.address, here=h == host.address)) for h in hosts}

    def change(self, host: SimHost, address: str, route: Route) -> None:
        """Another route from now on, of which the kernel tells."""
        self.known[host.address][address] = route
        host.engine.routes_found(self.find(host, host.engine.route_hosts()), self.now)
        host.carry_out()


def announced_hosts(host: SimHost) -> list[str]:
    return [place.host for place in host.engine.ourself.record.endpoints]


def test_it_asks_before_it_sends_and_then_all_is_as_usual() -> None:
    net = Kernels()
    a = net.start()
    b = net.start(a)
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert a.path_view(b).kind == "direct"
    assert {address for _, address in net.sent} <= set(net.asked)


def test_a_peer_that_is_reached_through_the_overlay_only_is_reached_otherwise() -> None:
    """t02: with the reason, and a line in the log, once."""
    net = Kernels()
    a = net.start()
    b = net.start(a)
    inside = Route("10.32.0.1", inside=True)
    net.known[a.address][b.address] = net.known[b.address][a.address] = inside
    net.run(20)
    assert not net.sent
    assert a.path_view(b).kind == "tcp"
    assert a.path_view(b).why.split(",")[0] in ("inside-overlay", "udp-blocked")
    (line,) = a.events("no way to a peer")
    assert line.fields == {"address": b.address, "why": "inside-overlay"}


def test_when_a_route_turns_inside_the_way_is_left_and_nothing_flaps() -> None:
    """t02."""
    net = Kernels()
    c = net.start()
    a = net.start(c)
    b = net.start(c)
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert a.path_view(b).kind == "direct"
    for one, other in ((a, b), (b, a)):
        net.change(one, other.address, Route("10.32.0.1", inside=True))
    net.run(0.1)
    net.sent.clear()
    a.watches_ways = True
    net.run(30)
    assert a.path_view(b).kind == "relay"
    assert not [1 for host, to in net.sent if (host, to) in ((a, b.address), (b, a.address))]
    assert len([c for c in a.way_changes if c.peer == b.name]) <= 2
    for one, other in ((a, b), (b, a)):
        net.change(one, other.address, Route(one.address))
    net.run_until(lambda: a.path_view(b).kind == "direct", within=15)


def test_nobody_is_called_at_an_address_inside_the_overlay() -> None:
    """t02."""
    net = Kernels()
    c = net.start()
    a = net.start(c)
    for number in range(1, 20):
        net.known[a.address][f"10.32.0.{number}"] = Route("10.32.0.99", inside=True)
    b = net.add()
    net.known[b.address] = {}
    b._do = net._shell(b, b._do)  # type: ignore[method-assign,assignment]
    net.cut(a, b)
    b.engine.set_local_addresses([OwnAddress("10.32.0.2")], net.now)
    net.call(b, c)
    net.run(60)
    called = {to for host, to in net.dialled if host is a}
    assert "10.32.0.2" not in called


def test_an_address_of_ours_is_told_first_if_the_way_to_peers_leaves_from_it() -> None:
    """t01: a host with many networks; those with no wire would fill the record."""
    net = Kernels()
    a = net.start()
    b = net.start(a)
    bridges = [OwnAddress(f"10.0.9.{n}", is_lonely=True) for n in range(1, 40)]
    # Nothing shows which it is, but what the kernel says of the way to `a`.
    b.engine.set_local_addresses([*bridges, OwnAddress(b.address, is_lonely=True)], net.now)
    b.carry_out()
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert announced_hosts(b)[0] == b.address
    assert len(announced_hosts(b)) == MAX_ENDPOINTS


def test_what_is_also_ours_is_left_out_if_it_is_really_here() -> None:
    """t01: the kernel knows: an address of ours may be another place, in another VRF say."""
    net = Kernels()
    a = net.start()
    b = net.start(a)
    net.run_until(net.all_paths, within=10)
    shared = "10.9.9.9"
    net.known[a.address][shared] = Route(shared, here=True)
    for host in (a, b):
        host.engine.set_local_addresses([OwnAddress(host.address), OwnAddress(shared)], net.now)
        host.carry_out()
    net.run(5)
    link = a.engine.links.get(b.name)
    assert link is not None
    place = Endpoint(shared, b.engine.port)
    assert not link.has_any({place.host})
    net.known[a.address][shared] = Route(a.address)
    a.engine.routes_found(net.find(a, (shared,)), net.now)
    a.carry_out()
    net.run(5)
    assert link.has_any({place.host})


def test_what_a_member_makes_up_costs_no_more_than_it_says_at_a_time() -> None:
    """Neither memory nor lines of the log for each address that was ever spoken of."""
    net = Kernels()
    a = net.start()
    b = net.start(a)
    net.run_until(net.all_paths, within=10)
    for number in range(200):
        made_up = f"10.32.{number}.1"
        net.known[a.address][made_up] = Route("10.32.0.9", inside=True)
        b.engine.set_local_addresses([OwnAddress(b.address), OwnAddress(made_up)], net.now)
        b.carry_out()
        net.run(0.5)
    net.run(5)
    assert net.asked.count("10.32.150.1") >= 1
    assert len(a.events("no way to a peer")) <= 12
    assert set(a.engine.route_hosts()) == {a.address, b.address, made_up}
    assert a.engine.links.routes.get("10.32.0.1") is None
