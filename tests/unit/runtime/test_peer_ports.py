"""Every wanted peer gets its port on the bridge, sooner or later, and nothing is left behind."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar, cast

import pytest
import trio
import trio.testing

from fastdp.fake.host import FakeHost
from fastdp.fake.net import FakeNet
from fastdp.plan.state import Device
from fastdp.reconciler import Reconciler
from weave_py.datapath.datapath import Datapath
from weave_py.host.rtnl import NESTED, attribute
from weave_py.host.tap import Tap
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastRemote, PortsOutcome
from weave_py.model.names import PeerName
from weave_py.observe.log import Flood, LineFormatter
from weave_py.runtime.peer_ports import LOOK_SECONDS, RETRY_SECONDS, PeerPorts

ONE, TWO = PeerName(b"\x02\x00\x00\x00\x00\x01"), PeerName(b"\x02\x00\x00\x00\x00\x02")
FAST = DesiredVxlan(7000, False, FastRemote("192.0.2.1", "192.0.2.2", 4789, 8000), through=True)

P = ParamSpec("P")
T = TypeVar("T")


class Thread:
    """The host thread: calls at once, or when the gate opens."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        await self.gate.wait()
        await trio.lowlevel.checkpoint()
        return function(*args, **kwargs)


class FakeTap(Tap):
    """Vanishes when closed."""

    def __init__(self, host: FakeHost, name: str) -> None:
        super().__init__(-1, name, frozenset())
        self.host = host

    def close(self) -> None:
        if self.name in self.host.devices:
            self.host.remove(self.name)


class Kit:
    def __init__(self, events: socket.socket) -> None:
        self.host = FakeHost(FakeNet(), "192.0.2.1")
        self.thread = Thread()
        self.outcomes: list[PortsOutcome] = []
        self.taken: dict[PeerName, Tap] = {}
        self.fail_open = 0
        self.bridge_gone = False
        self._events = events
        reconciler = Reconciler(self.host, "weave", 1376, 4789)
        thread = cast(HostThread, self.thread)
        self.asked: list[set[int]] = []
        """What was to be avoided, each time that room was to be made."""
        self.ports = PeerPorts(
            thread,
            reconciler,
            "weave",
            self.outcomes.append,
            self._restore,
            self._open,
            self._make_room,
        )
        self.reconciler = reconciler

    async def _make_room(
        self, wishes: Mapping[PeerName, DesiredVxlan | None], foreign: Collection[int]
    ) -> bool:
        self.asked.append(set(foreign))
        self.reconciler.move(wishes, (6784, 14789)[len(self.asked) - 1], None, None, 0.0)
        return True

    def _restore(self) -> bool:
        gone, self.bridge_gone = self.bridge_gone, False
        return gone

    def _open(self, name: str) -> Tap:
        if self.fail_open:
            self.fail_open -= 1
            raise HostError("no TAP today")
        self.host.open_tap(PeerName(bytes.fromhex(name[3:])))
        return FakeTap(self.host, name)

    def plug(self, peer: PeerName, tap: Tap) -> bool:
        """As Roads.plug."""
        self.taken[peer] = tap
        return True

    def unplug(self, peer: PeerName) -> None:
        """As Roads.unplug."""
        self.taken.pop(peer).close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ports.run, cast(Datapath, self), self._events)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def kernel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of the events."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def kit(kernel: tuple[socket.socket, socket.socket]) -> Kit:
    return Kit(kernel[0])


@pytest.fixture(autouse=True)
def _whole_lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.handler.setFormatter(LineFormatter())
    monkeypatch.setattr("weave_py.observe.log._flood", Flood())


def link_event(name: str, more: bytes = b"") -> bytes:
    """RTM_NEWLINK with nothing but a name, or more."""
    named = attribute(3, name.encode() + b"\0")
    payload = struct.pack("=BxHiII", 0, 0, 99, 0, 0) + named + more
    return struct.pack("=IHHII", 16 + len(payload), 16, 0, 0, 0) + payload


