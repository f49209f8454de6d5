"""One mutation, all its outputs, the timer: the pump between an engine and the world."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing

from fastdp.path.paths import (
    FastPathChanged,
    FastPathForgotten,
    ReadCounters,
    SendFastProbe,
    UsePort,
)
from fastdp.path.values import FastState
from tests.kit.loops import TaskLoop, task_loop
from weave_py.datapath.datapath import Datapath
from weave_py.link.control_record import ControlRecord
from weave_py.link.egress import Egress, NextHop
from weave_py.link.sealing import Opener
from weave_py.loop.door import Door
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import KeepState, LogEvent
from weave_py.model.fast import Carried, DesiredPort, PortsOutcome
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.routes import RouteTable
from weave_py.model.underlay import NO_ROUTE, Route
from weave_py.router.engine import Engine
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    CloseStream,
    Dial,
    FindRoutes,
    OpenSession,
    Output,
    RemovePort,
    SendBytes,
    SendControlRecord,
    TrainReceived,
    UseRoutes,
)
from weave_py.runtime.peer_ports import PeerPorts
from weave_py.runtime.pump import MAX_REFUSALS, Pump

PEER = PeerName(b"\x02peer!")
WAY = NextHop(Endpoint("192.0.2.1", 6783), None)


class FakeEngine:
    """Remembers what it was told, and wants what the test has put into `outputs`."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.outputs: list[Output] = []
        self.deadline: float | None = None
        self.is_stopped = False
        self.attends = True
        self.next_number: int | None = 1
        self.changed = trio.Event()
        self.on_advance: Callable[[], None] = lambda: None
        self.on_refused: Callable[[], None] = lambda: None
        self.on_control: Callable[[], None] = lambda: None

    def _hear(self, *what: Any) -> None:
        self.told.append(what)
        self.changed.set()
        self.changed = trio.Event()

    async def wait_for(self, kind: str) -> tuple[Any, ...]:
        with trio.fail_after(10):
            while True:
                for what in self.told:
                    if what[0] == kind:
                        return what
                await self.changed.wait()

    def take_outputs(self) -> list[Output]:
        taken, self.outputs = self.outputs, []
        return taken

    def next_deadline(self) -> Deadline | None:
        return None if self.deadline is None else Deadline(self.deadline, "test")

    def advance(self, now: float) -> None:
        self.deadline = None
        self.on_advance()
        self._hear("advance", now)

    def accepted(self, remote: Endpoint, now: float) -> int | None:
        self._hear("accepted", remote)
        return self.next_number

    def attends_to(self, remote: Endpoint, now: float) -> bool:
        return self.attends

    def came_to_nothing(self, remote: Endpoint, now: float) -> None:
        self._hear("came_to_nothing", remote)

    def dialled(self, number: int, remote: Endpoint, now: float) -> None:
        self._hear("dialled", number, remote)

    def dial_failed(self, number: int, error: str, now: float, pause: float = 0.0) -> None:
        self._hear("dial_failed", number, error)

    def received(self, number: int, data: bytes, now: float) -> None:
        self._hear("received", number, data)

    def stream_ended(self, number: int, reason: str, now: float) -> None:
        self._hear("stream_ended", number, reason)

    def controls_received(self, records: list[ControlRecord], now: float) -> None:
        self._hear("controls", *records)
        self.on_control()

    def probe_refused(self, peer: PeerName, probe: int, now: float) -> None:
        self.on_refused()
        self._hear("refused", peer, probe)

    def traffic_woke(self, peer: PeerName, now: float) -> None:
        self._hear("woke", peer)

    def fast_probes_received(self, frames: list[bytes], now: float) -> None:
        self._hear("fast probes", *frames)

    def fast_ports_changed(self, outcome: PortsOutcome, now: float) -> None:
        self._hear("ports", outcome)

    def fast_counted(self, counts: Mapping[PeerName, Carried], now: float) -> None:
        self._hear("counted", dict(counts))

    def routes_found(self, found: Mapping[str, Route], now: float) -> None:
        self._hear("routes", dict(found))

    def stop(self, now: float) -> None:
        self.is_stopped = True
        self._hear("stop")

    def note(self, *what: Any) -> str:
        """What a test tells it."""
        self._hear("note", *what[:-1])
        return "noted"


