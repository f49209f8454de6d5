"""What does the shell around one simulated router do? What the real one does, with dictionaries.

It carries out what the engine asks for and keeps its timer; datagrams are `packets`' duty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from weave_py.link.egress import NextHop
from weave_py.mesh.handshake import TURNED_AWAY
from weave_py.model.effects import KeepState, LogEvent, Reply
from weave_py.model.names import Endpoint, PeerName
from weave_py.model.snapshot import PathView, RouterSnapshot
from weave_py.router.engine import Engine
from weave_py.router.outputs import (
    AddPort,
    CloseSession,
    CloseStream,
    Dial,
    OpenSession,
    Output,
    RemovePort,
    SendBytes,
    SendControlRecord,
    TrainReceived,
    UseRoutes,
)
from weave_py.router.snapshot import snapshot
from weave_py.sim.packets import IngressSession, Packets
from weave_py.sim.underlay import Station, StreamEnd, Underlay


class Logged(NamedTuple):
    at: float
    level: int
    event: str
    fields: dict[str, object]


@dataclass(frozen=True, slots=True)
class NextHopChange:
    at: float
    peer: PeerName
    next_hop: NextHop | None


class SimHost(Packets):
    """One router on the underlay."""

    def __init__(
        self,
        address: str,
        engine: Engine,
        underlay: Underlay,
        listener: Callable[[SimHost, Logged], None] | None = None,
    ) -> None:
        """With a `listener` log entries go there, and not to `log`."""
        super().__init__(engine, underlay)
        self._listener = listener
        self.address = address
        self.log: list[Logged] = []
        self.kept: dict[str, object] = {}
        """What is on disk, by name."""
        self.replies: dict[int, object] = {}
        """Answers to requests, by ticket."""
        self._todo: deque[Output] = deque()
        self._is_carrying_out = False
        self.way_changes: list[NextHopChange] = []
        """Kept once `watches_ways` is set."""
        self.watches_ways = False
        self.messages = 0
        """Writes to our streams."""
        self.dials = 0
        self.alive = True
        self.powered = True
        self.frozen_until = 0.0
        self.toil = 0.0
        self.free_at = 0.0
        self._numbers: dict[StreamEnd, int] = {}
        self._armed: float | None = None
        self._last_hops: dict[PeerName, NextHop | None] = {}

    def __repr__(self) -> str:
        return f"<SimHost {self.engine.nickname}>"

    @property
    def name(self) -> PeerName:
        return self.engine.name

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.engine.port)

    def way_to(self, peer: SimHost) -> NextHop | None:
        egress = self.egresses.get(peer.name)
        return egress.next_hop if egress is not None and egress.sealer is not None else None

    def events(self, event: str, since: float = 0.0) -> list[Logged]:
        """Logged events of this text."""
        return [entry for entry in self.log if entry.event == event and entry.at >= since]

    def view(self) -> RouterSnapshot:
        now = self._underlay.now
        return snapshot(self.engine, mtu=1500, trusted_subnets=(), counters={}, now=now)

    def path_view(self, peer: SimHost) -> PathView:
        return next(path for path in self.view().paths if path.peer == peer.name)

    # --- the engine's shell --------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the engine asked for, and re-arm its timer."""
        self._todo.extend(self.engine.take_outputs())
        if self._is_carrying_out:
            return  # all in order: bytes of a stream must not overtake others
        self._is_carrying_out = True
        while self._todo:
            self._do(self._todo.popleft())
            self._todo.extend(self.engine.take_outputs())
        self._is_carrying_out = False
        if self.watches_ways:
            self._note_ways()
        self._arm()

    def _do(self, output: Output) -> None:
        match output:
            case Dial(number, address, port):
                self.dials += 1
                self._underlay.dial(self, number, Endpoint(address, port))
            case SendBytes(number, data):
                end = self.streams.get(number)
                if end is not None:
                    self.messages += 1
                    end.send(data)
            case CloseStream(number):
                end = self.streams.pop(number, None)
                if end is not None:
                    del self._numbers[end]
                    end.close()
            case AddPort(peer, egress):
                assert peer not in self.egresses, "a second port for the same peer"
                self.egresses[peer] = egress
            case RemovePort(peer):
                del self.egresses[peer]
            case OpenSession(peer, index, opener):
                assert peer in self.egresses, "a session without a port"
                assert index not in self.ingresses
                self.ingresses[index] = IngressSession(peer, opener)
            case CloseSession(index):
                del self.ingresses[index]
            case SendControlRecord():
                self.send_control(output)
            case TrainReceived(neighbour, size, datagrams):
                for at in range(0, len(datagrams), size):
                    self.on_datagram(datagrams[at : at + size], None, neighbour)
            case UseRoutes(routes):
                self.forwarding.routes = routes
            case KeepState(name, value, ticket):
                self.kept[name] = value
                if ticket:
                    self.engine.state_kept(name, ticket, self._underlay.now)
            case Reply(ticket, value):
                self.replies[ticket] = value
            case LogEvent(level, event, fields):
                entry = Logged(self._underlay.now, level, event, dict(fields))
                if self._listener is None:
                    self.log.append(entry)
                else:
                    self._listener(self, entry)

    def _station(self) -> Station:
        return self

    def _arm(self) -> None:
        deadline = self.engine.next_deadline()
        if deadline is None or (self._armed is not None and self._armed <= deadline.at):
            return
        at = self._armed = deadline.at

        def fire() -> None:
            if self._armed != at:
                return  # an earlier one was set since, which has set, or will set, the next
            self._armed = None
            self.engine.advance(self._underlay.now)
            self.carry_out()

        wait = at - self._underlay.now
        self._underlay.later(wait, lambda: self._underlay.when_awake(self, fire))

    def _note_ways(self) -> None:
        now = {peer: egress.next_hop for peer, egress in self.egresses.items()}
        for peer, next_hop in now.items():
            if self._last_hops.get(peer) != next_hop:
                self.way_changes.append(NextHopChange(self._underlay.now, peer, next_hop))
        self._last_hops = now

    def shut(self, powered: bool = True) -> None:
        """The process ends; with power its kernel closes the streams."""
        self.alive = False
        self.powered = powered
        if powered:
            for end in self.streams.values():
                end.close()
        self.streams.clear()
        self._numbers.clear()

    # --- streams (Station) ---------------------------------------------------------------

    def on_accepted(self, end: StreamEnd, remote: Endpoint) -> None:
        if not self.engine.attends_to(remote, self._underlay.now):
            end.send(TURNED_AWAY)
            end.close()
        elif (number := self.engine.accepted(remote, self._underlay.now)) is None:
            end.close()
        else:
            self._hold(number, end)
        self.carry_out()

    def on_dialled(self, number: int, end: StreamEnd, remote: Endpoint) -> None:
        self._hold(number, end)
        self.engine.dialled(number, remote, self._underlay.now)
        self.carry_out()

    def on_dial_failed(self, number: int, error: str) -> None:
        self.engine.dial_failed(number, error, self._underlay.now)
        self.carry_out()

    def on_bytes(self, end: StreamEnd, data: bytes) -> None:
        number = self._numbers.get(end)
        if number is not None:
            self.engine.received(number, data, self._underlay.now)
            self.carry_out()

    def on_end(self, end: StreamEnd, reason: str) -> None:
        number = self._numbers.get(end)
        if number is not None:
            self.engine.stream_ended(number, reason, self._underlay.now)
            self.carry_out()

    def on_writable(self, end: StreamEnd, is_writable: bool) -> None:
        number = self._numbers.get(end)
        if number is not None:
            self.engine.stream_writable(number, is_writable, self._underlay.now)
            self.carry_out()

    def _hold(self, number: int, end: StreamEnd) -> None:
        self.streams[number] = end
        self._numbers[end] = number