async def test_every_peer_gets_an_isolated_port(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    kit.ports.add(ONE)
    async with kit.running():
        await trio.sleep(1)
        kit.ports.add(TWO)
        await trio.sleep(1)
    assert set(kit.taken) == {ONE, TWO}
    for link in kit.host.observe().taps.values():
        assert link.up
        assert link.mtu == 1376
        assert link.port is not None
        assert (link.port.isolated, link.port.floods) == (True, True)


async def test_a_wish_is_carried_out_and_told(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    async with kit.running():
        kit.ports.want(DesiredPort(ONE, FAST))  # adopted, say: there is no TAP yet
        await trio.sleep(1)
        assert kit.outcomes == []
        kit.ports.add(ONE)
        await trio.sleep(1)
    assert kit.outcomes[-1].ready == ((ONE, FAST),)
    assert kit.host.observe().vxlans[ONE].through


async def test_a_failure_is_tried_again_and_said_once(
    kit: Kit, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    kit.fail_open = 2
    kit.ports.add(ONE)
    async with kit.running():
        await trio.sleep(RETRY_SECONDS - 0.1)
        assert kit.taken == {}
        await trio.sleep(2 * RETRY_SECONDS)
        assert set(kit.taken) == {ONE}
    assert caplog.text.count("no TAP today") == 1
    assert "repaired" not in caplog.text


async def test_a_port_that_is_taken_leaves_the_sleeve(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    kit.host.taken_ports.add(4789)
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.want(DesiredPort(ONE, FAST))
        await trio.sleep(1)
        ((peer, why),) = kit.outcomes[-1].failed
        assert peer == ONE
        assert "port" in why
        assert kit.host.observe().taps[ONE].port is not None
        kit.host.taken_ports.clear()
        await trio.sleep(RETRY_SECONDS)
    assert kit.outcomes[-1].ready == ((ONE, FAST),)
    assert set(kit.taken) == {ONE}


async def test_a_vni_that_is_taken_is_told(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    kit.host.taken_vnis.add(FAST.vni)
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.want(DesiredPort(ONE, FAST))
        await trio.sleep(1)
    assert kit.outcomes[-1].taken == (ONE,)


async def test_what_others_change_is_repaired_and_logged(
    kit: Kit,
    kernel: tuple[socket.socket, socket.socket],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.want(DesiredPort(ONE, FAST))
        await trio.sleep(1)
        assert "repaired" not in caplog.text, "what we do ourselves is no repair"
        kit.host.vxlan(ONE).up = False
        kernel[1].send(link_event(Device.VXLAN.ifname(ONE)))
        await trio.sleep(0.2)
        assert kit.host.vxlan(ONE).up
    assert 'port repaired peer=02:00:00:00:00:01 done="VXLAN device brought up"' in caplog.text


async def test_what_no_event_told_of_is_found_in_the_end(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        await trio.sleep(1)
        kit.host.tap(ONE).is_port = False
        await trio.sleep(LOOK_SECONDS)
        assert kit.host.tap(ONE).is_port


async def test_a_tap_that_somebody_deleted_is_opened_again(
    kit: Kit, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with kit.running():
        kit.ports.add(ONE)
        await trio.sleep(1)
        kit.host.remove(Device.TAP.ifname(ONE))
        old = kit.taken.pop(ONE)
        kit.ports.lost(ONE)
        await trio.sleep(0.2)
        assert kit.taken[ONE] is not old
    assert "port deleted by somebody else" in caplog.text
    assert "port repaired" in caplog.text


async def test_a_tap_that_somebody_renamed_is_replaced(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    """The router holds it still, but it is nobody's port."""
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.add(TWO)
        await trio.sleep(1)
        kit.host.remove(Device.TAP.ifname(ONE))  # as far as its name goes
        old, other = kit.taken[ONE], kit.taken[TWO]
        await trio.sleep(LOOK_SECONDS + 1)
        assert kit.taken[ONE] is not old
        assert kit.taken[TWO] is other
        assert kit.host.tap(ONE).is_port


async def test_everything_is_looked_at_however_busy_the_router_is(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        await trio.sleep(1)
        kit.host.tap(ONE).is_port = False
        for _ in range(10):
            kit.ports.want(DesiredPort(TWO, None))
            await trio.sleep(LOOK_SECONDS / 5)
        assert kit.host.tap(ONE).is_port


async def test_a_bridge_that_somebody_deleted_is_made_again(
    kit: Kit,
    kernel: tuple[socket.socket, socket.socket],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        await trio.sleep(1)
        kit.bridge_gone = True
        kit.host.tap(ONE).is_port = False
        kernel[1].send(link_event("weave"))
        await trio.sleep(0.5)
        assert not kit.bridge_gone
        assert kit.host.tap(ONE).is_port
    assert "bridge was deleted by somebody else" in caplog.text


async def test_a_peer_that_goes_while_its_port_is_made(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    kit.thread.gate = trio.Event()
    kit.ports.add(ONE)
    async with kit.running():
        await trio.sleep(1)
        kit.ports.remove(ONE)
        kit.thread.gate.set()
        await trio.sleep(1)
        assert kit.taken == {}
        assert kit.host.observe().taps == {}
        kit.ports.add(ONE)  # and it is back
        await trio.sleep(1)
    assert set(kit.taken) == {ONE}


async def test_a_removed_peers_device_goes(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.want(DesiredPort(ONE, FAST))
        await trio.sleep(1)
        kit.taken[ONE].close()
        kit.ports.remove(ONE)
        await trio.sleep(1)
    assert kit.host.observe().vxlans == {}


async def test_cancelled_while_a_port_is_made(
    kit: Kit, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HostError("not now")

    monkeypatch.setattr(kit.host, "apply", refuse)
    kit.ports.add(ONE)
    async with kit.running():
        await trio.sleep(1)
        assert len(kit.host.observe().taps) == 1
    assert kit.host.observe().taps == {}


async def test_in_the_end_no_device_of_ours_is_left(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    async with kit.running():
        kit.ports.add(ONE)
        kit.ports.want(DesiredPort(ONE, FAST))
        await trio.sleep(1)
    kit.taken[ONE].close()
    await kit.ports.remove_all()
    assert kit.host.observe().vxlans == {}


class Rules:
    """As fastdp.kernel.nft.Guard."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []

    def apply(self) -> None:
        raise AssertionError("it is for another port only")

    def restore(self) -> bool:
        self.asked_at.append(trio.current_time())
        return False


async def test_rules_that_somebody_changes_are_looked_at_at_once(
    kit: Kit, autojump_clock: trio.testing.MockClock
) -> None:
    """F11: not only every half a minute."""
    rules = Rules()
    reconciler = Reconciler(kit.host, "weave", 1376, 4789, guard=rules)
    thread = cast(HostThread, kit.thread)
    ports = PeerPorts(thread, reconciler, "weave", kit.outcomes.append, open_port=kit._open)
    told, rule_events = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = b"weave-py-weave\0\0"
    payload = struct.pack("=BBHHH", 1, 0, 0, 4 + len(name) - 1, 1) + name
    with told, rule_events:
        rule_events.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ports.run, cast(Datapath, kit), kit._events, rule_events)
            await trio.sleep(1)
            assert len(rules.asked_at) == 1
            told.send(struct.pack("=IHHII", 16 + len(payload), 0xA02, 0, 0, 0) + payload)
            changed_at = trio.current_time()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.sleep(0.01)
            assert len(rules.asked_at) == 2
            assert rules.asked_at[1] - changed_at < 0.05
            nursery.cancel_scope.cancel()


def foreign_vxlan(port: int) -> bytes:
    data = attribute(15, struct.pack("!H", port))
    info = attribute(1, b"vxlan\0") + attribute(2 | NESTED, data)
    return link_event("vx9", attribute(18 | NESTED, info))


async def test_others_on_our_port_have_us_move(
    kit: Kit, kernel: tuple[socket.socket, socket.socket], autojump_clock: trio.testing.MockClock
) -> None:
    """t24: both that can be seen, and that was here for a moment only."""
    kit.ports.add(ONE)
    kit.ports.want(DesiredPort(ONE, FAST))
    async with kit.running():
        await trio.sleep(1)
        assert kit.host.observe().vxlans[ONE].udp_port == 4789
        kernel[1].send(foreign_vxlan(8472))
        await trio.sleep(1)
        assert kit.asked == []
        kernel[1].send(foreign_vxlan(4789))
        await trio.sleep(1)
        assert kit.asked == [{4789, 8472}]
        assert kit.host.observe().vxlans[ONE].udp_port == 6784
        kernel[1].send(foreign_vxlan(4789))
        await trio.sleep(LOOK_SECONDS)
        assert len(kit.asked) == 1
        kit.host.foreign = {6784}  # of which no event told
        await trio.sleep(LOOK_SECONDS + 1)
        assert len(kit.asked) == 2
        assert kit.host.observe().vxlans[ONE].udp_port == 14789