class Recorder:
    """Roads and ports that write down what they are told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.takes_control = True

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def call(*arguments: Any) -> bool:
            self.calls.append((name, *arguments))
            return self.takes_control

        return call


class Kit:
    def __init__(self, loop: TaskLoop | None = None) -> None:
        self.engine = FakeEngine()
        self.world = Recorder()
        self.kept: list[tuple[str, object]] = []
        self.loop = TaskLoop() if loop is None else loop
        self.ways: dict[str, Route] = {}
        self.pump = Pump(cast(Engine, self.engine), None, self._keep, self.loop, self._find_routes)
        self.pump.use(cast(Datapath, self.world), cast(PeerPorts, self.world))

    def _keep(self, name: str, value: object, kept: Callable[[], None] | None) -> None:
        self.kept.append((name, value))
        if kept:
            kept()

    def _find_routes(self, hosts: Iterable[str]) -> dict[str, Route]:
        return {host: self.ways.get(host, NO_ROUTE) for host in hosts}

    def do(self, *outputs: Output) -> None:
        self.engine.outputs += outputs
        assert self.pump.tell(self.engine.note) == "noted"


@asynccontextmanager
async def running() -> AsyncIterator[Kit]:
    async with task_loop() as loop, trio.open_nursery() as nursery:
        kit = Kit(loop)
        await nursery.start(kit.pump.run)
        yield kit
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[trio.SocketListener, int]]:
    (one,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with one:
        yield one, one.socket.getsockname()[1]


# --- outputs and timer -------------------------------------------------------------------


async def test_every_output_reaches_its_place_in_order() -> None:
    kit, egress, routes = Kit(), Egress(PEER), RouteTable(version=3)
    opener = cast(Opener, object())
    kit.do(
        AddPort(PEER, egress),
        OpenSession(PEER, 7, opener),
        UseRoutes(routes),
        SendControlRecord(PEER, WAY, b"answer", None),
        CloseSession(7),
        RemovePort(PEER),
        KeepState("targets", ("a", "b")),
    )
    assert kit.world.calls == [
        ("add_port", PEER, egress),
        ("add", PEER),
        ("open_session", PEER, 7, opener),
        ("use_routes", routes),
        ("send_control", PEER, WAY, b"answer"),
        ("close_session", 7),
        ("remove_port", PEER),
        ("remove", PEER),
    ]
    assert kit.kept == [("targets", ("a", "b"))]


async def test_what_the_fast_paths_want_reaches_the_kernels_side() -> None:
    kit, desired = Kit(), DesiredPort(PEER, None)
    kit.do(UsePort(desired), SendFastProbe(PEER, b"probe"), FastPathForgotten(PEER))
    assert kit.world.calls == [
        ("want", desired),
        ("send_probe", PEER, b"probe"),
        ("remove_port", PEER),
        ("remove", PEER),
    ]


async def test_what_the_kernels_side_says_reaches_the_engine() -> None:
    kit, outcome = Kit(), PortsOutcome(failed=((PEER, "no room"),))
    kit.pump.on_probes([b"one", b"two"])
    kit.pump.on_ports(outcome)
    assert kit.engine.told == [("fast probes", b"one", b"two"), ("ports", outcome)]


async def test_counters_are_read_once_all_is_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit()
    carried = Carried(1, 2, 3, 4)
    monkeypatch.setattr(
        "weave_py.runtime.pump.counters.read", lambda peers: dict.fromkeys(peers, carried)
    )
    kit.do(ReadCounters((PEER,)), KeepState("targets", ("sooner",)))
    assert kit.kept == [("targets", ("sooner",))]
    assert kit.engine.told[-1] == ("counted", {PEER: carried})


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (FastState.PROBING, FastState.FAST, True),
        (FastState.FAST, FastState.DEGRADED, True),
        (FastState.OFF, FastState.PROBING, False),
    ],
)
async def test_only_going_fast_and_slow_is_news(
    caplog: pytest.LogCaptureFixture, old: FastState, new: FastState, shown: bool
) -> None:
    caplog.set_level(logging.INFO)
    Kit().do(FastPathChanged(PEER, old, new, "probe-lost"))
    assert (f"fast path {new}" in caplog.text) == shown


async def test_events_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Kit().do(LogEvent(logging.INFO, "something happened", {"peer": "x"}))
    assert "something happened" in caplog.text


async def test_streams_that_are_gone_are_no_trouble() -> None:
    Kit().do(SendBytes(5, b"x"), CloseStream(5))


async def test_control_records_and_traffic_are_passed_on() -> None:
    kit = Kit()
    record = ControlRecord(7, b"probe", 64, 3, None)
    kit.pump.on_controls([record])
    kit.pump.on_woken([PEER])
    assert kit.engine.told == [("controls", record), ("woke", PEER)]


async def test_the_timer_fires_at_the_deadline_and_not_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        start = trio.current_time()
        kit.engine.deadline = start + 50
        kit.do()
        await trio.sleep(49)
        assert ("advance", start + 50) not in kit.engine.told
        await trio.sleep(2)
        assert kit.engine.told[-1] == ("advance", start + 50)
        await trio.sleep(1000)
        assert [t[0] for t in kit.engine.told].count("advance") <= 2


async def test_a_deadline_may_come_earlier_and_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:
        start = trio.current_time()
        kit.engine.deadline = start + 50
        kit.do()
        await trio.sleep(1)
        kit.engine.deadline = start + 5
        kit.do()
        await trio.sleep(5)
        assert kit.engine.told[-1] == ("advance", start + 5)
        for delay in (10, 20, 30):
            kit.engine.deadline = start + delay
            kit.do()
        seen = len(kit.engine.told)
        await trio.sleep_until(start + 29)
        early = [what for what in kit.engine.told[seen:] if what[0] == "advance"]
        assert len(early) <= 1  # one too early at the most, and harmless
        kit.engine.deadline = start + 30
        kit.do()
        await trio.sleep_until(start + 31)
        assert ("advance", start + 30) in kit.engine.told


async def test_a_deadline_in_the_past_does_not_starve_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running() as kit:

        def again() -> None:
            kit.engine.deadline = 0.0

        kit.engine.on_advance = again
        kit.engine.deadline = 0.0
        kit.do()
        for _ in range(10):
            await trio.lowlevel.checkpoint()


async def test_refused_probes_are_told_and_bounded() -> None:
    kit = Kit()
    kit.world.takes_control = False

    def probe_again() -> None:
        kit.engine.outputs.append(SendControlRecord(PEER, WAY, b"probe", 2))

    kit.do(SendControlRecord(PEER, WAY, b"probe", 1))
    assert ("refused", PEER, 1) in kit.engine.told
    kit.engine.told.clear()
    kit.engine.on_refused = probe_again
    probe_again()
    kit.do()
    assert kit.engine.told.count(("refused", PEER, 2)) == MAX_REFUSALS
    kit.engine.on_refused = lambda: None
    kit.do()  # the rest comes with the next turn
    assert kit.engine.told.count(("refused", PEER, 2)) == MAX_REFUSALS + 1


async def test_what_is_wanted_meanwhile_comes_last() -> None:
    """Bytes of a stream that overtook others would end its connection."""
    kit = Kit()
    kit.engine.on_control = lambda: kit.engine.outputs.append(KeepState("targets", ("later",)))

    class Nested(Recorder):
        def receive_train(self, *arguments: Any) -> None:
            self.calls.append(("receive_train", *arguments))
            kit.pump.on_controls([ControlRecord(7, b"probe", 64, 3, None, PEER)])

    kit.pump.datapath = cast(Datapath, nested := Nested())
    kit.do(TrainReceived(PEER, 3, b"abcd"), KeepState("targets", ("sooner",)))
    assert nested.calls == [("receive_train", PEER, 3, b"abcd")]
    assert [value for _, value in kit.kept] == [("sooner",), ("later",)]


async def test_a_refused_answer_is_nobodys_business() -> None:
    kit = Kit()
    kit.world.takes_control = False
    kit.do(SendControlRecord(PEER, WAY, b"answer", None))
    assert [what[0] for what in kit.engine.told] == ["note"]


async def test_ways_are_found_at_once() -> None:
    """t02: nothing is sent there before."""
    kit = Kit()
    kit.ways["192.0.2.1"] = outside = Route("192.0.2.9")
    kit.do(FindRoutes(("192.0.2.1", "192.0.2.2")))
    assert kit.engine.told[-1] == ("routes", {"192.0.2.1": outside, "192.0.2.2": NO_ROUTE})


# --- streams -----------------------------------------------------------------------------


async def test_a_call_connects_carries_bytes_and_ends() -> None:
    async with running() as kit, listener() as (one, port):
        kit.do(Dial(4, "127.0.0.1", port))
        theirs = await one.accept()
        assert await kit.engine.wait_for("dialled") == ("dialled", 4, Endpoint("127.0.0.1", port))
        kit.do(SendBytes(4, b"hello "), SendBytes(4, b"there"))
        received = b""
        while received != b"hello there":
            received += await theirs.receive_some(100)
        await theirs.send_all(b"back")
        assert await kit.engine.wait_for("received") == ("received", 4, b"back")
        await theirs.aclose()
        assert await kit.engine.wait_for("stream_ended") == (
            "stream_ended",
            4,
            "connection closed by the peer",
        )
        kit.do(SendBytes(4, b"too late"), CloseStream(4))


async def test_a_stream_to_a_silent_peer_is_reset_and_not_reported() -> None:
    async with running() as kit, listener() as (one, port):
        kit.do(Dial(4, "127.0.0.1", port))
        theirs = await one.accept()
        await kit.engine.wait_for("dialled")
        kit.do(CloseStream(4, at_once=True))
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await theirs.receive_some(100)
        assert "stream_ended" not in [what[0] for what in kit.engine.told]
        await theirs.aclose()


async def test_a_stream_that_we_close_flushes_and_is_not_reported() -> None:
    async with running() as kit, listener() as (one, port):
        kit.do(Dial(4, "127.0.0.1", port))
        theirs = await one.accept()
        await kit.engine.wait_for("dialled")
        kit.do(SendBytes(4, b"goodbye"), CloseStream(4))
        data = b""
        with trio.fail_after(10):
            while chunk := await theirs.receive_some(100):
                data += chunk
            await trio.testing.wait_all_tasks_blocked()
        assert data == b"goodbye"
        assert "stream_ended" not in [what[0] for what in kit.engine.told]
        await theirs.aclose()


async def test_a_call_that_fails_says_why() -> None:
    async with running() as kit:
        async with listener() as (_, port):
            pass
        kit.do(Dial(4, "127.0.0.1", port))
        _, number, error = await kit.engine.wait_for("dial_failed")
        assert number == 4
        assert error == f"cannot connect to 127.0.0.1 port {port}: connection refused"


@asynccontextmanager
async def open_door(kit: Kit) -> AsyncIterator[tuple[str, int]]:
    """Callers come in there."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Door(kit.pump, kit.loop, b"no time").run, [listening])
        yield address
        nursery.cancel_scope.cancel()


