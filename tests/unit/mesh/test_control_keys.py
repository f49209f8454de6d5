"""Do the keys of a control connection change in time, on both sides at one place? (F18, T12.)

Each side is a `Connection`; what a hostile one would say is sealed with its own `ControlKeys`.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
from collections.abc import Iterable
from types import FunctionType, ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import handshake, identity, place, tokens
from weave_py.crypto.exchange import public_bytes
from weave_py.crypto.symmetric import CipherState
from weave_py.mesh.connection import (
    KEYS_USED_UP,
    Connection,
    ConnectionEnded,
    ConnectionSettings,
    MessageReceived,
    State,
)
from weave_py.mesh.control_keys import (
    LABEL,
    MOST_RENEWALS,
    PROTOCOL,
    SPREAD,
    ControlKeys,
    RenewalSettings,
)
from weave_py.wire.messages import Gossip, Renewal, encode_message
from weave_py.wire.stream import frame

START = 100.0
QUICK = ConnectionSettings(renewal=RenewalSettings(renew_records=20, stop_records=60))
RENEWAL = RenewalSettings()


class Ends:
    """Two connected ends and a clock; how bytes cross is the test's to say."""

    def __init__(self, config: ConnectionSettings | None = None) -> None:
        self.now = START
        self.leader = Connection(
            handshake(1, initiator=True, remote=place(2)), place(2), START, config
        )
        self.other = Connection(
            handshake(2, initiator=False, remote=place(1)), place(1), START, config
        )
        self.deliver()
        assert self.leader.state is self.other.state is State.OPEN
        for end in (self.leader, self.other):
            end.take_events()

    def deliver(self) -> None:
        while True:
            to_other, to_leader = self.leader.take_bytes(), self.other.take_bytes()
            if not to_other and not to_leader:
                return
            self.other.receive_untrusted(to_other, self.now)
            self.leader.receive_untrusted(to_leader, self.now)

    def run(self, seconds: float) -> None:
        """Wake both when they want it; bytes cross at once."""
        end = self.now + seconds
        while self.leader.state is self.other.state is State.OPEN:
            due = [d.at for d in (self.leader.next_deadline(), self.other.next_deadline()) if d]
            self.now = max(min(due), self.now)
            if self.now >= end:
                break
            self.leader.advance(self.now)
            self.other.advance(self.now)
            self.deliver()
        self.now = end

    def ciphers(self) -> set[int]:
        """All cipher states that anything of the two ends still holds."""
        found, seen, stack = set(), set(), [self.leader, self.other]
        while stack:
            thing: object = stack.pop()
            if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
                continue
            seen.add(id(thing))
            if isinstance(thing, CipherState):
                found.add(id(thing))
            stack.extend(gc.get_referents(thing))
        return found


def keys(connection: Connection) -> ControlKeys:
    assert connection._keys is not None
    return connection._keys


def ended(connection: Connection) -> str:
    (event,) = connection.take_events()
    assert isinstance(event, ConnectionEnded)
    assert not event.planned
    return event.reason


# --- in time ---------------------------------------------------------------------------------


def test_keys_are_renewed_every_two_minutes_for_ever() -> None:
    ends = Ends()
    ends.run(RENEWAL.renew_after - SPREAD)
    assert ends.leader.renewals == ends.other.renewals == 0
    ends.run(SPREAD + 3)
    assert ends.leader.renewals == ends.other.renewals == 1
    ends.run(3600)
    assert ends.leader.renewals == ends.other.renewals
    assert 1 + 3600 // 121 <= ends.leader.renewals <= 2 + 3600 // 110
    assert ends.leader.take_events() == ends.other.take_events() == []


@pytest.mark.parametrize("talkative", ["leader", "other"])
def test_whoever_says_much_the_keys_are_renewed_sooner(talkative: str) -> None:
    ends = Ends(QUICK)
    sender: Connection = getattr(ends, talkative)
    for _ in range(8):
        for number in range(10):
            sender.send(Gossip("topology", bytes([number])))
        ends.deliver()
        ends.run(12.01)
    assert ends.leader.state is ends.other.state is State.OPEN
    assert ends.leader.renewals == ends.other.renewals >= 4
    assert keys(sender)._send.nonce < 60


@pytest.mark.parametrize(("first", "seconds"), [(0, 120), (128, 115), (255, 110)])
def test_connections_made_together_are_not_renewed_together(first: int, seconds: float) -> None:
    leader = keys(Ends().leader)
    leader._binding = bytes([first]) * 32
    assert not leader.is_renewal_due(START + seconds - 0.1)
    assert leader.is_renewal_due(START + seconds + 0.1)


