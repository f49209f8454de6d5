"""Do suites seal into our buffers, and do both sides always choose the same one?"""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from weave_py.crypto.suites import TAG_BYTES, Suite, choose, derive
from weave_py.model.errors import HandshakeError

AES, CHACHA = Suite.AES_256_GCM, Suite.CHACHA20_POLY1305


def test_ids_and_names_are_on_the_wire_and_never_change() -> None:
    assert {int(suite): suite.text for suite in Suite} == {
        1: "aes-256-gcm",
        2: "chacha20-poly1305",
    }


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("length", [0, 1, 1400, 65000])
def test_seal_and_open_in_preallocated_buffers(suite: Suite, length: int) -> None:
    aead = suite.new(bytearray(b"k" * 32))
    nonce, header = bytearray(12), memoryview(b"header")
    plain = bytearray(b"x" * length)
    wire = memoryview(bytearray(100 + length + TAG_BYTES))
    assert aead.encrypt_into(nonce, memoryview(plain), header, wire[100:]) == length + TAG_BYTES
    assert bytes(wire[100:]) == aead.encrypt(nonce, plain, header)
    opened = memoryview(bytearray(length + 7))
    assert aead.decrypt_into(nonce, wire[100:], header, opened[:length]) == length
    assert opened[:length] == plain
    assert aead.decrypt(nonce, wire[100:], header) == plain


@pytest.mark.parametrize("suite", list(Suite))
def test_seal_and_open_in_place(suite: Suite) -> None:
    aead = suite.new(b"k" * 32)
    buffer = memoryview(bytearray(b"x" * 1000 + bytes(TAG_BYTES)))
    expected = aead.encrypt(bytes(12), b"x" * 1000, None)
    aead.encrypt_into(bytes(12), buffer[:1000], None, buffer)
    assert buffer == expected
    aead.decrypt_into(bytes(12), buffer, None, buffer[:1000])
    assert buffer[:1000] == b"x" * 1000


@pytest.mark.parametrize("suite", list(Suite))
def test_what_does_not_verify(suite: Suite) -> None:
    aead = suite.new(b"k" * 32)
    sealed = bytearray(aead.encrypt(bytes(12), b"plain", b"header"))
    sealed[2] ^= 1
    with pytest.raises(InvalidTag):
        aead.decrypt_into(bytes(12), sealed, b"header", bytearray(5))
    with pytest.raises(InvalidTag):
        aead.decrypt(bytes(12), b"short", b"header")


@pytest.mark.parametrize("suite", list(Suite))
@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_only_keys_of_256_bits(suite: Suite, length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        suite.new(bytes(length))


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        ([1, 2], [1, 2], AES),
        ([2, 1], [2, 1], CHACHA),
        ([1, 2], [2, 1], AES),  # a tie
        ([2, 1], [1], AES),
        ([1, 2], [2], CHACHA),
        ([9, 2, 1], [1, 9, 2], AES),
        ([7, 8, 2, 1], [2, 1], CHACHA),
    ],
)
def test_choice(ours: list[int], theirs: list[int], chosen: Suite) -> None:
    assert choose(ours, theirs) is chosen
    assert choose(theirs, ours) is chosen


@pytest.mark.parametrize(("ours", "theirs"), [([1], [2]), ([1, 2], []), ([3], [3]), ([], [])])
def test_nothing_in_common(ours: list[int], theirs: list[int]) -> None:
    with pytest.raises(HandshakeError, match="no cipher in common"):
        choose(ours, theirs)


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_both_sides_choose_alike(ours: list[int], theirs: list[int]) -> None:
    try:
        chosen = choose(ours, theirs)
    except HandshakeError:
        assert not {1, 2} & set(ours) & set(theirs)
        with pytest.raises(HandshakeError):
            choose(theirs, ours)
    else:
        assert chosen in ours
        assert chosen in theirs
        assert choose(theirs, ours) is chosen


def test_derived_keys_depend_on_everything() -> None:
    keys = {
        derive(secret, label, 32, salt=salt)
        for secret in (b"a", b"b")
        for label in ("one", "two")
        for salt in (b"", b"salt")
    }
    assert len(keys) == 8
    assert derive(b"a", "one", 16) == derive(b"a", "one", 32)[:16]
    with pytest.raises(ValueError, match=r"length|large"):
        derive(b"a", "one", 8161)
