"""Which links get a fast path, to where, under which keys, and what does the router show of it?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from fastdp.path.reasons import Reason
from fastdp.path.values import Direct, FastState
from tests.kit.fast_sim import HOST, FastSimulation
from weave_py.link.egress import NextHop
from weave_py.link.path import Path, PathSettings, PathState
from weave_py.link.route_book import RouteBook
from weave_py.model.fast import Carried, DesiredVxlan, FastHost, FastRemote, PortsOutcome
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.underlay import Route
from weave_py.router.fast_links import MTU_DIFFERS, FastLinks
from weave_py.router.settings import EngineSettings
from weave_py.router.snapshot import snapshot
from weave_py.sim.host import SimHost

SECRET = "not to be seen in clear"


def fast_pair(net: FastSimulation) -> tuple[SimHost, SimHost]:
    a, b = net.pair()
    net.run_until(lambda: net.is_fast(a, b) and net.is_fast(b, a), within=5)
    return a, b


def why(host: SimHost, peer: SimHost) -> str:
    return host.path_view(peer).why


def test_an_open_pair_goes_fast_and_shows_it() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    desired = net.kernels[a.name].desired_ports[b.name]
    assert desired is not None
    far = net.kernels[b.name].desired_ports[a.name]
    assert far is not None
    assert desired.remote == FastRemote(a.address, b.address, 4789, far.vni)
    net.run(1)
    view = a.path_view(b)
    assert (view.kind, view.cipher, view.why) == ("fastdp", "none", "")
    assert view.fast is not None
    assert (view.fast.state, view.fast.why) == ("fast", "")
    assert view.fits == view.datagram_bytes - 22
    (connection,) = a.view().connections
    assert (connection.overlay, connection.encrypted) == ("fastdp", False)
    assert connection.mtu == 1500
    assert connection.fits == view.fits


def test_what_the_kernel_carried_is_counted() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    shown = snapshot(
        a.engine,
        mtu=1376,
        trusted_subnets=(),
        counters={},
        now=net.now,
        carried={b.name: Carried(1, 2, 3, 4)},
    )
    (path,) = shown.paths
    counted = {name: value for name, value in path.counters.items() if name.startswith("kernel_")}
    assert counted == {
        "kernel_packets_out": 1,
        "kernel_packets_in": 2,
        "kernel_bytes_out": 3,
        "kernel_bytes_in": 4,
    }
    assert a.path_view(b).counters["kernel_packets_out"] == 0


def test_a_cut_is_left_and_told() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    net.run(5)
    net.kernels[a.name].cut = True
    net.run_until(lambda: not net.is_fast(a, b) and not net.is_fast(b, a), within=10)
    assert a.path_view(b).kind == "direct"
    assert why(a, b) == Reason.PROBE_LOST
    assert why(b, a) == "peer-probe-lost"
    net.kernels[a.name].cut = False
    net.run_until(lambda: net.is_fast(a, b) and net.is_fast(b, a), within=40)


def test_a_secret_network_seals_with_keys_of_the_session() -> None:
    net = FastSimulation(SECRET)
    a, b = fast_pair(net)
    one, other = (
        net.kernels[a.name].desired_ports[b.name],
        net.kernels[b.name].desired_ports[a.name],
    )
    assert one is not None
    assert other is not None
    assert one.remote is not None
    assert other.remote is not None
    assert one.remote.esp is not None
    assert other.remote.esp is not None
    assert one.remote.esp.outbound == other.remote.esp.inbound[-1]
    assert other.remote.esp.outbound == one.remote.esp.inbound[-1]
    view = a.path_view(b)
    assert (view.kind, view.cipher) == ("fastdp", "esp-aes-256-gcm")
    assert a.view().connections[0].encrypted
    assert view.fits is not None
    assert view.fits < view.datagram_bytes - 22


def test_keys_are_renewed_without_leaving_the_path() -> None:
    net = FastSimulation(SECRET)
    a, b = fast_pair(net)
    before = net.kernels[a.name].desired_ports[b.name]
    changes = len(net.kernels[a.name].changes)
    net.run(300)  # a session renews its keys every two minutes
    after = net.kernels[a.name].desired_ports[b.name]
    assert before is not None
    assert after is not None
    assert before.remote is not None
    assert after.remote is not None
    assert before.remote.esp is not None
    assert after.remote.esp is not None
    assert after.remote.esp.outbound != before.remote.esp.outbound
    assert len(net.kernels[a.name].changes) == changes


def test_without_esp_a_secret_keeps_it_on_the_sleeve() -> None:
    net = FastSimulation(SECRET, FastHost(4789, esp=False))
    a, b = net.pair()
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert a.path_view(b).kind == "direct"
    assert why(a, b) == Reason.NO_KERNEL_ESP


def test_trusted_subnets_need_no_keys() -> None:
    trusted = (ip_network("10.0.0.0/16"),)
    net = FastSimulation(SECRET, FastHost(4789, esp=False), trusted)
    a, b = fast_pair(net)
    desired = net.kernels[a.name].desired_ports[b.name]
    assert desired is not None
    assert desired.remote is not None
    assert desired.remote.esp is None
    assert not a.view().connections[0].encrypted


@pytest.mark.parametrize("code", ["disabled", "no-vxlan", "port-taken", "no-guard"])
def test_a_host_that_cannot_says_so(code: str) -> None:
    net = FastSimulation(host=FastHost(0, code))
    a, b = net.pair()
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert why(a, b) == code
    assert net.kernels[a.name].desired_ports.get(b.name) is None


def test_a_router_without_a_fast_datapath_tells_nobody() -> None:
    net = FastSimulation(host=None)
    a, b = net.pair()
    net.run_until(net.all_paths, within=10)
    net.run(5)
    assert a.engine.links.fast.paths.get(b.name) is None
    assert why(a, b) == ""
    assert a.path_view(b).fast is None


def test_another_vni_is_drawn_where_one_is_taken() -> None:
    net = FastSimulation()
    a, b = net.pair()
    net.run_until(lambda: net.kernels[a.name].desired_ports.get(b.name) is not None, within=5)
    first = net.kernels[a.name].desired_ports[b.name]
    assert first is not None
    outcome = PortsOutcome(failed=((b.name, "another device has that VNI"),), taken=(b.name,))
    a.engine.fast_ports_changed(outcome, net.now)
    a.carry_out()
    net.run_until(lambda: net.is_fast(a, b) and net.is_fast(b, a), within=10)
    desired = net.kernels[a.name].desired_ports[b.name]
    far = net.kernels[b.name].desired_ports[a.name]
    assert desired is not None
    assert desired.vni != first.vni
    assert far is not None
    assert far.remote is not None
    assert far.remote.vni == desired.vni


def test_who_says_goodbye_is_left_at_once() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    b.engine.stop(net.now)
    b.carry_out()
    net.run(0.2)
    assert not net.is_fast(a, b)
    path = a.engine.links.fast.paths.get(b.name)
    assert path is not None
    assert (path.state, path.why) == (FastState.OFF, Reason.PEER_LEFT)


def test_a_lost_peer_whose_frames_still_come_keeps_its_port_as_long_as_they_do() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    kernel = net.kernels[a.name]
    net.kill(b)
    for _ in range(100):
        kernel.received[b.name] += 5
        net.run(3)
    assert a.engine.topology.record(b.name) is None
    assert a.engine.links.get(b.name) is not None
    assert net.is_fast(a, b)
    net.run(200)
    assert a.engine.links.get(b.name) is None


def test_an_adopted_path_whose_peer_never_comes_is_given_up() -> None:
    net = FastSimulation()
    a = net.start()
    gone = PeerName(b"\x02gone!")
    remote = FastRemote(a.address, "10.9.9.9", 4789, 8000)
    a.engine.adopt_fast_paths([(gone, DesiredVxlan(7000, False, remote, True))], net.now)
    a.carry_out()
    net.run(130)
    assert net.kernels[a.name].forgotten == [gone]


# --- where we are, and where they are ----------------------------------------------------


def links_at(*local: str, routes: RouteBook | None = None) -> FastLinks:
    settings = EngineSettings(fast_host=HOST)
    fast = FastLinks(lambda n: bytes(n), settings, is_secret=False, routes=routes)
    fast.set_local(local)
    return fast


@pytest.mark.parametrize(
    ("local", "host", "source", "observed", "expected"),
    [
        (("192.0.2.1",), "192.0.2.2", None, "192.0.2.1", "192.0.2.1"),
        # The kernel knows best (t68), unless we were told where to listen.
        (("10.0.0.1", "192.0.2.1"), "192.0.2.2", "192.0.2.1", "10.0.0.1", "192.0.2.1"),
        (("10.255.0.1", "192.0.2.1"), "192.0.2.2", "10.255.0.1", None, "10.255.0.1"),
        (("192.0.2.1",), "192.0.2.2", "10.0.0.1", None, "192.0.2.1"),
        (("10.0.0.1", "192.0.2.1"), "192.0.2.2", None, "10.0.0.1", "10.0.0.1"),
        (("10.0.0.1", "192.0.2.1"), "192.0.2.2", None, "198.51.100.7", "192.0.2.1"),  # a NAT
        (("192.0.2.1", "10.0.0.1"), "10.0.0.9", None, None, "10.0.0.1"),
        (("192.0.2.1", "2001:db8::1"), "2001:db8::2", None, None, "2001:db8::1"),
        (("192.0.2.1", "2001:db8::1"), "2001:db8::2", None, "192.0.2.1", "2001:db8::1"),
        (("192.0.2.1",), "2001:db8::2", None, None, None),
        (("fe80::1", "2001:db8::1"), "fe80::2%eth0", None, None, "fe80::1"),
        ((), "192.0.2.2", None, None, None),
    ],
)
def test_our_address_on_the_way(
    local: tuple[str, ...],
    host: str,
    source: str | None,
    observed: str | None,
    expected: str | None,
) -> None:
    seen = None if observed is None else Endpoint(observed, 6783)
    routes = RouteBook(is_asked=True)
    if source is not None:
        routes.learn({host: Route(source)})
    assert links_at(*local, routes=routes)._local_towards(host, seen) == expected


def second_way(net: FastSimulation, a: SimHost, b: SimHost, address: str) -> Path:
    """A second straight way from `a` to `b` that works."""
    link = a.engine.links.get(b.name)
    assert link is not None
    place = Endpoint(address, b.endpoint.port)
    path = Path(NextHop(place, None), net.now, PathSettings())
    path.state = PathState.UP
    path.rtt = 1.0
    link.paths._direct[place] = path
    a.engine.links.fast.link_changed(link, net.now)
    return path


def test_what_policy_allows_comes_first_though_the_sleeve_is_quicker_elsewhere() -> None:
    """t71: a fast path has candidates of its own."""
    trusted = (ip_network("10.77.0.0/24"), ip_network("10.0.0.0/32"))
    for esp in (False, True):
        net = FastSimulation(SECRET, FastHost(4789, esp=esp), trusted)
        a, b = net.pair()
        net.run_until(net.all_paths, within=10)
        net.run(2)
        link = a.engine.links.get(b.name)
        assert link is not None
        fast = a.engine.links.fast
        fast.set_local([a.address, "10.77.0.1"])
        fast._routes.learn({"10.77.0.2": Route("10.77.0.1")})
        second_way(net, a, b, "10.77.0.2")
        assert fast._choose(link, net.now) == Direct("10.77.0.1", "10.77.0.2")
        assert not fast.is_encrypted(b.name)


def test_both_ends_must_be_trusted() -> None:
    """t71: the peer's guard drops what does not come from a trusted subnet."""
    net = FastSimulation(SECRET, FastHost(4789, esp=False), (ip_network("10.77.0.0/24"),))
    a, b = net.pair()
    net.run_until(net.all_paths, within=10)
    second_way(net, a, b, "10.77.0.2")
    assert a.engine.links.fast.is_encrypted(b.name)
    assert why(a, b) == Reason.NO_KERNEL_ESP


