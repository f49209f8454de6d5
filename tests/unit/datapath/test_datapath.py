"""The data plane over real sockets of the loopback interface, with TAPs that are socket pairs."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from tests.kit.data_plane import FakeTap, essence, make_frame
from weave_py.crypto.suites import Suite
from weave_py.datapath.datapath import Datapath
from weave_py.host.udp import UdpSocket, open_udp
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable

SUITE = Suite.AES_256_GCM


class Router:
    """A road of its own."""

    def __init__(self, number: int) -> None:
        self.name = PeerName(bytes((2, 0, 0, 0, 0, number)))
        self.udp: list[UdpSocket] = open_udp("127.0.0.1", 0)
        self.endpoint = Endpoint("127.0.0.1", self.udp[0].sock.getsockname()[1])
        self.controls: list[ControlRecord] = []
        self.woken: list[PeerName] = []
        self.news = trio.Event()
        self.egresses: dict[PeerName, Egress] = {}
        self.taps: dict[PeerName, FakeTap] = {}
        self.epoll = select.epoll()
        self.datapath = Datapath(
            self.name, self.epoll, self.udp, self._on_controls, self.woken.extend
        )

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.epoll.fileno())
            self.datapath.turn(self.epoll.poll(0))

    def _on_controls(self, controls: list[ControlRecord]) -> None:
        self.controls += controls
        self.news.set()

    def add(self, peer: Router) -> Egress:
        egress = self.egresses[peer.name] = Egress(peer.name)
        self.datapath.add_port(peer.name, egress)
        tap = self.taps[peer.name] = FakeTap()
        assert self.datapath.plug(peer.name, tap.tap)
        return egress

    def close(self) -> None:
        self.datapath.close()
        self.epoll.close()
        for one in self.udp:
            one.close()
        for tap in self.taps.values():
            tap.close()


def join(a: Router, b: Router, index: int) -> None:
    """Both directions between two routers, directly."""
    a.add(b)
    b.add(a)
    for one, other, number in ((a, b, index), (b, a, index + 1)):
        key = number.to_bytes(32, "big")
        one.egresses[other.name].sealer = Sealer(SUITE, key, number)
        one.egresses[other.name].use(NextHop(other.endpoint, None), 1472)
        other.datapath.open_session(one.name, number, Opener(SUITE, key))


@pytest.fixture
def routers() -> Iterator[list[Router]]:
    with ExitStack() as stack:
        made = [Router(number) for number in (1, 2, 3)]
        for router in made:
            stack.callback(router.close)
        yield made


async def next_frame(tap: FakeTap) -> bytes:
    with trio.fail_after(10):
        while True:
            await trio.lowlevel.wait_readable(tap.inside)
            try:
                return tap.inside.recv(1 << 17)
            except BlockingIOError:
                continue


async def test_frames_cross_in_both_directions(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.run)
        nursery.start_soon(b.run)
        for number, size in enumerate([14, 60, 1500, 9000, 60_000, 65_535]):
            frame = make_frame(number, size)
            assert a.taps[b.name].offer(frame)
            assert essence(await next_frame(b.taps[a.name])) == essence(frame)
            assert b.taps[a.name].offer(frame)
            assert essence(await next_frame(a.taps[b.name])) == essence(frame)
        nursery.cancel_scope.cancel()
    assert a.woken == [b.name]
    assert a.egresses[b.name].counters.frames_out == a.egresses[b.name].counters.frames_in == 6


async def test_frames_cross_a_third_router(routers: list[Router]) -> None:
    a, r, b = routers
    join(a, r, 10)
    join(r, b, 20)
    egress = a.add(b)
    b.add(a)
    egress.sealer = Sealer(SUITE, bytes(32), 99)
    b.datapath.open_session(a.name, 99, Opener(SUITE, bytes(32)))
    egress.use(NextHop(None, r.name), 1472)
    r.datapath.use_routes(RouteTable(relay={b.name: b.name}))
    async with trio.open_nursery() as nursery:
        for router in routers:
            nursery.start_soon(router.run)
        frame = make_frame(1, 30_000)
        assert a.taps[b.name].offer(frame)
        assert essence(await next_frame(b.taps[a.name])) == essence(frame)
        nursery.cancel_scope.cancel()
    assert r.datapath.counters.datagrams_relayed == egress.counters.datagrams_out
    assert r.taps[a.name].taken() == r.taps[b.name].taken() == []


async def test_control_records_cross_and_are_handed_over(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.run)
        assert a.datapath.send_control(b.name, NextHop(b.endpoint, None), b"probe")
        with trio.fail_after(10):
            await b.news.wait()
        nursery.cancel_scope.cancel()
    assert [(c.session, c.body, c.origin) for c in b.controls] == [(10, b"probe", a.endpoint)]


def test_a_control_record_that_cannot_leave(routers: list[Router]) -> None:
    a, b, c = routers
    join(a, b, 10)
    direct = NextHop(b.endpoint, None)
    assert not a.datapath.send_control(b.name, direct, bytes(65_500))  # larger than any datagram
    # Whatever else is in the way is not a matter of size.
    assert a.datapath.send_control(c.name, direct, b"no such port")
    assert a.datapath.send_control(b.name, NextHop(None, c.name), b"no such relay")
    a.egresses[b.name].sealer = None
    assert a.datapath.send_control(b.name, direct, b"no keys")


def test_a_tap_that_comes_too_late_is_refused(routers: list[Router]) -> None:
    a, b, _ = routers
    with ExitStack() as stack:
        late = FakeTap()
        stack.callback(late.close)
        assert not a.datapath.plug(b.name, late.tap)
        a.add(b)
        a.datapath.remove_port(b.name)
        assert not a.datapath.plug(b.name, late.tap)
        assert late.tap.fd >= 0


def test_removing_a_port_closes_its_tap(routers: list[Router]) -> None:
    a, b, _ = routers
    a.add(b)
    tap = a.taps[b.name].tap
    a.datapath.remove_port(b.name)
    assert tap.fd == -1
    a.datapath.remove_port(b.name)


async def test_sessions_that_are_closed_open_nothing(routers: list[Router]) -> None:
    a, b, c = routers
    join(a, b, 10)
    c.datapath.open_session(a.name, 5, Opener(SUITE, bytes(32)))  # of a peer without a port
    b.datapath.close_session(10)
    b.datapath.close_session(10)
    assert a.datapath.send_control(b.name, NextHop(b.endpoint, None), b"x")
    with trio.fail_after(10):
        while not b.datapath.counters.datagrams_unknown_session:
            await trio.lowlevel.wait_readable(b.udp[0].sock)
            b.datapath.turn(b.epoll.poll(0))
    assert b.controls == []


def test_records_that_stayed_incomplete_are_counted_at_the_end(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    ingress = b.datapath._inbound.ingresses[10]
    for counter in range(70):
        ingress.reassembly.add_untrusted(counter, 0, False, 100, memoryview(b"half"), 0)
    b.datapath.close_session(10)
    assert b.egresses[a.name].counters.records_incomplete == 70


async def test_nothing_is_carried_any_more_once_closed(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"wake up", a.endpoint)
        await trio.lowlevel.wait_readable(a.udp[0].sock)
    ready = a.epoll.poll(0)
    assert ready
    a.datapath.close()
    a.datapath.close()
    a.datapath.turn(ready)
    assert a.epoll.poll(0) == []
    assert a.datapath.counters.datagrams_in == 0
