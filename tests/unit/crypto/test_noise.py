"""Does the Noise engine speak as the public vectors do, and does no altered byte get through?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from weave_py.crypto.noise import MAX_MESSAGE, CipherState, Handshake
from weave_py.crypto.symmetric import NONCE_LIMIT
from weave_py.model.errors import AuthenticationError, HandshakeError, PeerError

CONTROL = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s"
SESSION = "Noise_KK_25519_ChaChaPoly_BLAKE2s"
PSK = b"p" * 32

PROTOCOLS = [
    f"Noise_{pattern}_25519_{cipher}_{hash_name}"
    for pattern, cipher, hash_name in itertools.product(
        [
            *("NN", "NNpsk0", "NNpsk2", "XX", "XXpsk3"),
            *("KK", "KKpsk0", "KKpsk2", "IK", "IKpsk1", "IKpsk2"),
        ],
        ("ChaChaPoly", "AESGCM"),
        ("BLAKE2s", "SHA256"),
    )
]


def key(seed: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(seed: int) -> bytes:
    return key(seed).public_key().public_bytes_raw()


def control_pair(
    psk_a: bytes = PSK, psk_b: bytes = PSK, prologue_b: bytes = b"prologue"
) -> tuple[Handshake, Handshake]:
    return (
        Handshake(
            CONTROL,
            initiator=True,
            prologue=b"prologue",
            static=key(1),
            ephemeral=key(2),
            psk=psk_a,
        ),
        Handshake(
            CONTROL,
            initiator=False,
            prologue=prologue_b,
            static=key(3),
            ephemeral=key(4),
            psk=psk_b,
        ),
    )


def session_pair(remote_of_b: bytes | None = None) -> tuple[Handshake, Handshake]:
    return (
        Handshake(
            SESSION,
            initiator=True,
            prologue=b"",
            static=key(1),
            ephemeral=key(2),
            remote_static=public(3),
        ),
        Handshake(
            SESSION,
            initiator=False,
            prologue=b"",
            static=key(3),
            ephemeral=key(4),
            remote_static=remote_of_b or public(1),
        ),
    )


def converse(a: Handshake, b: Handshake) -> None:
    while not a.is_finished:
        payload = b"payload"
        assert b.read_message_untrusted(a.write_message(payload)) == payload
        a, b = b, a


# --- public vectors


def from_vector(vector: Any, side: str) -> Handshake:
    def optional(name: str) -> bytes | None:
        return bytes.fromhex(vector[f"{side}_{name}"]) if f"{side}_{name}" in vector else None

    static, ephemeral = optional("static"), optional("ephemeral")
    assert ephemeral is not None
    return Handshake(
        vector["protocol_name"],
        initiator=side == "init",
        prologue=bytes.fromhex(vector[f"{side}_prologue"]),
        static=None if static is None else X25519PrivateKey.from_private_bytes(static),
        ephemeral=X25519PrivateKey.from_private_bytes(ephemeral),
        remote_static=optional("remote_static"),
        psk=bytes.fromhex(vector[f"{side}_psks"][0]) if f"{side}_psks" in vector else None,
    )


def test_the_file_holds_nothing_that_we_leave_out(vectors: Callable[[str], Any]) -> None:
    names = [v["protocol_name"] for v in vectors("noise-cacophony.json")["vectors"]]
    assert len(names) == 44
    assert set(names) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_public_vector(protocol: str, vectors: Callable[[str], Any]) -> None:
    (vector,) = (
        v for v in vectors("noise-cacophony.json")["vectors"] if v["protocol_name"] == protocol
    )
    writer, reader = from_vector(vector, "init"), from_vector(vector, "resp")
    messages = [
        (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]
    ]
    while not writer.is_finished:
        payload, expected = messages.pop(0)
        assert writer.write_message(payload) == expected
        assert reader.read_message_untrusted(expected) == payload
        writer, reader = reader, writer
    assert writer.hash == reader.hash == bytes.fromhex(vector["handshake_hash"])
    (writer_send, writer_receive), (reader_send, reader_receive) = writer.split(), reader.split()
    assert len(messages) >= 2
    for payload, expected in messages:
        assert writer_send.seal(payload) == expected
        assert reader_receive.open_untrusted(expected) == payload
        writer_send, reader_send = reader_send, writer_send
        writer_receive, reader_receive = reader_receive, writer_receive


# --- a handshake as we use it


def test_both_sides_know_each_other_and_share_keys() -> None:
    a, b = control_pair()
    converse(a, b)
    assert [a.remote_static, b.remote_static] == [public(3), public(1)]
    assert a.hash == b.hash
    send, receive = a.split_keys()
    assert b.split_keys() == (receive, send)
    assert send != receive
    assert len(send) == len(receive) == 32
    assert a.hash == b.hash


def test_the_psk_may_come_late_but_not_too_late() -> None:
    a, b = (
        Handshake(CONTROL, initiator=i, prologue=b"", static=key(1 + i), ephemeral=key(3 + i))
        for i in (True, False)
    )
    b.read_message_untrusted(a.write_message(b""))
    a.read_message_untrusted(b.write_message(b""))
    with pytest.raises(ValueError, match="psk must be set"):
        a.write_message(b"")
    a.set_psk(PSK)
    third = a.write_message(b"third")
    with pytest.raises(ValueError, match="psk must be set"):
        b.read_message_untrusted(third)
    b.set_psk(PSK)
    assert b.read_message_untrusted(third) == b"third"


def test_a_wrong_psk_is_noticed_in_the_third_message() -> None:
    a, b = control_pair(psk_b=b"q" * 32)
    b.read_message_untrusted(a.write_message(b""))
    a.read_message_untrusted(b.write_message(b""))
    with pytest.raises(AuthenticationError):
        b.read_message_untrusted(a.write_message(b""))
    assert not b.is_finished
    with pytest.raises(ValueError, match="dead"):
        b.split_keys()


def test_another_prologue_is_noticed() -> None:
    a, b = control_pair(prologue_b=b"Prologue")
    # With a psk pattern even the first payload is under a key that depends on the transcript.
    with pytest.raises(AuthenticationError):
        b.read_message_untrusted(a.write_message(b""))


def test_kk_refuses_a_stranger() -> None:
    a, b = session_pair(remote_of_b=public(9))
    with pytest.raises(AuthenticationError):
        b.read_message_untrusted(a.write_message(b""))


@pytest.mark.parametrize(
    ("make", "number"),
    [(control_pair, 0), (control_pair, 1), (control_pair, 2), (session_pair, 0), (session_pair, 1)],
)
def test_no_flipped_bit_gets_through(
    make: Callable[[], tuple[Handshake, Handshake]], number: int
) -> None:
    """Every bit of every message, the one that X25519 ignores included: the transcript has it."""
    for position in itertools.count():
        writer, reader = make()
        for _ in range(number):
            reader.read_message_untrusted(writer.write_message(b"x"))
            writer, reader = reader, writer
        message = bytearray(writer.write_message(b"x"))
        if position == len(message) * 8:
            break
        message[position // 8] ^= 1 << position % 8
        with pytest.raises(AuthenticationError):
            reader.read_message_untrusted(bytes(message))
        assert not reader.is_finished


@given(st.binary(max_size=300), st.integers(0, 2))
def test_any_bytes_raise_only_peer_errors_and_end_the_handshake(junk: bytes, number: int) -> None:
    writer, reader = control_pair()
    for _ in range(number):
        reader.read_message_untrusted(writer.write_message(b""))
        writer, reader = reader, writer
    with pytest.raises(PeerError):
        reader.read_message_untrusted(junk)
    with pytest.raises(HandshakeError):
        reader.read_message_untrusted(writer.write_message(b""))
    with pytest.raises(ValueError, match="not our turn"):
        reader.write_message(b"")


def test_an_all_zero_exchange_is_refused_on_either_side() -> None:
    _, b = xx_pair()
    b.read_message_untrusted(bytes(32))
    with pytest.raises(HandshakeError, match="low order"):
        b.write_message(b"")
    a, _ = xx_pair()
    a.write_message(b"")
    with pytest.raises(HandshakeError, match="low order"):
        a.read_message_untrusted(bytes(32 + 48 + 16))


def xx_pair() -> tuple[Handshake, Handshake]:
    name = "Noise_XX_25519_ChaChaPoly_BLAKE2s"
    return (
        Handshake(name, initiator=True, prologue=b"", static=key(1), ephemeral=key(2)),
        Handshake(name, initiator=False, prologue=b"", static=key(3), ephemeral=key(4)),
    )


def test_turns_are_kept() -> None:
    a, b = xx_pair()
    with pytest.raises(ValueError, match="not our turn"):
        b.write_message(b"")
    with pytest.raises(ValueError, match="last message"):
        a.split()
    with pytest.raises(ValueError, match="last message"):
        _ = a.hash
    with pytest.raises(HandshakeError, match="out of turn"):
        a.read_message_untrusted(b"")


def test_keys_are_given_out_once() -> None:
    a, b = xx_pair()
    converse(a, b)
    a.split()
    with pytest.raises(ValueError, match="split"):
        a.split_keys()


def test_messages_have_a_largest_size() -> None:
    a, b = xx_pair()
    with pytest.raises(HandshakeError, match="too long"):
        b.read_message_untrusted(bytes(MAX_MESSAGE + 1))
    with pytest.raises(ValueError, match="does not fit"):
        a.write_message(bytes(MAX_MESSAGE - 31))
    a, b = xx_pair()
    assert b.read_message_untrusted(a.write_message(bytes(MAX_MESSAGE - 32)))


@pytest.mark.parametrize(
    ("protocol", "given_keys"),
    [
        ("Noise_XX_448_ChaChaPoly_BLAKE2s", {"static": key(1)}),
        ("Noise_KKpsk3_25519_ChaChaPoly_BLAKE2s", {"static": key(1), "remote_static": public(2)}),
        ("Noise_XX_25519_ChaChaPoly_BLAKE2s", {}),
        ("Noise_XX_25519_ChaChaPoly_BLAKE2s", {"static": key(1), "remote_static": public(2)}),
        ("Noise_XX_25519_ChaChaPoly_BLAKE2s", {"static": key(1), "psk": PSK}),
        (CONTROL, {"static": key(1), "psk": b"short"}),
        (SESSION, {"static": key(1)}),
        (SESSION, {"static": key(1), "remote_static": b"short"}),
    ],
)
def test_keys_that_do_not_fit_the_pattern(protocol: str, given_keys: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"static": None, **given_keys}
    with pytest.raises(ValueError, match=r"Noise|psk|static"):
        Handshake(protocol, initiator=True, prologue=b"", ephemeral=key(5), **arguments)


def test_no_secret_shows() -> None:
    a, b = control_pair()
    converse(a, b)
    assert repr(a) == f"<Handshake {CONTROL} initiator after 3 of 3 messages>"
    assert repr(CipherState(b"k" * 32, "AESGCM")) == "<CipherState nonce=0>"


# --- cipher states


@pytest.mark.parametrize("cipher", ["ChaChaPoly", "AESGCM"])
def test_cipher_states_stay_in_step(cipher: str) -> None:
    ours, theirs = CipherState(b"k" * 32, cipher), CipherState(b"k" * 32, cipher)
    first, second = ours.seal(b"first", b"ad"), ours.seal(bytearray(b"second"))
    assert len(first) == len(b"first") + 16
    with pytest.raises(AuthenticationError):
        theirs.open_untrusted(second)
    with pytest.raises(AuthenticationError):
        theirs.open_untrusted(first, b"other ad")
    with pytest.raises(AuthenticationError):
        theirs.open_untrusted(b"short")
    assert theirs.open_untrusted(first, b"ad") == b"first"
    with pytest.raises(AuthenticationError):
        theirs.open_untrusted(first, b"ad")
    assert theirs.open_untrusted(memoryview(second)) == b"second"
    assert ours.nonce == theirs.nonce == 2


def test_the_counter_never_wraps() -> None:
    last = NONCE_LIMIT - 1
    ours = CipherState(b"k" * 32, "ChaChaPoly", nonce=last)
    theirs = CipherState(b"k" * 32, "ChaChaPoly", nonce=last)
    sealed = ours.seal(b"last")
    assert theirs.open_untrusted(sealed) == b"last"
    with pytest.raises(ValueError, match="rekey"):
        ours.seal(b"one too many")
    with pytest.raises(AuthenticationError, match="reconnect"):
        theirs.open_untrusted(sealed)


def test_a_static_key_can_be_read_ahead_of_its_message() -> None:
    """And nothing has changed by it, right or wrong."""
    a, b = (
        Handshake(CONTROL, initiator=i, prologue=b"", static=key(1 + i), ephemeral=key(3 + i))
        for i in (True, False)
    )
    with pytest.raises(ValueError, match="no static key"):
        b.peek_static_untrusted(b"x" * 99)
    b.read_message_untrusted(a.write_message(b""))
    with pytest.raises(HandshakeError, match="out of turn"):
        b.peek_static_untrusted(b"x" * 99)
    a.read_message_untrusted(b.write_message(b""))
    for side in (a, b):
        side.set_psk(PSK)
    third = a.write_message(b"hello")
    assert b.peek_static_untrusted(third) == public(2)
    with pytest.raises(AuthenticationError):
        b.peek_static_untrusted(bytes(48) + third[48:])
    with pytest.raises(HandshakeError, match="too short"):
        b.peek_static_untrusted(third[:47])
    assert b.remote_static is None
    assert b.read_message_untrusted(third) == b"hello"
