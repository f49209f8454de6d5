"""The packet road over real sockets of the loopback interface, with TAPs that are socket pairs."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from tests.kit.road import FakeTap, essence, make_frame
from weave_py.crypto.suites import Suite
from weave_py.host.udp import UdpSocket, open_udp
from weave_py.link.control import ControlRecord
from weave_py.link.outlet import Outlet, Way
from weave_py.link.sealing import Opener, Sealer
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.runtime.roads import Roads

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
        self.outlets: dict[PeerName, Outlet] = {}
        self.taps: dict[PeerName, FakeTap] = {}
        self.epoll = select.epoll()
        self.roads = Roads(self.name, self.epoll, self.udp, self._on_controls, self.woken.extend)

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.epoll.fileno())
            self.roads.turn(self.epoll.poll(0))

    def _on_controls(self, controls: list[ControlRecord]) -> None:
        self.controls += controls
        self.news.set()

    def add(self, peer: Router) -> Outlet:
        outlet = self.outlets[peer.name] = Outlet(peer.name)
        self.roads.add_port(peer.name, outlet)
        tap = self.taps[peer.name] = FakeTap()
        assert self.roads.plug(peer.name, tap.tap)
        return outlet

    def close(self) -> None:
        self.roads.close()
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
        one.outlets[other.name].sealer = Sealer(SUITE, key, number)
        one.outlets[other.name].use(Way(other.endpoint, None), 1472)
        other.roads.open_session(one.name, number, Opener(SUITE, key))


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
    assert a.outlets[b.name].counters.frames_out == a.outlets[b.name].counters.frames_in == 6


async def test_frames_cross_a_third_router(routers: list[Router]) -> None:
    a, r, b = routers
    join(a, r, 10)
    join(r, b, 20)
    outlet = a.add(b)
    b.add(a)
    outlet.sealer = Sealer(SUITE, bytes(32), 99)
    b.roads.open_session(a.name, 99, Opener(SUITE, bytes(32)))
    outlet.use(Way(None, r.name), 1472)
    r.roads.use_routes(RouteTable(relay={b.name: b.name}))
    async with trio.open_nursery() as nursery:
        for router in routers:
            nursery.start_soon(router.run)
        frame = make_frame(1, 30_000)
        assert a.taps[b.name].offer(frame)
        assert essence(await next_frame(b.taps[a.name])) == essence(frame)
        nursery.cancel_scope.cancel()
    assert r.roads.counters.datagrams_relayed == outlet.counters.datagrams_out
    assert r.taps[a.name].taken() == r.taps[b.name].taken() == []


async def test_control_records_cross_and_are_handed_over(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(b.run)
        assert a.roads.send_control(b.name, Way(b.endpoint, None), b"probe")
        with trio.fail_after(10):
            await b.news.wait()
        nursery.cancel_scope.cancel()
    assert [(c.session, c.body, c.origin) for c in b.controls] == [(10, b"probe", a.endpoint)]


def test_a_control_record_that_cannot_leave(routers: list[Router]) -> None:
    a, b, c = routers
    join(a, b, 10)
    direct = Way(b.endpoint, None)
    assert not a.roads.send_control(b.name, direct, bytes(65_500))  # larger than any datagram
    # Whatever else is in the way is not a matter of size.
    assert a.roads.send_control(c.name, direct, b"no such port")
    assert a.roads.send_control(b.name, Way(None, c.name), b"no such relay")
    a.outlets[b.name].sealer = None
    assert a.roads.send_control(b.name, direct, b"no keys")


def test_a_tap_that_comes_too_late_is_refused(routers: list[Router]) -> None:
    a, b, _ = routers
    with ExitStack() as stack:
        late = FakeTap()
        stack.callback(late.close)
        assert not a.roads.plug(b.name, late.tap)
        a.add(b)
        a.roads.remove_port(b.name)
        assert not a.roads.plug(b.name, late.tap)
        assert late.tap.fd >= 0


def test_removing_a_port_closes_its_tap(routers: list[Router]) -> None:
    a, b, _ = routers
    a.add(b)
    tap = a.taps[b.name].tap
    a.roads.remove_port(b.name)
    assert tap.fd == -1
    a.roads.remove_port(b.name)


async def test_sessions_that_are_closed_open_nothing(routers: list[Router]) -> None:
    a, b, c = routers
    join(a, b, 10)
    c.roads.open_session(a.name, 5, Opener(SUITE, bytes(32)))  # of a peer without a port
    b.roads.close_session(10)
    b.roads.close_session(10)
    assert a.roads.send_control(b.name, Way(b.endpoint, None), b"x")
    with trio.fail_after(10):
        while not b.roads.counters.datagrams_unknown_session:
            await trio.lowlevel.wait_readable(b.udp[0].sock)
            b.roads.turn(b.epoll.poll(0))
    assert b.controls == []


def test_records_that_stayed_incomplete_are_counted_at_the_end(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    inlet = b.roads._inbound.inlets[10]
    for counter in range(70):
        inlet.reassembly.add_untrusted(counter, 0, False, 100, memoryview(b"half"), 0)
    b.roads.close_session(10)
    assert b.outlets[a.name].counters.records_incomplete == 70


async def test_nothing_is_carried_any_more_once_closed(routers: list[Router]) -> None:
    a, b, _ = routers
    join(a, b, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"wake up", a.endpoint)
        await trio.lowlevel.wait_readable(a.udp[0].sock)
    ready = a.epoll.poll(0)
    assert ready
    a.roads.close()
    a.roads.close()
    a.roads.turn(ready)
    assert a.epoll.poll(0) == []
    assert a.roads.counters.datagrams_in == 0
