"""Who is on the other side, and which keys do we share? Noise handshakes.

The Noise Protocol Framework, revision 34: HandshakeState (§5.3) with pre-shared keys (§9), over
X25519 only. `noise_patterns` has the messages, `symmetric` the layer below.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.exchange import KEY_BYTES, public_bytes, shared_secret_untrusted
from weave_py.crypto.noise_patterns import parse_protocol
from weave_py.crypto.symmetric import CipherState, SymmetricState
from weave_py.model.errors import HandshakeError, PeerError

__all__ = ["MAX_MESSAGE", "PSK_BYTES", "CipherState", "Handshake"]

MAX_MESSAGE = 65535
"""Bytes of a Noise message (§3)."""
PSK_BYTES = 32

_T = TypeVar("_T")


class Handshake:
    """One side of one handshake; ends in `split` or `split_keys`, or is dead after any failure
    (see `for_reading` where that is too strict).

    `ephemeral` must be fresh for every handshake. `remote_static` is given in patterns where it is
    known beforehand, and otherwise becomes known, and is proven, as the handshake goes on.
    ValueError for keys that do not fit the pattern, and for any other misuse.
    """

    def __init__(
        self,
        protocol: str,
        *,
        initiator: bool,
        prologue: bytes,
        static: X25519PrivateKey | None,
        ephemeral: X25519PrivateKey,
        remote_static: bytes | None = None,
        psk: bytes | None = None,
    ) -> None:
        self._protocol = protocol
        self._initiator = initiator
        self._pattern, cipher, hash_name = parse_protocol(protocol)
        self._cipher_name = cipher
        self._check_keys(static, remote_static)
        self._static = static
        self._ephemeral: X25519PrivateKey | None = ephemeral
        self._remote_ephemeral: bytes | None = None
        self._remote_static = remote_static
        self._psk: bytes | None = None
        if psk is not None:
            self.set_psk(psk)
        self._next = 0
        self._dead = False
        self._hash: bytes | None = None
        self._symmetric: SymmetricState | None = self._begin(cipher, hash_name, prologue)

    def __repr__(self) -> str:
        role = "initiator" if self._initiator else "responder"
        total = len(self._pattern.messages)
        state = "dead" if self._dead else f"after {self._next} of {total} messages"
        return f"<Handshake {self._protocol} {role} {state}>"

    @property
    def remote_static(self) -> bytes | None:
        """The other side's static key, once received: proven only when `is_finished`."""
        return self._remote_static

    @property
    def is_finished(self) -> bool:
        """Whether all messages have passed, so that `split` is due."""
        return not self._dead and self._next == len(self._pattern.messages)

    @property
    def hash(self) -> bytes:
        """The transcript hash, equal on both sides, to bind other protocols to (§11.2).

        ValueError before the handshake has finished.
        """
        return self._hash or self._finished().hash

    def set_psk(self, psk: bytes) -> None:
        """Give the pre-shared key (32 bytes), at the latest before the message that needs it."""
        if not self._pattern.needs_psk:
            raise ValueError(f"{self._protocol} takes no psk")
        if len(psk) != PSK_BYTES:
            raise ValueError(f"psk must be {PSK_BYTES} bytes, not {len(psk)}")
        self._psk = psk

    def for_reading(self) -> Handshake:
        """A copy to read the next message with: if that fails the copy is dead, not this one.

        Over a stream a wrong message is the end. Where anybody can answer before the true peer
        does, it must not be: each answer is read on a copy, and the one that succeeds goes on.
        ValueError if it is our turn to write: two copies that write would use keys twice.
        """
        if not self._is_turn(ours=False):
            raise ValueError(f"{self!r}: not our turn to read")
        twin = copy.copy(self)
        twin._symmetric = _present(self._symmetric).copy()
        return twin

    def write_message(self, payload: bytes) -> bytes:
        """The next message, with `payload` inside, as secret as the pattern has it by now (§7.7).

        HandshakeError if a key received earlier turns out to be unusable only now.
        """
        if not self._is_turn(ours=True):
            raise ValueError(f"{self!r}: not our turn to write")
        tokens, symmetric = self._tokens()
        try:
            message = b"".join(self._write_token(symmetric, token) for token in tokens)
            message += symmetric.encrypt_and_hash(payload)
        except PeerError:
            self._die()
            raise
        if len(message) > MAX_MESSAGE:
            self._die()
            raise ValueError(f"payload of {len(payload)} bytes does not fit a handshake message")
        self._next += 1
        return message

    def read_message_untrusted(self, message: bytes) -> bytes:
        """The payload of the other side's next message.

        AuthenticationError if it does not verify (altered, or another key or psk than ours);
        HandshakeError if it is malformed, holds a bad key, or comes out of turn.
        """
        if not self._is_turn(ours=False):
            self._die()
            raise HandshakeError("handshake message out of turn")
        tokens, symmetric = self._tokens()
        try:
            if len(message) > MAX_MESSAGE:
                raise HandshakeError(f"handshake message of {len(message)} bytes is too long")
            rest = message
            for token in tokens:
                rest = self._read_token(symmetric, token, rest)
            payload = symmetric.decrypt_and_hash_untrusted(rest)
        except PeerError:
            self._die()
            raise
        self._next += 1
        return payload

    def peek_static_untrusted(self, message: bytes) -> bytes:
        """The static key in the other side's next message, which begins with one, without taking
        the message in: said, not proven.

        AuthenticationError or HandshakeError as in `read_message_untrusted`.
        """
        if not self._is_turn(ours=False):
            raise HandshakeError("handshake message out of turn")
        symmetric = _present(self._symmetric)
        if self._pattern.messages[self._next][0] != "s":
            raise ValueError(f"{self!r}: the next message begins with no static key")
        length = KEY_BYTES + symmetric.tag_bytes
        if len(message) < length:
            raise HandshakeError(f"handshake message of {len(message)} bytes is too short")
        return symmetric.peek_untrusted(message[:length])

    def split(self) -> tuple[CipherState, CipherState]:
        """Ciphers to send and to receive with. Once only: a second pair would reuse nonces."""
        send, receive = self.split_keys()
        return CipherState(send, self._cipher_name), CipherState(receive, self._cipher_name)

    def split_keys(self) -> tuple[bytes, bytes]:
        """Keys (32 bytes each) to send and to receive with. Once only, and instead of `split`."""
        symmetric = self._finished()
        first, second = symmetric.split()
        self._hash = symmetric.hash
        self._forget()
        return (first, second) if self._initiator else (second, first)

    def _check_keys(self, static: X25519PrivateKey | None, remote: bytes | None) -> None:
        ours, theirs = self._pattern.initiator_known, self._pattern.responder_known
        if not self._initiator:
            ours, theirs = theirs, ours
        sends_static = self._pattern.sends_static(initiator=self._initiator)
        if (ours or sends_static) and static is None:
            raise ValueError(f"{self._protocol} needs our static key")
        if theirs != (remote is not None):
            verb = "needs" if theirs else "does not take"
            raise ValueError(f"{self._protocol} {verb} the remote static key beforehand")
        if remote is not None and len(remote) != KEY_BYTES:
            raise ValueError(f"remote static key must be {KEY_BYTES} bytes, not {len(remote)}")

    def _begin(self, cipher: str, hash_name: str, prologue: bytes) -> SymmetricState:
        """Mix in what both sides know before the first message."""
        symmetric = SymmetricState(self._protocol, cipher, hash_name)
        symmetric.mix_hash(prologue)
        for known, is_ours in (
            (self._pattern.initiator_known, self._initiator),
            (self._pattern.responder_known, not self._initiator),
        ):
            if known:
                key = public_bytes(_present(self._static)) if is_ours else self._remote_static
                symmetric.mix_hash(_present(key))
        return symmetric

    def _is_turn(self, *, ours: bool) -> bool:
        if self._dead or self._next == len(self._pattern.messages):
            return False
        return ours == (self._initiator == (self._next % 2 == 0))

    def _tokens(self) -> tuple[tuple[str, ...], SymmetricState]:
        tokens = self._pattern.messages[self._next]
        if "psk" in tokens and self._psk is None:
            raise ValueError(f"{self!r}: the psk must be set before the next message")
        return tokens, _present(self._symmetric)

    def _write_token(self, symmetric: SymmetricState, token: str) -> bytes:
        if token == "e":
            public = public_bytes(_present(self._ephemeral))
            self._mix_ephemeral(symmetric, public)
            return public
        if token == "s":
            return symmetric.encrypt_and_hash(public_bytes(_present(self._static)))
        self._mix_secret(symmetric, token)
        return b""

    def _read_token(self, symmetric: SymmetricState, token: str, message: bytes) -> bytes:
        if token not in ("e", "s"):
            self._mix_secret(symmetric, token)
            return message
        length = KEY_BYTES + (symmetric.tag_bytes if token == "s" else 0)
        field, rest = message[:length], message[length:]
        if len(field) < length:
            raise HandshakeError(f"handshake message of {len(message)} bytes is too short")
        if token == "s":
            self._remote_static = symmetric.decrypt_and_hash_untrusted(field)
        else:
            self._remote_ephemeral = field
            self._mix_ephemeral(symmetric, field)
        return rest

    def _mix_ephemeral(self, symmetric: SymmetricState, public: bytes) -> None:
        symmetric.mix_hash(public)
        # With a psk, nonce reuse must be ruled out even before the first exchange (§9.2).
        if self._pattern.needs_psk:
            symmetric.mix_key(public)

    def _mix_secret(self, symmetric: SymmetricState, token: str) -> None:
        if token == "psk":
            symmetric.mix_key_and_hash(_present(self._psk))
            return
        # A token names the initiator's key first: "es" is its ephemeral with the other's static.
        keys = token if self._initiator else token[::-1]
        private = self._ephemeral if keys[0] == "e" else self._static
        public = self._remote_ephemeral if keys[1] == "e" else self._remote_static
        symmetric.mix_key(shared_secret_untrusted(_present(private), _present(public)))

    def _finished(self) -> SymmetricState:
        if not self.is_finished or self._symmetric is None:
            raise ValueError(f"{self!r}: only between its last message and its split")
        return self._symmetric

    def _die(self) -> None:
        self._dead = True
        self._forget()

    def _forget(self) -> None:
        """Drop what would let a later intruder derive the keys again."""
        self._symmetric = self._ephemeral = self._psk = None


def _present(value: _T | None) -> _T:
    """For keys that the pattern and the checks at the start say must be there."""
    assert value is not None
    return value