def test_no_old_key_is_left_in_memory() -> None:
    """Nor any of the first handshake's."""
    ends = Ends()
    held = ends.ciphers()
    assert len(held) == 4
    before = [keys(end)._send for end in (ends.leader, ends.other)]  # (their ids stay theirs)
    before += [keys(end)._receive for end in (ends.leader, ends.other)]
    assert held == {id(cipher) for cipher in before}
    ends.run(130)
    assert ends.leader.renewals == 1
    after = ends.ciphers()
    assert len(after) == 4
    assert not after & held


# --- in step ---------------------------------------------------------------------------------


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_interleaving_and_chunking_arrives_whole_and_in_order(data: st.DataObject) -> None:
    """Whoever says what while the keys change, and however the streams cut it."""
    ends = Ends(QUICK)
    both = (ends.leader, ends.other)
    streams = [bytearray(), bytearray()]  # from the leader, from the other
    said: list[list[bytes]] = [[], []]
    heard: list[list[bytes]] = [[], []]

    def carry(side: int, count: int) -> None:
        piece = bytes(streams[side][:count])
        del streams[side][:count]
        both[1 - side].receive_untrusted(piece, ends.now)
        for event in both[1 - side].take_events():
            assert isinstance(event, MessageReceived)
            assert isinstance(event.message, Gossip)
            heard[side].append(event.message.body)

    for _ in range(data.draw(st.integers(20, 60))):
        side = data.draw(st.integers(0, 1))
        match data.draw(st.sampled_from(["say", "say", "carry", "carry", "renew"])):
            case "say":
                body = len(said[side]).to_bytes(2, "big")
                said[side].append(body)
                both[side].send(Gossip("topology", body))
            case "carry":
                carry(side, data.draw(st.integers(1, 300)))
            case "renew":
                if keys(ends.leader)._offered is None:
                    ends.leader._out += frame(keys(ends.leader).offer())
                    ends.now += 1 / 0.1
        for number, end in enumerate(both):
            streams[number] += end.take_bytes()
    while any(streams):
        for side in (0, 1):
            carry(side, len(streams[side]))
            for number, end in enumerate(both):
                streams[number] += end.take_bytes()
    assert heard == said
    assert ends.leader.renewals == ends.other.renewals


def test_the_new_keys_are_those_of_noise_kk() -> None:
    """Reckoned once more, from the Noise specification and nothing of ours."""
    ends = Ends()
    binding = ends.leader.hash
    dice = tokens(7)
    keys(ends.leader)._token_bytes = keys(ends.other)._token_bytes = dice
    ends.leader._out += frame(keys(ends.leader).offer())
    ends.deliver()
    same = tokens(7)
    e, f = (X25519PrivateKey.from_private_bytes(same(32)) for _ in range(2))
    a, b = identity(1).static_private, identity(2).static_private

    def exchange(private: X25519PrivateKey, other: X25519PrivateKey) -> bytes:
        return private.exchange(X25519PublicKey.from_public_bytes(public_bytes(other)))

    def digest(*parts: bytes) -> bytes:
        return hashlib.blake2s(b"".join(parts)).digest()

    def mac(key: bytes, text: bytes) -> bytes:
        return hmac.new(key, text, hashlib.blake2s).digest()

    def mix(chaining: bytes, secrets: Iterable[bytes]) -> tuple[bytes, bytes]:
        key = b""
        for secret in secrets:
            root = mac(chaining, secret)
            chaining = mac(root, b"\x01")
            key = mac(root, chaining + b"\x02")
        return chaining, key

    chaining = digest(PROTOCOL.encode())
    transcript = digest(chaining, LABEL + binding)
    for public in (a, b, e):
        transcript = digest(transcript, public_bytes(public))
    chaining, key = mix(chaining, (exchange(e, b), exchange(a, b)))
    empty = ChaCha20Poly1305(key).encrypt(bytes(12), b"", transcript)
    transcript = digest(digest(transcript, empty), public_bytes(f))
    chaining, key = mix(chaining, (exchange(f, e), exchange(f, a)))
    empty = ChaCha20Poly1305(key).encrypt(bytes(12), b"", transcript)
    transcript = digest(transcript, empty)
    root = mac(chaining, b"")
    first = mac(root, b"\x01")
    second = mac(root, first + b"\x02")

    assert ends.leader.renewals == ends.other.renewals == 1
    assert ChaCha20Poly1305(first).decrypt(bytes(12), keys(ends.leader).seal(b"to"), b"") == b"to"
    assert ChaCha20Poly1305(second).decrypt(bytes(12), keys(ends.other).seal(b"fro"), b"") == b"fro"
    assert keys(ends.leader)._binding == keys(ends.other)._binding == transcript


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["leader", "other"])
def test_keys_that_the_peer_does_not_renew_end_the_connection(side: str) -> None:
    """Nothing is said, and nothing opened, past the limit, whatever else the peer answers."""
    ends = Ends()
    mine: Connection = getattr(ends, side)
    peer = keys(ends.other if mine is ends.leader else ends.leader)
    while mine.state is State.OPEN:
        assert ends.now <= START + RENEWAL.stop_after
        mine.receive_untrusted(frame(peer.seal(encode_message(Gossip("t", b"")))), ends.now)
        ends.now += 0.5
        mine.advance(ends.now)
    assert ends.now == START + RENEWAL.stop_after
    assert [e for e in mine.take_events() if isinstance(e, ConnectionEnded)] == [
        ConnectionEnded(KEYS_USED_UP)
    ]