def test_who_does_not_answer_gives_way_to_the_next() -> None:
    """t68: one way after the other, as long as none is answered."""
    net = FastSimulation()
    a, b = net.pair()
    net.run_until(net.all_paths, within=10)
    net.kernels[a.name].cut = net.kernels[b.name].cut = True
    net.run(1)
    link = a.engine.links.get(b.name)
    assert link is not None
    seen: list[str] = []
    for _ in range(60):
        second_way(net, a, b, "10.77.0.2")
        fast = a.engine.links.fast._choose(link, net.now)
        assert fast is not None
        if seen[-1:] != [fast.host]:
            seen.append(fast.host)
        net.run(0.5)
    assert seen[:4] == [b.address, "10.77.0.2", b.address, "10.77.0.2"]
    assert len(seen) < 10, "each has its time"


MTU_EVENTS = (MTU_DIFFERS, "inner MTU is the peer's again")


def mtu_lines(host: SimHost) -> list[tuple[str, object, object]]:
    return [
        (entry.event, entry.fields["ours"], entry.fields["theirs"])
        for entry in host.log
        if entry.event in MTU_EVENTS
    ]


@pytest.mark.parametrize("able", [True, False])
def test_hosts_with_different_mtus_both_say_so(able: bool) -> None:
    """t34: packets between the two sizes vanished without a word. (Also without --fastdp.)"""
    net = FastSimulation(host=HOST if able else FastHost(0, "disabled"))
    a = net.start(mtu=8000)
    b = net.start(a)
    net.run_until(lambda: bool(mtu_lines(a) and mtu_lines(b)), within=10)
    net.run(60)
    assert mtu_lines(a) == [(MTU_DIFFERS, 8000, 1376)]
    assert mtu_lines(b) == [(MTU_DIFFERS, 1376, 8000)]
    assert (a.path_view(b).peer_mtu, b.path_view(a).peer_mtu) == (1376, 8000)
    other = "" if able else "disabled,"
    assert why(a, b) == why(b, a) == f"{other}mtu-mismatch"