async def test_an_incoming_stream_is_served() -> None:
    async with running() as kit, open_door(kit) as address:
        client = await trio.open_tcp_stream(*address)
        await client.send_all(b"hello")
        assert await kit.engine.wait_for("received") == ("received", 1, b"hello")
        kit.do(SendBytes(1, b"welcome"))
        with trio.fail_after(10):
            assert await client.receive_some(100) == b"welcome"
        await client.aclose()
        await kit.engine.wait_for("stream_ended")


async def test_a_stream_that_the_engine_does_not_want_is_closed() -> None:
    async with running() as kit, open_door(kit) as address:
        kit.engine.next_number = None
        client = await trio.open_tcp_stream(*address)
        await client.send_all(b"hello")
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await client.receive_some(100)
        await client.aclose()


async def test_the_engine_says_whom_it_attends_to_and_hears_of_the_silent() -> None:
    """F14"""
    async with running() as kit, open_door(kit) as address:
        kit.engine.attends = False
        client = await trio.open_tcp_stream(*address)
        await client.send_all(b"hello")
        with trio.fail_after(10):
            assert await client.receive_some(100) == b"no time"
        await client.aclose()
        silent = await trio.open_tcp_stream(*address)
        remote = Endpoint(*silent.socket.getsockname())
        await silent.aclose()
        assert await kit.engine.wait_for("came_to_nothing") == ("came_to_nothing", remote)
        assert "accepted" not in [what[0] for what in kit.engine.told]