@pytest.mark.parametrize("first", ["leader", "other"])
def test_who_slept_for_long_uses_the_old_keys_for_their_renewal(first: str) -> None:
    """Both did (a laptop was closed on them): nobody was there to renew anything."""
    ends = Ends()
    ends.run(5)
    ends.now += 3600
    getattr(ends, first).advance(ends.now)
    ends.deliver()
    ends.run(2)
    assert ends.leader.state is ends.other.state is State.OPEN
    assert ends.leader.renewals == ends.other.renewals == 1


def test_but_no_longer_than_it_would_wait_for_a_sign_of_life() -> None:
    ends = Ends()
    ends.run(5)
    woken = ends.now = ends.now + 3600
    peer = keys(ends.other)
    while ends.leader.state is State.OPEN:  # the peer speaks on, and renews nothing
        ends.leader.advance(ends.now)
        ends.leader.receive_untrusted(frame(peer.seal(encode_message(Gossip("t", b"")))), ends.now)
        ends.now += 1.5  # (and standing still again and again is no excuse)
    assert ends.now <= woken + 2 * ConnectionSettings().dead_after


def test_not_one_record_more_than_the_limit_is_sealed_or_opened() -> None:
    ends = Ends(QUICK)
    sent = 0
    for _ in range(100):
        ends.other.send(Gossip("topology", b""))
        sent += bool(ends.other.take_bytes())
    assert keys(ends.other)._send.nonce == 60
    assert sent < 60  # (the welcome was one, too)
    ends.other.advance(START + 1)
    assert ended(ends.other) == KEYS_USED_UP

    ends = Ends(QUICK)
    ends.leader._settings = ends.other._settings
    hostile = keys(ends.other)
    for _ in range(100):
        record = frame(hostile.seal(encode_message(Gossip("topology", b""))))
        ends.leader.receive_untrusted(record, START)
    *heard, last = ends.leader.take_events()
    assert last == ConnectionEnded(KEYS_USED_UP)
    assert 0 < len(heard) < 60


# --- hostile ---------------------------------------------------------------------------------


def said(sender: Connection, receiver: Connection, step: int, body: bytes) -> str:
    record = frame(keys(sender).seal(encode_message(Renewal(step, body))))
    receiver.receive_untrusted(record, START)
    return ended(receiver)


@pytest.mark.parametrize("step", [2, 3])
def test_words_out_of_turn_end_the_connection_for_the_other_side(step: int) -> None:
    ends = Ends()
    assert "not the next one" in said(ends.leader, ends.other, step, b"")


@pytest.mark.parametrize("step", [1, 2, 3])
def test_and_for_the_leader(step: int) -> None:
    ends = Ends()
    assert "not the next one" in said(ends.other, ends.leader, step, b"")


@pytest.mark.parametrize("body", [b"", bytes(48), bytes(96), b"\xff" * 48])
def test_an_offer_or_answer_that_does_not_verify_changes_nothing_and_ends_it(body: bytes) -> None:
    ends = Ends()
    old = keys(ends.other)._send
    said(ends.leader, ends.other, 1, body)
    assert keys(ends.other)._send is old
    ends = Ends()
    keys(ends.leader).offer()
    old = keys(ends.leader)._send
    said(ends.other, ends.leader, 2, body)
    assert keys(ends.leader)._send is old


def test_whoever_has_the_keys_but_no_static_key_leads_no_renewal() -> None:
    ends = Ends()
    thief = keys(ends.leader)
    thief._static = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    ends.other.receive_untrusted(frame(thief.offer()), START)
    assert "does not verify" in ended(ends.other)


def test_an_offer_of_another_connection_is_none_of_this_one() -> None:
    ends, others = Ends(), Ends()
    keys(others.leader)._binding = bytes(32)
    strange = keys(others.leader)._handshake().write_message(b"")
    assert "does not verify" in said(ends.leader, ends.other, 1, strange)


def test_renewals_are_rationed() -> None:
    ends = Ends()
    for _ in range(MOST_RENEWALS):
        ends.leader._out += frame(keys(ends.leader).offer())
        ends.deliver()
    assert ends.other.renewals == MOST_RENEWALS
    ends.leader._out += frame(keys(ends.leader).offer())
    ends.other.receive_untrusted(ends.leader.take_bytes(), START)
    assert "more often than anybody needs" in ended(ends.other)
