"""How is one control connection doing? Its state machine, first byte to goodbye, with heartbeats.

The side that called sends a ping every `heartbeat`, and its answers tell that the other lives. The
other side hears the pings, so it need not send its own, but for now and then one to measure the
round trip; it does as soon as pings fail to come. The keys change as it goes on (`control_keys`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from weave_py.mesh.control_keys import ControlKeys, RenewalSettings
from weave_py.mesh.handshake import ControlHandshake, Hello, PeerIsBusy, Step
from weave_py.model.close_codes import CloseCode
from weave_py.model.deadlines import Deadline
from weave_py.model.errors import PeerError
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint
from weave_py.wire.messages import (
    ControlMessage,
    Goodbye,
    Ping,
    Pong,
    Renewal,
    decode_message_untrusted,
    encode_message,
)
from weave_py.wire.stream import FrameReader, frame

KEYS_USED_UP = "the keys of the connection were not renewed in time"
BEATS = 2  # moments in which connections are pinged, per heartbeat: each wakes us, and all others


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Seconds, all ours to tune: peers with other values still understand each other."""

    handshake_timeout: float = 5.0
    heartbeat: float = 1.0
    slow_heartbeat: float = 2.0
    """With many peers, while answers come as they always do: what a router costs that has nothing
    to do should not grow with the network. Streams lose nothing; what is lost below them comes a
    little later, for which there is a second."""
    steady: float = 0.05
    """Round trips that differ by no more than that, on average, come as they always do."""
    most_spared: int = 14
    """As many pings in a row the side that was called may leave to the other."""
    dead_after: float = 3.0
    """Silence that long ends the connection (Weave: 60 s; memberlist suspects within seconds)."""
    grace: float = 4.0
    """Who is late itself (model.load) waits so much longer, for each second of it."""
    stall: float = 1.0
    """Being woken this late means that *we* stood still (SIGSTOP, suspend): others are not blamed
    for the silence before they had a chance to speak again."""
    renewal: RenewalSettings = field(default_factory=RenewalSettings)


class State(Enum):
    HANDSHAKE = auto()  #: keys are not agreed yet
    OPEN = auto()  #: messages flow
    CLOSED = auto()  #: over; a ConnectionEnded was reported


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """Both sides have proved who they are and that they belong to the network."""

    hello: Hello
    observed: Endpoint | None
    """Our own address as the other side sees it (known to the dialling side)."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    message: ControlMessage


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """No more bytes go out or in; the stream is to be closed."""

    reason: str
    planned: bool = False
    """The other side said goodbye, or we did."""
    is_silent: bool = field(default=False, compare=False)
    """The other side does not answer: nothing that we still have to say will be acknowledged."""
    code: CloseCode = CloseCode.UNSPECIFIED
    """Why, if it was planned; whichever side said so."""
    is_theirs: bool = field(default=False, compare=False)
    """The other side said goodbye."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The other side was there when it was last asked (Connection.ask)."""


ConnectionEvent = HandshakeCompleted | MessageReceived | Answered | ConnectionEnded


