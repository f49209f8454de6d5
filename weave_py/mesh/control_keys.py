"""Which keys seal a control connection now, and when do others take their place?

Keys that live as long as their connection are worth stealing. So they are renewed while it runs: a
new handshake, `Noise_KK_25519_ChaChaPoly_BLAKE2s` (Noise rev 34) over the static keys that the
first one proved, inside the sealed stream. Its prologue is the hash of the handshake before, so it
belongs to this connection and to nothing else.

    leader (who called)                          other side
    Renewal 1  {e, es, ss}                    →
                                              ←  Renewal 2  {e, ee, se}
                                                 and seals with the new key from here on
    Renewal 3  {}                             →
    and seals with the new key from here on

The stream keeps its order, so each direction changes keys at one place in it, which both sides
see: nothing is opened on trial, nothing is lost, nobody waits, and each old key is let go of at
once. One side leads, so two renewals cannot cross; it counts what goes either way.

Who stole all keys of a connection can read it until the next renewal, and cannot lead one without
a static key, too. Nothing is sealed or opened under keys past their limits: then the connection
ends, and the next one begins with new ones. (But a host that slept may still use them to renew
them, for as long as it would wait for a sign of life.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.noise import CipherState, Handshake
from weave_py.model.errors import HandshakeError, PeerError
from weave_py.model.token_bucket import TokenBucket
from weave_py.wire.messages import (
    RENEWAL_ANSWER,
    RENEWAL_OFFER,
    RENEWAL_SWITCH,
    Renewal,
    encode_message,
)

PROTOCOL = "Noise_KK_25519_ChaChaPoly_BLAKE2s"
LABEL = b"weave-py control renewal v1"
SPREAD = 10.0
"""Seconds. Connections that were made together renew their keys so much apart, at most."""
# Offers that are answered at once, and a second: each costs four exchanges of X25519.
MOST_RENEWALS = 4
RENEWALS_PER_SECOND = 0.1


@dataclass(frozen=True, slots=True)
class RenewalSettings:
    """Seconds, and records in one direction (of 64 KiB at most). 120 and 180 are WireGuard's."""

    renew_after: float = 120.0
    renew_records: int = 1 << 20
    stop_after: float = 180.0
    """Keys this old seal and open nothing any more."""
    stop_records: int = 1 << 21


class ControlKeys:
    """One side's keys, sealing in order and opening in order."""

    def __init__(
        self,
        ciphers: tuple[CipherState, CipherState],
        binding: bytes,
        *,
        is_leader: bool,
        static: X25519PrivateKey,
        remote_static: bytes,
        token_bytes: Callable[[int], bytes],
        now: float,
        settings: RenewalSettings,
    ) -> None:
        """`ciphers`: to send and to receive with, made now; `binding`: the hash of the handshake
        that made them."""
        self.renewals = 0
        """How often both directions have got new keys."""
        self._send, self._receive = ciphers
        self._send_born = self._receive_born = now
        self._spared_until = 0.0
        """Once for each pair of keys: see `stood_still`."""
        self._binding = binding
        self._is_leader = is_leader
        self._static = static
        self._remote_static = remote_static
        self._token_bytes = token_bytes
        self._settings = settings
        self._offered: Handshake | None = None
        """(Leader) an offer without an answer yet."""
        self._next_receive: CipherState | None = None
        """(The other side) what opens all that comes behind the leader's switch."""
        self._budget = TokenBucket(MOST_RENEWALS, RENEWALS_PER_SECOND)

    def __repr__(self) -> str:
        return f"<ControlKeys after {self.renewals} renewals>"

    @property
    def stop_at(self) -> float:
        """When they are too old for anything."""
        born = min(self._send_born, self._receive_born)
        return max(born + self._settings.stop_after, self._spared_until)

    def stood_still(self, now: float, patience: float) -> None:
        """It was this host that let the time pass: there is so much more to renew them in."""
        if now >= self.stop_at and not self._spared_until:
            self._spared_until = now + patience

    @property
    def may_seal(self) -> bool:
        """Whether these keys have a record left."""
        return self._send.nonce < self._settings.stop_records

    def are_used_up(self, now: float) -> bool:
        """Whether they are past a limit: nothing is to be sealed or opened any more."""
        most = self._settings.stop_records
        return now >= self.stop_at or self._send.nonce >= most or self._receive.nonce >= most

    def is_renewal_due(self, now: float) -> bool:
        """Whether it is time for `offer`, and ours to do."""
        if not self._is_leader or self._offered is not None:
            return False
        early = SPREAD * self._binding[0] / 256
        age = now - min(self._send_born, self._receive_born)
        records = max(self._send.nonce, self._receive.nonce)
        return age >= self._settings.renew_after - early or records >= self._settings.renew_records

    def seal(self, plaintext: bytes) -> bytes:
        """The next record; `may_seal` was asked."""
        return self._send.seal(plaintext)

    def open_untrusted(self, record: bytes) -> bytes:
        """What is in the next one; AuthenticationError if it is not theirs. (`are_used_up`?)"""
        return self._receive.open_untrusted(record)

    def offer(self) -> bytes:
        """The record that begins a renewal."""
        self._offered = self._handshake()
        return self._sealed(RENEWAL_OFFER, self._offered.write_message(b""))

    def renew_untrusted(self, message: Renewal, now: float) -> bytes | None:
        """The other side's next word on a renewal; the record to send now, if there is one.

        PeerError if it is not what must come now, does not verify, or comes too often.
        """
        match message.step:
            case step if step == RENEWAL_OFFER and not self._is_leader:
                return self._answer_untrusted(message.body, now)
            case step if step == RENEWAL_ANSWER and self._offered is not None:
                return self._switch_untrusted(self._offered, message.body, now)
            case step if step == RENEWAL_SWITCH and self._next_receive is not None:
                self._receive, self._next_receive = self._next_receive, None
                self._receive_born = now
                self._renewed()
                return None
        raise PeerError("a word on the renewal of keys that is not the next one")

    def _answer_untrusted(self, offer: bytes, now: float) -> bytes:
        if self._next_receive is not None:
            raise PeerError("a second renewal of keys within the first")
        if not self._budget.take(now):
            raise PeerError("keys renewed more often than anybody needs")
        handshake = self._handshake()
        _read_empty(handshake, offer)
        answer = self._sealed(RENEWAL_ANSWER, handshake.write_message(b""))
        self._send, self._next_receive = handshake.split()
        self._send_born = now
        self._binding = handshake.hash
        return answer

    def _switch_untrusted(self, offered: Handshake, answer: bytes, now: float) -> bytes:
        _read_empty(offered, answer)
        switch = self._sealed(RENEWAL_SWITCH, b"")
        self._send, self._receive = offered.split()
        self._send_born = self._receive_born = now
        self._binding = offered.hash
        self._offered = None
        self._renewed()
        return switch

    def _renewed(self) -> None:
        self._spared_until = 0.0
        self.renewals += 1

    def _handshake(self) -> Handshake:
        return Handshake(
            PROTOCOL,
            initiator=self._is_leader,
            prologue=LABEL + self._binding,
            static=self._static,
            ephemeral=X25519PrivateKey.from_private_bytes(self._token_bytes(32)),
            remote_static=self._remote_static,
        )

    def _sealed(self, step: int, body: bytes) -> bytes:
        if not self.may_seal:
            raise PeerError("keys that are used up before they were renewed")
        return self._send.seal(encode_message(Renewal(step, body)))


def _read_empty(handshake: Handshake, message: bytes) -> None:
    if handshake.read_message_untrusted(message):
        raise HandshakeError("a renewal of keys that says more than it should")