async def test_stopping_ends_all_streams_of_the_pump() -> None:
    async with listener() as (one, port):
        async with running() as kit:
            kit.do(Dial(4, "127.0.0.1", port))
            theirs = await one.accept()
            await kit.engine.wait_for("dialled")
        with trio.fail_after(10):
            assert await theirs.receive_some(100) == b""
        await theirs.aclose()


async def test_goodbye_waits_for_the_last_words() -> None:
    async with running() as kit, listener() as (one, port):
        await kit.pump.say_goodbye(1000)  # nobody to wait for
        kit.engine.is_stopped = False
        kit.do(Dial(4, "127.0.0.1", port))
        theirs = await one.accept()
        await kit.engine.wait_for("dialled")
        kit.engine.outputs += [SendBytes(4, b"goodbye"), CloseStream(4)]
        with trio.fail_after(10):
            await kit.pump.say_goodbye(1000)
            assert await theirs.receive_some(100) == b"goodbye"
            assert await theirs.receive_some(100) == b""
        await theirs.aclose()


async def test_goodbye_does_not_wait_for_ever(mock_clock: trio.testing.MockClock) -> None:
    async with running() as kit, listener() as (one, port):
        kit.do(Dial(4, "127.0.0.1", port))
        theirs = await one.accept()
        await kit.engine.wait_for("dialled")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kit.pump.say_goodbye, 1.0)  # the engine does not close the stream
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1.01)
        await theirs.aclose()


