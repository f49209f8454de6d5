"""Who is a peer, and how does it prove that it said something?

A peer is an Ed25519 key (RFC 8032). Everything signed is signed for one context, so that what was
signed for one purpose proves nothing for another. Noise wants a key of its own (X25519), which the
identity certifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.exchange import KEY_BYTES, public_bytes
from weave_py.model.errors import AuthenticationError
from weave_py.model.names import NAME_BYTES, PeerName

SIGNATURE_BYTES = 64

_NAME_LABEL = b"weave-py/peer-name/1"
_SIGN_LABEL = b"weave-py/signature/1"
_STATIC_CONTEXT = b"static-key"

# The y-coordinates of the eight points of small order on edwards25519. Under such a "key", fixed
# bytes verify as a signature of many or all messages, so it identifies nobody.
_P = 2**255 - 19
_ORDER_8_Y = int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y})


@lru_cache(maxsize=4096)  # asked for each record that comes: always the same few
def peer_name_of(identity_public: bytes) -> PeerName:
    """The label of a key: 48 bits of its hash, as a locally administered unicast MAC address.

    Easy to find another key for: a label for humans, never a proof. ValueError unless 32 bytes.
    """
    if len(identity_public) != KEY_BYTES:
        raise ValueError(f"identity key must be {KEY_BYTES} bytes, not {len(identity_public)}")
    name = bytearray(hashlib.blake2s(_NAME_LABEL + identity_public).digest()[:NAME_BYTES])
    name[0] = name[0] & ~0x01 | 0x02
    return PeerName(bytes(name))


class Identity:
    """Our own keys: what we sign with, what Noise uses, and the certificate that ties them."""

    __slots__ = ("_signing", "certificate", "name", "public", "static_private", "static_public")

    def __init__(self, signing: Ed25519PrivateKey, static: X25519PrivateKey) -> None:
        self._signing = signing
        self.static_private = static
        self.static_public = public_bytes(static)
        """32 bytes, X25519."""
        self.public = signing.public_key().public_bytes_raw()
        """32 bytes, Ed25519: the whole identity."""
        self.name = peer_name_of(self.public)
        self.certificate = self.sign(_STATIC_CONTEXT, self.static_public)
        """64 bytes: our signature that `static_public` is ours."""

    @classmethod
    def create(cls, token_bytes: Callable[[int], bytes]) -> Identity:
        """A new identity; `token_bytes(n)` must give n cryptographically random bytes."""
        return cls.from_secrets(token_bytes(KEY_BYTES), token_bytes(KEY_BYTES))

    @classmethod
    def from_secrets(cls, signing: bytes, static: bytes) -> Identity:
        """The identity whose `secrets` were kept; ValueError unless 32 bytes each."""
        return cls(
            Ed25519PrivateKey.from_private_bytes(signing),
            X25519PrivateKey.from_private_bytes(static),
        )

    def __repr__(self) -> str:
        return f"<Identity {self.name.hex(':')}>"

    def secrets(self) -> tuple[bytes, bytes]:
        """The private halves, signing and static, 32 bytes each: for the state directory only."""
        return self._signing.private_bytes_raw(), self.static_private.private_bytes_raw()

    def sign(self, context: bytes, body: bytes) -> bytes:
        """64 bytes that prove we said `body` for the purpose `context` (at most 255 bytes)."""
        return self._signing.sign(_signed(context, body))


def verify_untrusted(public: bytes, context: bytes, body: bytes, signature: bytes) -> None:
    """Return if the owner of `public` signed `body` for `context`; else AuthenticationError."""
    verify_bare_untrusted(public, _signed(context, body), signature)


def check_certificate_untrusted(public: bytes, static_public: bytes, certificate: bytes) -> None:
    """Return if the owner of `public` says `static_public` is its; else AuthenticationError."""
    if len(static_public) != KEY_BYTES:
        raise AuthenticationError(f"static key must be {KEY_BYTES} bytes, not {len(static_public)}")
    verify_untrusted(public, _STATIC_CONTEXT, static_public, certificate)


def verify_bare_untrusted(public: bytes, message: bytes, signature: bytes) -> None:
    """Ed25519 without a context; refuses keys of small order. AuthenticationError if not valid.

    For formats that others defined; ours go through `verify_untrusted`.
    """
    if len(public) != KEY_BYTES:
        raise AuthenticationError(f"identity key must be {KEY_BYTES} bytes, not {len(public)}")
    y = (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _P
    if y in _SMALL_ORDER_Y:
        raise AuthenticationError("identity key is a point of small order: refused")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise AuthenticationError("signature does not verify: altered, or another key") from None


def _signed(context: bytes, body: bytes) -> bytes:
    """What is really signed: no two pairs of context and body give the same bytes."""
    if len(context) > 255:
        raise ValueError(f"context must be at most 255 bytes, not {len(context)}")
    return _SIGN_LABEL + bytes([len(context)]) + context + body
