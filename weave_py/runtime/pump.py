"""Who drives the engine? One mutation, all its outputs, the timer; then the next."""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TypeVar

import trio

from fastdp.kernel import counters
from fastdp.path.paths import (
    FastPathChanged,
    FastPathForgotten,
    ReadCounters,
    SendFastProbe,
    UsePort,
)
from fastdp.path.values import FastState
from weave_py.datapath.datapath import Datapath
from weave_py.datapath.tcp_tunnel import TcpTunnel
from weave_py.link.control_record import ControlRecord
from weave_py.loop.control_stream import ControlStream, UnknownName, dial, remote_of, tune, why
from weave_py.loop.main_loop import Loop
from weave_py.model.effects import KeepState, LogEvent, Reply
from weave_py.model.fast import FastHost, PortsOutcome
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.underlay import INSIDE, NO_ROUTE, Route
from weave_py.observe.log import event
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

T = TypeVar("T")
FindWays = Callable[[Iterable[str]], Mapping[str, Route]]
THROUGH_ITSELF = f"{INSIDE}: that address is reached through the inner network itself"
UNKNOWN_NAME_PAUSE = 10.0  # seconds at least; the name may be entered any time
MAX_REFUSALS = 8  # of probes in a row before the rest waits for the next turn

_log = logging.getLogger(__name__)