INSIDE_WAY = Route("10.32.0.1", inside=True)


async def test_no_call_goes_through_the_inner_network() -> None:
    """t02: control connections carry frames, too. (Whose address a name is shows only then.)"""
    async with running() as kit, listener() as (one, port):
        kit.ways["127.0.0.1"] = INSIDE_WAY
        kit.do(Dial(4, "localhost", port))
        async with await one.accept() as theirs:
            _, number, error = await kit.engine.wait_for("dial_failed")
            assert number == 4
            assert error.startswith("inside-overlay: ")
            assert await theirs.receive_some() == b""


async def test_an_address_in_the_inner_network_is_not_even_called() -> None:
    """t02, F12: the peer's host takes no calls there, so nobody could say afterwards why."""
    async with running() as kit:
        kit.ways["127.0.0.1"] = INSIDE_WAY
        kit.do(Dial(4, "127.0.0.1", 1))
        _, number, error = await kit.engine.wait_for("dial_failed")
        assert number == 4
        assert error.startswith("inside-overlay: ")


async def test_nor_does_one_that_comes_in() -> None:
    """t02."""
    async with running() as kit, open_door(kit) as address:
        kit.ways["127.0.0.1"] = INSIDE_WAY
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(b"hello")
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        assert "accepted" not in [what[0] for what in kit.engine.told]


async def test_one_whose_way_turns_inside_is_cut() -> None:
    """t02: a device may be put into the bridge at any time."""
    async with running() as kit, listener() as (one, port):
        kit.do(Dial(4, "127.0.0.1", port))
        async with await one.accept():
            await kit.engine.wait_for("dialled")
            assert kit.pump.remotes() == ["127.0.0.1"]
            kit.pump.cut_streams_inside({"127.0.0.1": NO_ROUTE})
            kit.pump.cut_streams_inside({"127.0.0.1": INSIDE_WAY})
            _, number, reason = await kit.engine.wait_for("stream_ended")
            assert number == 4
            assert reason.startswith("inside-overlay: ")
