"""Is a name a proper label of a key, and does a signature prove just what was signed?"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from weave_py.crypto.identity import (
    Identity,
    check_certificate_untrusted,
    peer_name_of,
    verify_bare_untrusted,
    verify_untrusted,
)
from weave_py.model.errors import AuthenticationError

ALICE = Identity.from_secrets(b"a" * 32, b"A" * 32)
BOB = Identity.from_secrets(b"b" * 32, b"B" * 32)


@given(st.binary(min_size=32, max_size=32))
def test_names_are_local_unicast_macs(public: bytes) -> None:
    name = peer_name_of(public)
    assert len(name) == 6
    assert name[0] & 0x03 == 0x02


def test_names_never_change() -> None:
    assert ALICE.name.hex(":") == "7a:42:6d:b9:4e:e1"
    assert ALICE.name != BOB.name
    with pytest.raises(ValueError, match="32 bytes"):
        peer_name_of(b"short")


def test_a_kept_identity_comes_back() -> None:
    again = Identity.from_secrets(*ALICE.secrets())
    assert again.public == ALICE.public
    assert again.static_public == ALICE.static_public
    assert again.certificate == ALICE.certificate
    assert ALICE.static_private.public_key().public_bytes_raw() == ALICE.static_public


def test_a_new_identity_takes_its_secrets_from_the_dice() -> None:
    rolls = iter([b"x" * 32, b"y" * 32])
    assert Identity.create(lambda n: next(rolls)[:n]).secrets() == (b"x" * 32, b"y" * 32)


@pytest.mark.parametrize(("signing", "static"), [(b"a" * 31, b"b" * 32), (b"a" * 32, b"b" * 33)])
def test_secrets_have_a_length(signing: bytes, static: bytes) -> None:
    with pytest.raises(ValueError, match="32"):
        Identity.from_secrets(signing, static)


def test_no_secret_shows() -> None:
    assert repr(ALICE) == f"<Identity {ALICE.name.hex(':')}>"


@given(st.binary(max_size=20), st.binary(max_size=100))
def test_signatures_verify(context: bytes, body: bytes) -> None:
    verify_untrusted(ALICE.public, context, body, ALICE.sign(context, body))


@given(st.integers(0, 64 * 8 - 1))
def test_no_flipped_bit_of_a_signature_verifies(bit: int) -> None:
    signature = bytearray(ALICE.sign(b"context", b"body"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationError):
        verify_untrusted(ALICE.public, b"context", b"body", bytes(signature))


def test_a_signature_is_for_one_key_context_and_body() -> None:
    signature = ALICE.sign(b"context", b"body")
    for public, context, body in [
        (BOB.public, b"context", b"body"),
        (ALICE.public, b"contextb", b"ody"),
        (ALICE.public, b"", b"contextbody"),
        (ALICE.public, b"context", b"body "),
    ]:
        with pytest.raises(AuthenticationError):
            verify_untrusted(public, context, body, signature)


@given(st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_raise_only_authentication_errors(public: bytes, signature: bytes) -> None:
    for key in (public, ALICE.public):
        with pytest.raises(AuthenticationError):
            verify_untrusted(key, b"context", b"body", signature)


def test_certificates_tie_the_static_key() -> None:
    check_certificate_untrusted(ALICE.public, ALICE.static_public, ALICE.certificate)
    for public, static, certificate in [
        (ALICE.public, BOB.static_public, ALICE.certificate),
        (BOB.public, ALICE.static_public, ALICE.certificate),
        (ALICE.public, ALICE.static_public, ALICE.sign(b"other", ALICE.static_public)),
        (ALICE.public, b"short", ALICE.sign(b"static-key", b"short")),
    ]:
        with pytest.raises(AuthenticationError):
            check_certificate_untrusted(public, static, certificate)


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def small_order_encodings() -> list[bytes]:
    """All 32-byte strings that decode to a point of order 1, 2, 4 or 8, found from the curve.

    A point has order 8 if doubling gives one of order 4, whose y is 0: doubling's y is
    (y² + x²) / (1 - d·x²·y²), so x² = -y², and the curve's equation leaves d·y⁴ + 2·y² - 1 = 0.
    """
    root = square_root((1 + D) % P)
    candidates = ((-1 + sign * root) * pow(D, -1, P) % P for sign in (1, -1))
    order_8 = [square_root(c) for c in candidates if pow(c, (P - 1) // 2, P) == 1]
    assert len(order_8) == 1
    ys = [0, 1, P - 1, order_8[0], P - order_8[0]]
    residues = [y + k * P for y in ys for k in (0, 1) if y + k * P < 2**255]
    return [(y | sign << 255).to_bytes(32, "little") for y in residues for sign in (0, 1)]


def square_root(square: int) -> int:
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square
    return root


def test_keys_of_small_order_identify_nobody() -> None:
    encodings = small_order_encodings()
    assert len(encodings) == 14
    # R = the neutral element and S = 0: under the neutral key this "signs" everything.
    everything = (1).to_bytes(32, "little") + bytes(32)
    Ed25519PublicKey.from_public_bytes(everything[:32]).verify(everything, b"any message")
    for public in encodings:
        with pytest.raises(AuthenticationError, match="small order"):
            verify_bare_untrusted(public, b"any message", everything)