class Pump:
    """Carries events to the engine and its outputs to sockets, datapath and ports."""

    def __init__(
        self,
        engine: Engine,
        local: str | None,
        keep: Callable[[str, object, Callable[[], None] | None], None],
        loop: Loop,
        find_routes: FindWays = lambda hosts: dict.fromkeys(hosts, NO_ROUTE),
        reply: Callable[[int, object], None] = lambda ticket, value: None,
    ) -> None:
        """`local`: the address to call from. `keep` has a state (name, value) written, and calls
        back when it is. `loop` serves the connections and tells the time. `find_routes` asks the
        kernel which way it sends to addresses. `reply` takes the answers of services."""
        self.engine = engine
        self._loop = loop
        self.datapath: Datapath | None = None
        self._ports: PeerPorts | None = None
        self._local = local
        self._keep = keep
        self._find_routes = find_routes
        self._reply = reply
        self._streams: dict[int, ControlStream] = {}
        self._nursery: trio.Nursery | None = None
        self._refused: list[tuple[PeerName, int]] = []
        self._counts: deque[tuple[PeerName, ...]] = deque()
        """Of whose devices the packet counters are wanted."""
        self._todo: deque[Output] = deque()
        self._is_carrying_out = False
        self._is_arming = False
        self.tcp_tunnel = TcpTunnel(engine, self._streams, self._carry_out)
        self._serving = 0
        self._all_ended = trio.Event()

    def use(self, datapath: Datapath, ports: PeerPorts) -> None:
        """What the outputs go to; before anything is told."""
        self.datapath = datapath
        self._ports = ports

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the engine's timer and calls until cancelled; `tell` works once started."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery  # this task's own: calls live and end with it
            self._loop.on_time = self._on_time
            self._arm()
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._loop.wake_at(math.inf)

    def tell(self, method: Callable[..., T], *arguments: object) -> T:
        """Tell the engine that something happened, now; then do all it wants done."""
        result = method(*arguments, trio.current_time())
        self._settle()
        return result

    # --- callers (loop.door) -------------------------------------------------------------

    def has_time_for(self, remote: Endpoint) -> bool:
        return self.tell(self.engine.attends_to, remote)

    def came_to_nothing(self, remote: Endpoint) -> None:
        self.tell(self.engine.came_to_nothing, remote)

    def come_in(self, connection: socket.socket, remote: Endpoint) -> None:
        """A task of ours serves it until it ends."""
        assert self._nursery is not None
        is_inside = self._is_inside(remote.host)
        number = None if is_inside else self.engine.accepted(remote, trio.current_time())
        if number is None:
            reason = INSIDE if is_inside else ""
            event(_log, logging.DEBUG, "connection refused", remote=remote.text, why=reason)
            connection.close()
            return
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        tune(stream)
        control = self._streams[number] = ControlStream(stream, self._loop)
        self._settle()
        self._nursery.start_soon(self._serve, number, control)

    # --- what happens --------------------------------------------------------------------

    def on_controls(self, controls: list[ControlRecord]) -> None:
        self.tell(self.engine.controls_received, controls)

    def on_woken(self, peers: list[PeerName]) -> None:
        for peer in peers:
            self.tell(self.engine.traffic_woke, peer)

    def on_probes(self, frames: list[bytes]) -> None:
        self.tell(self.engine.fast_probes_received, frames)

    def on_ports(self, outcome: PortsOutcome) -> None:
        self.tell(self.engine.fast_ports_changed, outcome)

    def on_fast_host(self, host: FastHost) -> None:
        self.tell(self.engine.fast_host_changed, host)

    def cut_streams_of(self, gone: Collection[str]) -> None:
        """This host has these addresses no more: their connections are dead, though TCP will not
        notice for a while."""
        for control in list(self._streams.values()):
            if control.local_host in gone:
                control.cut(f"this host's address {control.local_host} is gone")

    def remotes(self) -> list[str]:
        """The addresses at the other ends of all connections."""
        hosts = (control.remote_host for control in self._streams.values())
        return [host for host in hosts if host is not None]

    def cut_streams_inside(self, routes: Mapping[str, Route]) -> None:
        """These ways are the kernel's now: no connection may go through the inner network."""
        for control in list(self._streams.values()):
            if routes.get(control.remote_host or "", NO_ROUTE).inside:
                control.cut(THROUGH_ITSELF)

    async def say_goodbye(self, within: float) -> None:
        """Stop the engine, and let its last words out."""
        self.tell(self.engine.stop)
        with trio.move_on_after(within):
            if self._serving:
                await self._all_ended.wait()

    # --- inside --------------------------------------------------------------------------

    def _on_kept(self, name: str, ticket: int) -> None:
        self.tell(self.engine.state_kept, name, ticket)

    def _settle(self) -> None:
        """Carry out what the engine wants, and re-arm its timer."""
        self._carry_out()
        for _ in range(MAX_REFUSALS):
            if not self._refused:
                break
            refused, self._refused = self._refused, []
            for peer, probe in refused:
                self.engine.probe_refused(peer, probe, trio.current_time())
            self._carry_out()
        while self._counts:
            counts = counters.read(self._counts.popleft())
            self.engine.fast_counted(counts, trio.current_time())
            self._carry_out()
        if not self._is_arming:  # once for all that a turn of the loop has brought
            self._is_arming = True
            self._loop.soon(self._arm)

    def _arm(self) -> None:
        self._is_arming = False
        deadline = self.engine.next_deadline()
        self._loop.wake_at(deadline.at if deadline else math.inf)

    def _on_time(self) -> None:
        self.tell(self.engine.advance)

    def _carry_out(self) -> None:
        """What the engine wants, in order: what it wants while we are at it comes last. (Bytes
        of a stream that overtook others would end the connection.)"""
        self._todo.extend(self.engine.take_outputs())
        if self._is_carrying_out:
            return
        self._is_carrying_out = True
        try:
            while self._todo:
                self._do(self._todo.popleft())
                self._todo.extend(self.engine.take_outputs())
        finally:
            self._is_carrying_out = False

    def _do(self, output: Output) -> None:
        assert self.datapath is not None
        assert self._ports is not None
        match output:
            case SendControlRecord(peer, next_hop, body, probe):
                if not self.datapath.send_control(peer, next_hop, body) and probe is not None:
                    self._refused.append((peer, probe))
            case TrainReceived(neighbour, size, datagrams):
                self.datapath.receive_train(neighbour, size, datagrams)
            case SendBytes(number, data):
                if number in self._streams:
                    self._streams[number].send(data)
            case CloseStream(number, at_once):
                stream = self._streams.pop(number, None)
                if stream is not None:
                    (stream.abort if at_once else stream.close)()
            case Dial(number, host, port):
                assert self._nursery is not None
                self._nursery.start_soon(self._dial, number, host, port)
            case AddPort(peer, egress):
                self.datapath.add_port(peer, egress)
                self._ports.add(peer)
            case RemovePort(peer) | FastPathForgotten(peer):
                self.datapath.remove_port(peer)
                self._ports.remove(peer)
            case UsePort(desired):
                self._ports.want(desired)
            case SendFastProbe(peer, frame):
                self.datapath.send_probe(peer, frame)
            case ReadCounters(peers):
                self._counts.append(peers)
            case FastPathChanged(peer, old, new, why):
                level = logging.DEBUG if FastState.FAST not in (old, new) else logging.INFO
                event(_log, level, f"fast path {new}", peer=peer.hex(":"), why=why or "proven")
            case OpenSession(peer, index, opener):
                self.datapath.open_session(peer, index, opener)
            case CloseSession(index):
                self.datapath.close_session(index)
            case FindRoutes(hosts):
                self.engine.routes_found(self._find_routes(hosts), trio.current_time())
            case UseRoutes(routes):
                self.datapath.use_routes(routes)
            case KeepState(name, value, ticket):
                kept = partial(self._on_kept, name, ticket) if ticket else None
                self._keep(name, value, kept)
            case Reply(ticket, value):
                self._reply(ticket, value)
            case LogEvent(level, text, fields):
                event(_log, level, text, **fields)

    def _is_inside(self, host: str) -> bool:
        """Whether what we send there would travel inside our own frames. (Of a name that is known
        once there is a connection.)"""
        return self._find_routes((host,))[host].inside

    async def _dial(self, number: int, host: str, port: int) -> None:
        if self._is_inside(host):  # there the peer's host takes no calls: it would time out
            self.tell(self.engine.dial_failed, number, THROUGH_ITSELF)
            return
        try:
            stream = await dial(host, port, self._local)
        except OSError as error:
            pause = UNKNOWN_NAME_PAUSE if isinstance(error, UnknownName) else 0.0
            self.tell(partial(self.engine.dial_failed, pause=pause), number, str(error))
            return
        try:
            remote = remote_of(stream)
        except OSError as error:  # gone already
            await trio.aclose_forcefully(stream)
            self.tell(self.engine.dial_failed, number, why(error))
            return
        if self._is_inside(remote.host):
            await trio.aclose_forcefully(stream)
            self.tell(self.engine.dial_failed, number, THROUGH_ITSELF)
            return
        tune(stream)
        control = self._streams[number] = ControlStream(stream, self._loop)
        self.tell(self.engine.dialled, number, remote)
        await self._serve(number, control)

    async def _serve(self, number: int, control: ControlStream) -> None:
        def on_bytes(data: bytes) -> None:
            self.tell(self.engine.received, number, data)

        def on_end(reason: str) -> None:
            self._streams.pop(number, None)
            self.tell(self.engine.stream_ended, number, reason)

        def on_writable(is_writable: bool) -> None:
            self.tell(self.engine.stream_writable, number, is_writable)

        self._serving += 1
        try:
            await control.run(on_bytes, on_end, on_writable)
        finally:
            self._serving -= 1
            if not self._serving and self.engine.is_stopped:
                self._all_ended.set()
