"""May we talk, and with which keys? The handshake of a control connection.

`Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s` (Noise rev 34), whose psk comes out of a CPace exchange
over the network's password (`crypto.membership`) that rides in the first two messages:

    initiator                                     responder
    preface                                   →
                                              ←   preface
    e            {has a secret?, CPace Ya}    →
                                              ←   e, ee, s, es   {CPace Yb, my key}
    s, se, psk   {my key, about me}           →
                                              ←   {your address, about me}         (transport)

    my key      identity (Ed25519), certificate of the static key, one field each
    about me    one list: uid, nickname, port where I listen

Nobody, passive or active, can test guesses of the password offline: each guess takes a connection.
The responder proves that it knows the password last, and says nothing about itself before but its
key. It computes nothing before the first message has come, and asks its `Gate` before it does: it
has five scalar multiplications to do then, and a guess to judge when the third has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn, Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.cpace import Share
from weave_py.crypto.identity import Identity, check_certificate_untrusted, peer_name_of
from weave_py.crypto.membership import Membership
from weave_py.crypto.noise import CipherState, Handshake
from weave_py.mesh.control_keys import ControlKeys, RenewalSettings
from weave_py.model.errors import AuthenticationError, HandshakeError, WireError
from weave_py.model.names import Endpoint, PeerName, PeerUID, endpoint
from weave_py.wire.messages import MAX_CHANNEL
from weave_py.wire.packing import (
    as_bool,
    as_bytes,
    as_int,
    as_list,
    as_text,
    pack,
    unpack_untrusted,
)
from weave_py.wire.preface import PREFACE_BYTES, agree_untrusted, preface
from weave_py.wire.stream import FrameReader, alert, frame

PROTOCOL = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s"
LABEL = b"weave-py control v1"
MAX_HANDSHAKE_FRAME = 2048
MAX_PAYLOAD = 1024
MAX_CHANNELS = 12  # of MAX_CHANNEL bytes, beside the rest of a payload

# Alert codes (protocol): only hints for the log, see wire.stream.
ALERT_PASSWORD = 1
ALERT_NEEDS_SECRET = 2
ALERT_HAS_NO_SECRET = 3
ALERT_BUSY = 4

ALERTS = {
    ALERT_PASSWORD: "the peer refused our password: give both routers the same one "
    "(WEAVE_PASSWORD or --password-file)",
    ALERT_NEEDS_SECRET: "the peer's network has a password and we were started without one: "
    "set WEAVE_PASSWORD or --password-file",
    ALERT_HAS_NO_SECRET: "the peer's network has no password but ours has one: "
    "start the peer with the same WEAVE_PASSWORD or --password-file",
    ALERT_BUSY: "the peer has more callers than it attends to: it is called again soon",
}
WRONG_PASSWORD = "wrong password: the peer does not know this network's password"
TOO_MANY = "more callers than we attend to"
TURNED_AWAY = preface() + alert(ALERT_BUSY)
"""All that is said to a caller who is not even heard."""


class PeerIsBusy(HandshakeError):
    """Nothing is wrong: the peer has no time for strangers at the moment."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a router is; our own, or the other side's after its proof."""

    name: PeerName
    identity: bytes
    static: bytes
    certificate: bytes
    uid: PeerUID
    nickname: str
    port: int
    """Where it listens, TCP and UDP."""
    channels: tuple[str, ...] = ()
    """Of services: those that it wants to hear, or carries for others (mesh.channel)."""


def hello_of(
    identity: Identity, uid: PeerUID, nickname: str, port: int, channels: tuple[str, ...] = ()
) -> Hello:
    return Hello(
        identity.name,
        identity.public,
        identity.static_public,
        identity.certificate,
        uid,
        nickname,
        port,
        channels,
    )


class Gate(Protocol):
    """Which work for somebody unproven may be done now? (Times in seconds.)"""

    def may_be_answered(self, now: float) -> bool:
        """They speak our language: is their first message going to be worth an answer?"""

    def may_prove(self, static: bytes, now: float) -> bool:
        """Their proof came, with what they say is their static key: may we look at it?"""

    def has_proved(self, static: bytes, now: float) -> None:
        """It was right."""


class Step(Enum):
    """What we wait for."""

    PREFACE = auto()  #: the other side's preface
    MESSAGE_1 = auto()  #: (responder) e
    MESSAGE_2 = auto()  #: (initiator) e, ee, s, es
    MESSAGE_3 = auto()  #: (responder) s, se, psk
    WELCOME = auto()  #: (initiator) the first transport message
    DONE = auto()  #: nothing: keys are agreed