class Connection:
    """Engine of one control connection. Feed bytes and time, take bytes and events."""

    def __init__(
        self,
        handshake: ControlHandshake,
        remote: Endpoint,
        now: float,
        settings: ConnectionSettings | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`load`: the router's own."""
        self.remote = remote
        self.outbound = handshake.initiator
        self.state = State.HANDSHAKE
        self.hello: Hello | None = None
        self.rtt: float | None = None
        """Seconds, smoothed as in RFC 6298 section 2."""
        self._deviation = 0.0
        """Seconds, of single round trips from that, as there."""
        self.hash = b""
        self.has_erred = False
        """Whether it ended because of what the other side said."""
        self._settings = settings or ConnectionSettings()
        self._load = load or LocalLoad()
        self._grace = 0.0
        """Seconds more that the peer has to answer, because we are late ourselves."""
        self._handshake = handshake
        self._reader = FrameReader()
        self._out = bytearray(handshake.start())
        self._events: list[ConnectionEvent] = []
        self._keys: ControlKeys | None = None
        self._ping_number = 0
        self._asked: int | None = None
        """The number of the ping that asks whether the peer is there."""
        self._ping_sent_at = now
        self._heard_at = now
        self._next_ping_at = now + self._settings.heartbeat
        self._spared = 0
        self._started_at = now

    def __repr__(self) -> str:
        direction = "->" if self.outbound else "<-"
        return f"<Connection {direction} {self.remote.text} {self.state.name}>"

    @property
    def renewals(self) -> int:
        """How often its keys have been renewed."""
        return self._keys.renewals if self._keys else 0

    @property
    def heard_at(self) -> float:
        """When anything last came from the peer."""
        return self._heard_at

    # --- in ------------------------------------------------------------------------------

    def receive_untrusted(self, data: bytes, now: float) -> None:
        """Bytes came. Never raises: a peer's fault ends in ConnectionEnded."""
        if self.state is State.CLOSED:
            return
        self._heard_at = now
        if self.state is State.OPEN and now - self._next_ping_at > self._settings.stall:
            self.advance(now)  # first things first: we stood still
        self._reader.feed(data)
        try:
            if self.state is State.HANDSHAKE:
                self._out += self._handshake.proceed_untrusted(self._reader, now)
                if self._handshake.step is not Step.DONE:
                    return
                self._open(now)
            self._read_messages(now)
        except PeerError as error:
            self.has_erred = True
            self._out += self._handshake.farewell
            is_busy = isinstance(error, PeerIsBusy)
            self._end(str(error), code=CloseCode.BUSY if is_busy else CloseCode.UNSPECIFIED)

    def stream_ended(self, reason: str) -> None:
        """The stream was closed or broke under us."""
        if self.state is State.HANDSHAKE:
            reason = f"{reason} during the handshake"
        self._end(reason)

    def send(self, message: ControlMessage) -> None:
        """Queue a message; silently nothing once closed, or used up (`advance` ends that)."""
        if self._keys is not None and self.state is State.OPEN and self._keys.may_seal:
            self._out += frame(self._keys.seal(encode_message(message)))

    def ask(self, now: float) -> None:
        """Is the peer there? `Answered`, or the end, tells."""
        self._ping(now)
        self._asked = self._ping_number

    def close(self, reason: str, code: CloseCode) -> None:
        """Say goodbye and end."""
        self.send(Goodbye(reason[:200], code))
        self._end(reason, planned=True, code=code)

    def advance(self, now: float) -> None:
        """Time has passed."""
        if self.state is State.CLOSED:
            return
        due = self.next_deadline()
        if due is not None and now - due.at > self._settings.stall:
            self._heard_at = max(self._heard_at, now - self._settings.heartbeat)
            if self._keys is not None:
                self._keys.stood_still(now, self._settings.dead_after)
        self._grace = self._settings.grace * self._load.delay(now)
        if self.state is State.HANDSHAKE:
            if now >= self._started_at + self._settings.handshake_timeout + self._grace:
                self._end("no answer to the handshake: is a weave-py router listening there?")
            return
        if now >= self._heard_at + self._settings.dead_after + self._grace:
            self._end(f"nothing heard for {self._settings.dead_after:g} s", is_silent=True)
            return
        if self._keys is not None and self._keys.are_used_up(now):
            self._end(KEYS_USED_UP)
            return
        if now >= self._next_ping_at:
            self._next_ping_at = self._beat(now + self._pace(now))
            self._spared = 0
            self._ping(now)
            if self._keys is not None and self._keys.is_renewal_due(now):
                self._out += frame(self._keys.offer())

    # --- out -----------------------------------------------------------------------------

    def next_deadline(self) -> Deadline | None:
        match self.state:
            case State.HANDSHAKE:
                patience = self._settings.handshake_timeout + self._grace
                return Deadline(self._started_at + patience, "handshake")
            case State.OPEN:
                assert self._keys is not None
                return min(
                    Deadline(self._keys.stop_at, "control keys too old"),
                    Deadline(self._next_ping_at, "heartbeat"),
                    Deadline(self._heard_at + self._settings.dead_after + self._grace, "silence"),
                )
        return None

    def take_bytes(self) -> bytes:
        taken = bytes(self._out)
        self._out.clear()
        return taken

    def take_events(self) -> list[ConnectionEvent]:
        taken, self._events = self._events, []
        return taken

    # --- inside --------------------------------------------------------------------------

    def _open(self, now: float) -> None:
        self.state = State.OPEN
        self._keys = self._handshake.take_keys(now, self._settings.renewal)
        self.hello = self._handshake.theirs
        self.hash = self._handshake.hash
        assert self.hello is not None
        self._next_ping_at = now  # measure the round trip at once
        self._events.append(HandshakeCompleted(self.hello, self._handshake.observed))

    def _read_messages(self, now: float) -> None:
        assert self._keys is not None
        while self.state is State.OPEN:
            body = self._reader.next_frame_untrusted()
            if body is None:
                return
            if isinstance(body, int):
                raise PeerError(f"the peer closed with alert {body}")
            if self._keys.are_used_up(now):
                self._end(KEYS_USED_UP)
                return
            message = decode_message_untrusted(self._keys.open_untrusted(body))
            match message:
                case None:
                    pass  # a newer peer's message
                case Ping(number):
                    self.send(Pong(number))
                    self._spare_a_ping(now)
                case Pong(number):
                    self._measure(number, now)
                    if number == self._asked:
                        self._asked = None
                        self._events.append(Answered())
                case Renewal():
                    if record := self._keys.renew_untrusted(message, now):
                        self._out += frame(record)
                case Goodbye(reason, code):
                    said = f"the peer said goodbye: {reason}"
                    self._end(said, planned=True, code=code, is_theirs=True)
                case _:
                    self._events.append(MessageReceived(message))

    def _ping(self, now: float) -> None:
        self._ping_number = (self._ping_number + 1) & 0xFFFF_FFFF
        self._ping_sent_at = now
        self.send(Ping(self._ping_number))

    def _spare_a_ping(self, now: float) -> None:
        if not self.outbound and self._ping_number and self._spared < self._settings.most_spared:
            self._spared += 1
            # (The other side may have many peers.)
            self._next_ping_at = max(self._next_ping_at, now + 1.25 * self._settings.slow_heartbeat)

    def _pace(self, now: float) -> float:
        s = self._settings
        if self._load.delay(now) or self._deviation > s.steady:
            return s.heartbeat
        return min(s.heartbeat * self._load.scale_factor, s.slow_heartbeat)

    def _beat(self, at: float) -> float:
        """Not later than `at`, and for all connections of a router together: it is woken once."""
        beats = self._settings.heartbeat / BEATS
        return at // beats * beats

    def _measure(self, number: int, now: float) -> None:
        if number != self._ping_number:
            self._deviation = self._settings.heartbeat  # it took longer than that
            return
        sample = now - self._ping_sent_at
        if self.rtt is None:
            self.rtt = sample
        else:
            self._deviation += (abs(sample - self.rtt) - self._deviation) / 4
            self.rtt += (sample - self.rtt) / 8

    def _end(
        self,
        reason: str,
        planned: bool = False,
        is_silent: bool = False,
        code: CloseCode = CloseCode.UNSPECIFIED,
        is_theirs: bool = False,
    ) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._events.append(ConnectionEnded(reason, planned, is_silent, code, is_theirs))
