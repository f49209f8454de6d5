"""How do control connections come and go? Streams, what comes on them, and who may stay.

Bytes and ends of streams come in; what is left for the router above (`Router`) is that a neighbour
joined, said something, or is gone. Which of two connections with one peer counts is `neighbours`'
to say, and who makes room is `eviction`'s.
"""

from __future__ import annotations

from typing import Protocol

from weave_py.mesh.authorizer import Authorizer, Claimant
from weave_py.mesh.connection import (
    Answered,
    Connection,
    ConnectionEnded,
    HandshakeCompleted,
    MessageReceived,
    State,
)
from weave_py.mesh.disputes import WHY
from weave_py.mesh.handshake import Hello
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.close_codes import CloseCode
from weave_py.model.deadlines import Deadline, TimerQueue, earliest
from weave_py.model.effects import DEBUG, ERROR, INFO, WARNING, LogEvent
from weave_py.model.names import MAX_NEIGHBOURS, Endpoint, PeerName, PeerUID, name_text
from weave_py.router.duplicate_identity import CLONED, DuplicateIdentity
from weave_py.router.eviction import HEARING, too_many
from weave_py.router.neighbours import Neighbours, Stream
from weave_py.router.outputs import CloseStream, Dial, Output, SendBytes
from weave_py.router.rivals import Rivals
from weave_py.router.strangers_log import StrangersLog
from weave_py.wire.messages import ControlMessage
from weave_py.wire.topology import Keys

# What people read of connections that end on purpose; what routers act on are the codes.
FAREWELLS = {
    CloseCode.LEAVING: "leaving the network",
    CloseCode.DUPLICATE: "a second connection to the same peer",
    CloseCode.MADE_ROOM: "made room for a newcomer",
    CloseCode.SUPERFLUOUS: "not needed any more: the network has grown",
    CloseCode.OURSELF: "cannot connect to ourself",
    CloseCode.CLONED: CLONED,
}
MOST_WAITING = 256 * 1024  # bytes of unicasts, until what waits in a stream has been taken
OUR_NAME_IS_LOST = (
    "another key has our name, so nobody takes either: stop this router and delete its identity "
    "(identity.json in the state directory); it then comes back under another name"
)
COPIED = "another router runs with its identity, and was there before"
# Seconds before we call again who had no room for us, was ourself, has another one of us, or
# refused us.
PAUSES = {
    CloseCode.MADE_ROOM: 60.0,
    CloseCode.OURSELF: 300.0,
    CloseCode.CLONED: 30.0,
    CloseCode.REFUSED: 30.0,
}


class Router(Protocol):
    """What hears of neighbours."""

    def neighbour_joined(self, hello: Hello, now: float) -> None:
        """There is a connection with a peer that may take part."""

    def neighbour_said_untrusted(
        self, neighbour: PeerName, message: ControlMessage, now: float
    ) -> None: ...

    def neighbour_left(self, neighbour: PeerName, end: ConnectionEnded, now: float) -> None:
        """The connection that counted is gone."""


