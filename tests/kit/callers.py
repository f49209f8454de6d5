"""Who calls a router? One engine in memory, its clock, and callers honest and not."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.kit.builders import PORT, hello, identity, membership, tokens
from weave_py.mesh.control_keys import ControlKeys, RenewalSettings
from weave_py.mesh.handshake import TURNED_AWAY, ControlHandshake, Step
from weave_py.model.effects import LogEvent
from weave_py.model.errors import PeerError
from weave_py.model.names import Endpoint, PeerUID
from weave_py.model.underlay import OwnAddress
from weave_py.router.engine import Engine
from weave_py.router.outputs import CloseStream, SendBytes
from weave_py.wire.messages import ControlMessage, encode_message
from weave_py.wire.stream import FrameReader, frame

SECRET = "the network's"
WELCOMED = "welcomed"


class Silent:
    """Connects, and says what it was given, whatever it hears."""

    def __init__(self, words: bytes = b"") -> None:
        self.words = words

    def answer(self, _data: bytes) -> bytes:
        words, self.words = self.words, b""
        return words


class Caller:
    """The initiator's side of a handshake; `outcome` says how it went."""

    def __init__(self, number: int = 2, secret: str = SECRET, seed: int = 0) -> None:
        self.handshake = ControlHandshake(
            initiator=True,
            identity=identity(number),
            membership=membership(secret),
            ours=hello(number),
            remote=Endpoint("192.0.2.1", PORT),
            token_bytes=tokens(seed),
        )
        self.outcome = ""
        self._reader = FrameReader()
        self._said_preface = False
        self._keys: ControlKeys | None = None

    def answer(self, data: bytes) -> bytes:
        out = b"" if self._said_preface else self.handshake.start()
        self._said_preface = True
        self._reader.feed(data)
        if self.outcome:
            return out
        try:
            out += self.handshake.proceed_untrusted(self._reader, 0.0)
        except PeerError as error:
            self.outcome = str(error)
        if self.handshake.step is Step.DONE:
            self.outcome = WELCOMED
        return out

    def sealed(self, message: ControlMessage) -> bytes:
        """What a welcomed caller sends to say this."""
        self._keys = self._keys or self.handshake.take_keys(0.0, RenewalSettings())
        return frame(self._keys.seal(encode_message(message)))


@dataclass
class Called:
    """A router with a password, and a clock."""

    now: float = 1000.0
    callers: dict[int, Caller | Silent] = field(default_factory=dict)
    log: list[LogEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(
            identity(1),
            membership(SECRET),
            uid=PeerUID(1),
            incarnation=1,
            nickname="peer1",
            port=PORT,
            suites=[1],
            token_bytes=tokens(1),
            now=self.now,
        )
        self.engine.set_local_addresses([OwnAddress("192.0.2.1")], self.now)
        self._carry_out()

    def call(self, caller: Caller | Silent, host: str, port: int = 40_000) -> int | None:
        """Let it call from there, and both speak until they are silent. None: refused."""
        remote = Endpoint(host, port)
        if not self.engine.attends_to(remote, self.now):
            caller.answer(TURNED_AWAY)
            self._carry_out()
            return None
        number = self.engine.accepted(remote, self.now)
        if number is not None:
            self.callers[number] = caller
            self._tell(number, b"")
        self._carry_out()
        return number

    def say(self, number: int, message: ControlMessage) -> None:
        """A welcomed caller says this."""
        caller = self.callers[number]
        assert isinstance(caller, Caller)
        self.engine.received(number, caller.sealed(message), self.now)
        self._carry_out()

    def hang_up(self, number: int | None) -> None:
        """The caller closes its connection."""
        if number is not None and self.callers.pop(number, None) is not None:
            self.engine.stream_ended(number, "closed by the peer", self.now)
            self._carry_out()

    def is_at_door(self, number: int) -> bool:
        """Whether this connection is still there."""
        return self.engine.neighbours.get(number) is not None

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.engine.next_deadline()) is not None and due.at < end:
            self.now = max(self.now, due.at)
            self.engine.advance(self.now)
            self._carry_out()
        self.now = end

    def join(self, caller: Caller, host: str) -> str:
        """The outcome of a call; the caller hangs up after it."""
        self.hang_up(self.call(caller, host))
        return caller.outcome

    def _tell(self, number: int, data: bytes) -> None:
        said = self.callers[number].answer(data)
        if said:
            self.engine.received(number, said, self.now)

    def _carry_out(self) -> None:
        while outputs := self.engine.take_outputs():
            for output in outputs:
                match output:
                    case SendBytes(number, data) if number in self.callers:
                        self._tell(number, data)
                    case CloseStream(number):
                        self.callers.pop(number, None)
                    case LogEvent():
                        self.log.append(output)