class ControlHandshake:
    """One side of one handshake. `start`, then `proceed_untrusted` until `step` is DONE.

    Any PeerError ends it: the object is unusable, `farewell` may hold an alert to send.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        identity: Identity,
        membership: Membership,
        ours: Hello,
        remote: Endpoint,
        token_bytes: Callable[[int], bytes],
        gate: Gate | None = None,
    ) -> None:
        """`gate`: (responder) what it lets through; None: everything."""
        self.initiator = initiator
        self.step = Step.PREFACE
        self.theirs: Hello | None = None
        self.observed: Endpoint | None = None
        """(Initiator) our own address as the responder sees it."""
        self.hash = b""
        self.farewell = b""
        self._identity = identity
        self._membership = membership
        self._ours = ours
        self._remote = remote
        self._token_bytes = token_bytes
        self._gate = gate
        self._prologue = b""
        self._share: Share | None = None
        self._noise: Handshake | None = None
        self._key = (b"", b"")
        """Their identity key and certificate."""
        self._psk: bytes | None = None
        self._send: CipherState | None = None
        self._receive: CipherState | None = None

    def start(self) -> bytes:
        """What to send before anything has come."""
        return preface()

    def take_keys(self, now: float, settings: RenewalSettings) -> ControlKeys:
        """What seals and opens all that follows, once DONE; only once: they are not kept here."""
        assert self.step is Step.DONE
        assert self._send
        assert self._receive
        assert self.theirs
        ciphers = self._send, self._receive
        self._send = self._receive = None
        return ControlKeys(
            ciphers,
            self.hash,
            is_leader=self.initiator,
            static=self._identity.static_private,
            remote_static=self.theirs.static,
            token_bytes=self._token_bytes,
            now=now,
            settings=settings,
        )

    def proceed_untrusted(self, reader: FrameReader, now: float) -> bytes:
        """Consume what has come; returns bytes to send. Raises PeerError when it failed."""
        out = b""
        while self.step is not Step.DONE:
            if self.step is Step.PREFACE:
                theirs = reader.take_exactly(PREFACE_BYTES)
                if theirs is None:
                    break
                out += self._on_preface(theirs, now)
                continue
            body = reader.next_frame_untrusted(MAX_HANDSHAKE_FRAME)
            if body is None:
                break
            if isinstance(body, int):
                text = ALERTS.get(body, f"the peer closed with alert {body}")
                raise (PeerIsBusy if body == ALERT_BUSY else HandshakeError)(text)
            out += self._on_frame(body, now)
        return out

    def _on_preface(self, theirs: bytes, now: float) -> bytes:
        agree_untrusted(theirs)
        if self._gate is not None and not self._gate.may_be_answered(now):
            self._turn_away()
        prologue = preface() + theirs if self.initiator else theirs + preface()
        self._prologue = prologue + LABEL
        if not self.initiator:
            self.step = Step.MESSAGE_1
            return b""
        noise, share = self._begin()
        self.step = Step.MESSAGE_2
        first = pack([not self._membership.is_open, share.public])
        return frame(noise.write_message(first))

    def _begin(self) -> tuple[Handshake, Share]:
        """Make our keys for this handshake: from here on it costs something."""
        self._share = self._membership.share(self._token_bytes)
        self._noise = Handshake(
            PROTOCOL,
            initiator=self.initiator,
            prologue=self._prologue,
            static=self._identity.static_private,
            ephemeral=X25519PrivateKey.from_private_bytes(self._token_bytes(32)),
        )
        return self._noise, self._share

    def _on_frame(self, body: bytes, now: float) -> bytes:
        if self.step is Step.MESSAGE_1:
            return self._answer_first(*self._begin(), body)
        assert self._noise is not None
        match self.step:
            case Step.MESSAGE_2:
                return self._answer_second(self._noise, body)
            case Step.MESSAGE_3:
                return self._welcome(self._noise, body, now)
            case _:
                return self._on_welcome(self._noise, body)

    def _turn_away(self) -> NoReturn:
        self.farewell = alert(ALERT_BUSY)
        raise HandshakeError(TOO_MANY)

    def _answer_first(self, noise: Handshake, ours: Share, body: bytes) -> bytes:
        payload = unpack_untrusted(noise.read_message_untrusted(body), max_bytes=MAX_PAYLOAD)
        fields = as_list(payload, "first handshake payload", 8, at_least=2)
        has_secret = as_bool(fields[0], "has a secret")
        share = as_bytes(fields[1], "CPace share", length=32)
        if has_secret and self._membership.is_open:
            self.farewell = alert(ALERT_HAS_NO_SECRET)
            raise HandshakeError("the peer has a network password and we have none")
        if not has_secret and not self._membership.is_open:
            self.farewell = alert(ALERT_NEEDS_SECRET)
            raise HandshakeError("the peer has no network password, and ours requires one")
        self._psk = self._membership.psk_untrusted(ours, share, initiator=False)
        self.step = Step.MESSAGE_3
        return frame(noise.write_message(pack([ours.public, *self._our_key()])))

    def _answer_second(self, noise: Handshake, body: bytes) -> bytes:
        assert self._share is not None
        payload = unpack_untrusted(noise.read_message_untrusted(body), max_bytes=MAX_PAYLOAD)
        fields = as_list(payload, "second handshake payload", 16, at_least=3)
        share = as_bytes(fields[0], "CPace share", length=32)
        self._key = self._key_untrusted(noise, fields[1:])
        noise.set_psk(self._membership.psk_untrusted(self._share, share, initiator=True))
        out = frame(noise.write_message(pack([*self._our_key(), self._about_us()])))
        self._finish(noise)
        self.step = Step.WELCOME
        return out

    def _welcome(self, noise: Handshake, body: bytes, now: float) -> bytes:
        assert self._psk is not None
        static = noise.peek_static_untrusted(body)
        if self._gate is not None and not self._gate.may_prove(static, now):
            self._turn_away()
        noise.set_psk(self._psk)
        try:
            payload = noise.read_message_untrusted(body)
        except AuthenticationError:
            self.farewell = alert(ALERT_PASSWORD)
            raise HandshakeError(WRONG_PASSWORD) from None
        if self._gate is not None:
            self._gate.has_proved(static, now)
        fields = as_list(
            unpack_untrusted(payload, max_bytes=MAX_PAYLOAD), "third payload", 16, at_least=3
        )
        self._key = self._key_untrusted(noise, fields)
        self.theirs = self._hello_untrusted(noise, fields[2])
        self._finish(noise)
        assert self._send is not None
        self.step = Step.DONE
        seen = [self._remote.host, self._remote.port]
        return frame(self._send.seal(pack([*seen, self._about_us()])))

    def _on_welcome(self, noise: Handshake, body: bytes) -> bytes:
        assert self._receive is not None
        payload = self._receive.open_untrusted(body)
        fields = as_list(
            unpack_untrusted(payload, max_bytes=MAX_PAYLOAD), "welcome", 16, at_least=3
        )
        try:
            self.observed = endpoint(
                as_text(fields[0], "observed host", 64), as_int(fields[1], "port", 1, 65535)
            )
        except ValueError as error:
            raise WireError(f"bad observed address: {error}") from None
        self.theirs = self._hello_untrusted(noise, fields[2])
        self.step = Step.DONE
        return b""

    def _our_key(self) -> list[object]:
        return [self._ours.identity, self._ours.certificate]

    def _about_us(self) -> list[object]:
        """What only members are told."""
        ours = self._ours
        return [ours.uid, ours.nickname, ours.port, list(ours.channels)]

    def _key_untrusted(self, noise: Handshake, fields: list[object]) -> tuple[bytes, bytes]:
        """Their identity key, and its certificate of the static key that the handshake proves."""
        identity = as_bytes(fields[0], "identity key", length=32)
        certificate = as_bytes(fields[1], "certificate", length=64)
        assert noise.remote_static is not None
        check_certificate_untrusted(identity, noise.remote_static, certificate)
        return identity, certificate

    def _hello_untrusted(self, noise: Handshake, about: object) -> Hello:
        fields = as_list(about, "about the peer", 16, at_least=3)
        identity, certificate = self._key
        assert noise.remote_static is not None
        return Hello(
            peer_name_of(identity),
            identity,
            noise.remote_static,
            certificate,
            PeerUID(as_int(fields[0], "uid", 1, (1 << 64) - 1)),
            as_text(fields[1], "nickname", 255),
            as_int(fields[2], "port", 1, 65535),
            _channels(fields[3]) if len(fields) > 3 else (),
        )

    def _finish(self, noise: Handshake) -> None:
        self.hash = noise.hash
        self._send, self._receive = noise.split()
        self._psk = self._share = None  # nobody needs them any more


def _channels(value: object) -> tuple[str, ...]:
    names = as_list(value, "channels", MAX_CHANNELS)
    return tuple(as_text(name, "channel", MAX_CHANNEL) for name in names)