def test_hosts_with_the_same_mtu_say_nothing() -> None:
    net = FastSimulation()
    a, b = fast_pair(net)
    net.run(30)
    assert not mtu_lines(a)
    assert a.path_view(b).peer_mtu is None


def test_a_peer_that_comes_back_with_our_mtu_ends_it() -> None:
    net = FastSimulation()
    a = net.start(mtu=8000)
    b = net.start(a)
    net.run_until(lambda: bool(mtu_lines(a)), within=10)
    fast = a.engine.links.fast
    path = fast.paths.get(b.name)
    assert path is not None
    assert path.peer is not None
    path._machine.peer = replace(path.peer, mtu=8000)
    news = fast.mtu_news(b.name)
    assert news is not None
    assert (news.event, fast.mtu_news(b.name)) == (MTU_EVENTS[1], None)
    assert a.path_view(b).peer_mtu is None
    path._machine.peer = None  # it says goodbye
    assert fast.mtu_news(b.name) is None


@pytest.mark.parametrize("password", [None, SECRET])
def test_a_host_that_goes_to_another_port_tells_its_peers(password: str | None) -> None:
    """t24: somebody else's VXLAN devices came to ours."""
    net = FastSimulation(password)
    a, b = fast_pair(net)
    net.run(2)
    a.engine.fast_host_changed(replace(HOST, udp_port=6784), net.now)
    a.carry_out()

    def has_moved() -> bool:
        desired = net.kernels[b.name].desired_ports[a.name]
        if desired is None or desired.remote is None:
            return False
        return desired.through and desired.remote.udp_port == 6784

    net.run_until(lambda: has_moved() and net.is_fast(a, b), within=3)
    a.engine.fast_host_changed(FastHost(0, "port-taken"), net.now)
    a.carry_out()
    net.run_until(lambda: not net.is_fast(a, b) and not net.is_fast(b, a), within=1)
    assert why(a, b) == "port-taken"
    assert why(b, a) == "peer-port-taken"
