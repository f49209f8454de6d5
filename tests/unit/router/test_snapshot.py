"""Does the snapshot show what the router knows: connections, peers, paths, and why?"""

from __future__ import annotations

import pytest

from tests.kit.simulation import Simulation
from weave_py.model.names import Endpoint, parse_target
from weave_py.model.snapshot import CONNECTION_STATES, ConnectionView, RouterSnapshot
from weave_py.router.engine import Engine
from weave_py.router.snapshot import snapshot
from weave_py.sim.host import SimHost


def view(engine: Engine, now: float) -> RouterSnapshot:
    made = snapshot(
        engine, mtu=1380, trusted_subnets=("10.0.0.0/8",), counters={"datagrams_in": 3}, now=now
    )
    assert {c.state for c in made.connections} <= set(CONNECTION_STATES)
    return made


def connections(shown: RouterSnapshot) -> dict[str, ConnectionView]:
    found = {connection.address: connection for connection in shown.connections}
    assert len(found) == len(shown.connections), "nothing is shown twice"
    return found


def where(host: SimHost) -> Endpoint:
    return Endpoint(host.address, host.engine.port)


def test_a_router_alone() -> None:
    net = Simulation()
    engine = net.add().engine
    shown = view(engine, net.now)
    assert (shown.name, shown.uid, shown.nickname) == (engine.name, engine.uid, "h1")
    assert not any((shown.connections, shown.paths, shown.targets))
    assert [peer.name for peer in shown.peers] == [engine.name]
    assert not shown.encryption
    assert shown.discovery
    assert shown.trusted_subnets == ("10.0.0.0/8",)
    assert shown.counters == {
        "datagrams_in": 3,
        "topology_records_quarantined": 0,
        "unicasts_undeliverable": 0,
    }


def test_two_routers_with_a_path() -> None:
    net = Simulation()
    a = net.add()
    b = net.add(a)
    net.run_until(net.all_paths, within=10)
    net.run(1)
    shown = view(b.engine, net.now)
    (connection,) = shown.connections
    assert connection == ConnectionView(
        address=where(a).text,
        outbound=True,
        state="established",
        peer=a.name,
        nickname="h1",
        mtu=1380,
        fits=1450,
        rtt=connection.rtt,
    )
    assert connection.rtt == pytest.approx(0.02, rel=0.5)
    (path,) = shown.paths
    assert (path.peer, path.nickname, path.kind, path.via) == (a.name, "h1", "direct", None)
    assert path.address == where(a).text
    assert path.why == ""
    assert path.cipher.startswith("aes")
    assert path.datagram_bytes >= 1200
    assert shown.targets == (a.address,)
    for peer in shown.peers:
        assert peer.reachable
        (claimed,) = peer.connections
        assert claimed.established
        assert claimed.name != peer.name
    assert {c.outbound for p in shown.peers for c in p.connections} == {True, False}


def test_a_relayed_path_says_through_whom_and_why() -> None:
    net = Simulation()
    a, b, c = net.chain(3)
    net.run_until(net.all_paths, within=20)
    net.run(1)
    paths = {path.peer: path for path in view(a.engine, net.now).paths}
    assert paths[b.name].kind == "direct"
    relayed = paths[c.name]
    assert (relayed.kind, relayed.via) == ("relay", b.name)
    assert relayed.address == where(b).text, "where its datagrams go"
    assert relayed.why != ""


def test_an_attempt_is_shown_in_all_its_states() -> None:
    net = Simulation()
    host = net.add()
    host.engine.connect([parse_target("10.9.9.9")], net.now)
    (attempt,) = view(host.engine, net.now).connections
    assert attempt == ConnectionView("10.9.9.9", True, "connecting", retry_in=0.0)
    host.engine.take_outputs()
    stream = next(iter(host.engine.neighbours))
    host.engine.dial_failed(stream.number, "no route to host", net.now)
    (attempt,) = view(host.engine, net.now).connections
    assert (attempt.state, attempt.error) == ("failed", "no route to host")
    assert attempt.retry_in is not None
    assert 0 < attempt.retry_in < 1
    host.engine.advance(net.now + 1)
    (attempt,) = view(host.engine, net.now + 1).connections
    assert (attempt.state, attempt.error) == ("retrying", "no route to host")


@pytest.mark.parametrize("port", ["", ":6783"])
def test_a_target_at_the_handshake_is_shown_once(port: str) -> None:
    """However the user wrote it."""
    net = Simulation()
    host, other = net.add(), net.add()
    host.engine.connect([parse_target(other.address + port)], net.now)
    host.engine.take_outputs()
    stream = next(iter(host.engine.neighbours))
    host.engine.dialled(stream.number, where(other), net.now)
    (shown,) = view(host.engine, net.now).connections
    assert (shown.address, shown.state, shown.peer) == (where(other).text, "pending", None)


def test_a_peer_that_left_shows_as_unreachable_until_it_is_forgotten() -> None:
    net = Simulation()
    a = net.add()
    b = net.add(a)
    net.run_until(net.all_paths, within=10)
    net.vanish(b)
    net.run(10)
    shown = view(a.engine, net.now)
    assert shown.terminations == 1
    gone = next(peer for peer in shown.peers if peer.name == b.name)
    assert not gone.reachable
    assert [c.established for c in gone.connections] == [False], "only one end says so"
    (path,) = shown.paths
    assert (path.kind, path.rtt, path.loss) == ("none", None, 0.0)
    assert path.why == "peer-unreachable"


def test_a_secret_network_says_so() -> None:
    net = Simulation(password="a password that is long enough")
    assert view(net.add().engine, net.now).encryption


def test_an_address_of_ourself_is_shown_with_the_reason() -> None:
    net = Simulation()
    host = net.add()
    net.call(host, host)
    net.run(5)
    shown = connections(view(host.engine, net.now))[host.address]
    assert shown.state == "failed"
    assert shown.error.endswith("cannot connect to ourself")
    assert shown.retry_in is not None
    assert shown.retry_in > 50