class Connections:
    """Its outputs are the engine's."""

    def __init__(
        self,
        router: Router,
        uid: PeerUID,
        neighbours: Neighbours,
        topology: Topology,
        targets: Targets,
        duplicates: DuplicateIdentity,
        rivals: Rivals,
        authorizer: Authorizer,
        limit: int,
    ) -> None:
        """`uid`: our own; `limit`: of neighbours, at most as many as a record can name, which is
        what 0 stands for."""
        self._router = router
        self._uid = uid
        self._neighbours = neighbours
        self._topology = topology
        self._targets = targets
        self._duplicates = duplicates
        self._rivals = rivals
        self._authorizer = authorizer
        self._limit = min(limit or MAX_NEIGHBOURS, MAX_NEIGHBOURS)
        self._due: TimerQueue[int] = TimerQueue()
        """Each connection's next deadline, as of its last change, by its stream's number."""
        self._strangers = StrangersLog()
        self._room_at: float | None = None
        """When to look again at whether there are too many."""
        self._outputs: list[Output] = []
        self._is_stopped = False

    # --- streams -------------------------------------------------------------------------

    def attends_to(self, remote: Endpoint, now: float) -> bool:
        """Whether we would answer who calls from there now."""
        if self._neighbours.admission.attends_to(remote.host, now):
            return True
        self._say(self._strangers.turned_away(remote, now))
        return False

    def came_to_nothing(self, remote: Endpoint, now: float) -> None:
        """A connection ended that never said anything, before it was accepted."""
        self._say(self._strangers.came_to_nothing(remote, now))

    def accepted(self, remote: Endpoint, now: float) -> int:
        """A TCP connection came in: its number from now on."""
        stream = self._neighbours.accept(remote, now)
        self._drain(stream, now)
        evicted, self._neighbours.evicted = self._neighbours.evicted, []
        for old in evicted:
            self._drain(old, now)
        return stream.number

    def dialled(self, number: int, remote: Endpoint, now: float) -> None:
        """The Dial succeeded."""
        stream = self._neighbours.get(number)
        if stream is not None:
            self._neighbours.admission.know([remote.host])  # it may call us, too
            self._neighbours.open(stream, remote, True, now)
            self._drain(stream, now)

    def dial_failed(self, number: int, error: str, now: float, pause: float = 0.0) -> None:
        stream = self._neighbours.get(number)
        if stream is not None:
            self._neighbours.remove(stream)
            if stream.target is not None:
                self._targets.failed(stream.target, error, now, pause)

    def received(self, number: int, data: bytes, now: float) -> None:
        """Bytes came on a stream."""
        stream = self._neighbours.get(number)
        if stream is not None and stream.connection is not None:
            stream.connection.receive_untrusted(data, now)
            self._drain(stream, now)

    def stream_ended(self, number: int, reason: str, now: float) -> None:
        """The other side closed the stream, or it broke."""
        stream = self._neighbours.get(number)
        if stream is not None and stream.connection is not None:
            stream.connection.stream_ended(reason)
            self._drain(stream, now)

    def send(self, neighbour: PeerName, message: ControlMessage) -> None:
        """Nothing is said if there is no connection."""
        stream = self._neighbours.of(neighbour)
        if stream is not None and stream.connection is not None:
            stream.connection.send(message)
            self._flush(stream)

    def send_if_taken(self, neighbour: PeerName, message: ControlMessage, size: int) -> bool:
        """Send what may get lost, about `size` bytes: False if too much waits there already."""
        stream = self._neighbours.of(neighbour)
        if stream is None:
            return True
        if not stream.is_writable:
            stream.waiting += size
            if stream.waiting > MOST_WAITING:
                return False
        self.send(neighbour, message)
        return True

    def stream_writable(self, number: int, is_writable: bool) -> PeerName | None:
        """A stream takes no more bytes for now, or takes more again: with which neighbour it
        connects us."""
        stream = self._neighbours.get(number)
        if stream is None:
            return None
        stream.is_writable, stream.waiting = is_writable, 0
        counts = stream.peer is not None and self._neighbours.of(stream.peer) is stream
        return stream.peer if counts else None

    def stop(self, now: float) -> None:
        """Say goodbye to everybody."""
        self._is_stopped = True
        for stream in self._neighbours:
            if stream.connection is not None:
                self._close(stream, CloseCode.LEAVING, now)

    # --- time ----------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        for name, first, second in self._topology.take_disputes():
            self._tell_of_dispute(name, first, second, now)
        for number in self._due.take_due(now):
            stream = self._neighbours.get(number)
            if stream is not None and stream.connection is not None:
                stream.connection.advance(now)
                self._drain(stream, now)
        if self._room_at is not None and now >= self._room_at:
            self.make_room(None, now)
        self._trim(now)

    def next_deadline(self) -> Deadline | None:
        room = None if self._room_at is None else Deadline(self._room_at, "too many connections?")
        return earliest((self._due.first(), room, self._rivals.next_deadline()))

    def settle_rivals(self, now: float) -> None:
        """Let in, or refuse, who waits for it (router.rivals)."""
        for newcomer, is_let_in in self._rivals.take_settled(now):
            if not is_let_in:
                self._refuse_rival(newcomer.stream, now)
                continue
            self._admit(newcomer.stream, newcomer.hello, now)
            for message in newcomer.held:
                self._said(newcomer.stream, message, now)

    def call(self, now: float) -> None:
        """Call whom we should."""
        for call in self._targets.due(now):
            stream = self._neighbours.dialling(call.key, now)
            self._neighbours.admission.know([call.host])  # though it may not listen yet
            self._outputs.append(Dial(stream.number, call.host, call.port))

    def make_room(self, newcomer: Stream | None, now: float) -> None:
        """End the least useful connections if there are too many."""
        self._room_at = None
        if len(self._neighbours) <= self._limit:
            return
        self._room_at = now + HEARING
        for victim in too_many(
            self._neighbours, self._topology, self._targets, newcomer, self._limit, now
        ):
            self._close(victim, CloseCode.MADE_ROOM, now)

    def take_outputs(self) -> list[Output]:
        taken, self._outputs = self._outputs, []
        return taken

    # --- inside --------------------------------------------------------------------------

    def _drain(self, stream: Stream, now: float) -> None:
        """Carry on with what a connection has to say."""
        connection = stream.connection
        assert connection is not None
        for event in connection.take_events():
            if self._neighbours.get(stream.number) is not stream:
                return  # ended because of the event before: what came with it counts no more
            match event:
                case HandshakeCompleted(hello):
                    self._joined(stream, connection, hello, now)
                case MessageReceived(message):
                    self._said(stream, message, now)
                case Answered():
                    assert stream.peer is not None
                    if self._neighbours.of(stream.peer) is stream:
                        for newcomer in self._rivals.take_refused(stream.peer):
                            self._refuse_rival(newcomer.stream, now)
                case ConnectionEnded():
                    self._flush(stream)
                    self._ended(stream, event, now)
                    return
        self._flush(stream)

    def _said(self, stream: Stream, message: ControlMessage, now: float) -> None:
        assert stream.peer is not None
        if self._neighbours.of(stream.peer) is stream:
            self._router.neighbour_said_untrusted(stream.peer, message, now)
        else:
            self._rivals.hold(stream, message)  # or it is a duplicate's last words

    def _flush(self, stream: Stream) -> None:
        assert stream.connection is not None
        self._due.set(stream.number, stream.connection.next_deadline())
        data = stream.connection.take_bytes()
        if data:
            self._outputs.append(SendBytes(stream.number, data))

    def _joined(self, stream: Stream, connection: Connection, hello: Hello, now: float) -> None:
        is_news = stream.target is not None and self._targets.reached(stream.target, hello.name)
        trouble = self._refusal(hello)
        if trouble is not None:
            code, reason = trouble
            connection.close(reason, code)
            if code is CloseCode.OURSELF:  # an outcome, no failure: lists name all hosts
                fields = {"target": stream.target}
                level = INFO if is_news else DEBUG
                self._outputs.append(LogEvent(level, "target is this router itself", fields))
            elif code is CloseCode.CLONED:
                self._outputs += self._duplicates.complaint(stream.description, now)
            else:
                self._log(WARNING, "peer refused", stream, error=reason)
            self._drain(stream, now)
            return
        if not self._rivals.is_rival(hello, now):
            self._admit(stream, hello, now)
            return
        stream.peer = hello.name
        if not self._rivals.wait(stream, hello, now):
            self._refuse_rival(stream, now)
            return
        other = self._neighbours.of(hello.name)
        if other is not None and other.connection is not None:
            other.connection.ask(now)
            self._flush(other)

    def _admit(self, stream: Stream, hello: Hello, now: float) -> None:
        assert stream.connection is not None
        loser = self._neighbours.resolve_duplicate(stream, hello)
        if loser is stream:
            self._close(loser, CloseCode.DUPLICATE, now)
            return
        self._rivals.joined(hello)
        if loser is not None and loser.connection is not None:
            is_rival = (
                loser.connection.hello is not None and loser.connection.hello.uid != hello.uid
            )
            self._close(loser, CloseCode.CLONED if is_rival else CloseCode.DUPLICATE, now)
        stream.joined_at = now
        self._log(INFO, "connection established", stream)
        self._neighbours.admission.know([stream.connection.remote.host], hello.static)
        self._set_connected()
        self._router.neighbour_joined(hello, now)
        self.make_room(stream, now)

    def _refuse_rival(self, stream: Stream, now: float) -> None:
        assert stream.connection is not None
        hello = stream.connection.hello
        self._close(stream, CloseCode.CLONED, now)
        is_news = hello is not None and self._rivals.refused(hello.name, hello.uid)
        self._log(WARNING if is_news else DEBUG, "peer refused", stream, error=COPIED)

    def _refusal(self, hello: Hello) -> tuple[CloseCode, str] | None:
        """Why we want no connection with a peer that has proved who it is; None if we do."""
        ours = self._topology.ourself
        if hello.name == ours.name and hello.identity == ours.record.identity:
            code = CloseCode.OURSELF if hello.uid == self._uid else CloseCode.CLONED
            return code, FAREWELLS[code]
        if self._topology.is_nobodys(hello.name):
            return CloseCode.REFUSED, WHY
        known = self._topology.record(hello.name)
        if known is not None and known.identity != hello.identity:
            return CloseCode.REFUSED, "another key for a peer name that is taken"
        why_not = self._authorizer.refusal(Claimant(hello.name, hello.identity))
        return (CloseCode.REFUSED, why_not) if why_not else None

    def _tell_of_dispute(self, name: PeerName, first: Keys, second: Keys, now: float) -> None:
        is_ours = name == self._topology.ourself.name
        text = OUR_NAME_IS_LOST if is_ours else "peer refused"
        keys = {"one": first.identity.hex(), "other": second.identity.hex()}
        fields = {"name": name_text(name), "error": WHY, **keys}
        self._outputs.append(LogEvent(ERROR if is_ours else WARNING, text, fields))
        stream = self._neighbours.of(name)
        if stream is not None and stream.connection is not None:
            stream.connection.close(WHY, CloseCode.REFUSED)
            self._drain(stream, now)

    def _ended(self, stream: Stream, end: ConnectionEnded, now: float) -> None:
        counted = self._neighbours.remove(stream)
        peer, code = stream.peer, end.code
        self._outputs.append(CloseStream(stream.number, end.is_silent))
        self._rivals.gone(stream)
        # (A duplicate's other half goes on, unless it has broken, too.)
        is_duplicate = code is CloseCode.DUPLICATE
        is_lost = not is_duplicate or (peer is not None and self._neighbours.of(peer) is None)
        if stream.target is not None and is_lost:
            if code is CloseCode.MADE_ROOM:
                self._targets.rest(stream.target)
            error = CLONED if code is CloseCode.CLONED else end.reason
            # (Who knows nobody else asks again soon: places become free.)
            is_alone = code is CloseCode.MADE_ROOM and not len(self._neighbours)
            pause = 0.0 if is_alone else PAUSES.get(code, 0.0)
            backs_off = code is not CloseCode.BUSY
            self._targets.failed(stream.target, error, now, pause, backs_off=backs_off)
        if code is CloseCode.CLONED and end.is_theirs:
            self._outputs += self._duplicates.complaint(stream.description, now)
        if stream.is_stranger:
            self._tell_of_stranger(stream, end.reason, now)
        elif not is_duplicate and not self._is_stopped:
            is_refused = code is CloseCode.REFUSED and end.is_theirs
            level = INFO if end.planned and not is_refused else WARNING
            if code in (CloseCode.CLONED, CloseCode.OURSELF):
                level = DEBUG  # told otherwise, and less often
            self._log(level, "connection ended", stream, error=end.reason)
        if not counted:
            return
        assert peer is not None
        if not end.planned or code is CloseCode.LEAVING:
            self._rivals.life_ended(peer, now)
        if code is CloseCode.MADE_ROOM:
            self._targets.leave_alone(peer, now + PAUSES[code])
        self._set_connected()
        self._router.neighbour_left(peer, end, now)

    def _tell_of_stranger(self, stream: Stream, reason: str, now: float) -> None:
        assert stream.connection is not None
        self._say(self._strangers.ended(stream.connection, reason, now))

    def _say(self, line: LogEvent | None) -> None:
        if line is not None and not self._is_stopped:
            self._outputs.append(line)

    def _set_connected(self) -> None:
        self._targets.set_connected(self._neighbours.names())

    def _close(self, stream: Stream, code: CloseCode, now: float) -> None:
        assert stream.connection is not None
        stream.connection.close(FAREWELLS[code], code)
        self._drain(stream, now)

    def _trim(self, now: float) -> None:
        """End connections that we made when the network was smaller."""
        due = self._targets.next_trim()
        if due is None or now < due.at:
            return
        superfluous, near = self._targets.take_superfluous(now), self._neighbours.names()
        for name in sorted(self._topology.reachable_without(superfluous, near)):
            stream = self._neighbours.of(name)
            if stream is not None and stream.connection is not None:
                if stream.target is not None:
                    self._targets.rest(stream.target)
                self._close(stream, CloseCode.SUPERFLUOUS, now)

    def _log(self, level: int, event: str, stream: Stream, **fields: object) -> None:
        connection = stream.connection
        fields = {**stream.description, **fields}
        if connection is not None and connection.state is State.CLOSED and not connection.hello:
            level = max(level, WARNING) if fields.get("error") else DEBUG
        self._outputs.append(LogEvent(level, event, fields))
