"""How do two peers that know one password get a strong common secret out of it?

CPace over X25519 and SHA-512 (draft-irtf-cfrg-cpace, suite CPACE-X25519-SHA512). Each side sends a
`Share`; only who knows the password computes the same secret. Somebody who listens learns nothing
to test guesses against, somebody who takes part can test one guess per exchange.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto.exchange import KEY_BYTES, shared_secret_untrusted

_DOMAIN = b"CPace255"
_HASH_BLOCK_BYTES = 128
_P = 2**255 - 19
_A = 486662
"""Curve25519 is v² = u³ + A·u² + u modulo P (RFC 7748 §4.1)."""
_NON_SQUARE = 2


def generator(prs: bytes, ci: bytes = b"", sid: bytes = b"") -> bytes:
    """The base point (32 bytes) that the password-related string `prs` stands for.

    `ci` names the channel, `sid` the session; both sides must use the same. Not constant in time,
    as big integers are not: compute it once per password, never with bytes that a stranger chose,
    or its timing would tell him about the password.
    """
    # Filling the first hash block keeps `prs` apart from what follows it.
    pad = max(0, _HASH_BLOCK_BYTES - 1 - len(_prefixed(prs)) - len(_prefixed(_DOMAIN)))
    hashed = hashlib.sha512(_join(_DOMAIN, prs, bytes(pad), ci, sid)).digest()
    return _map_to_curve(hashed[:KEY_BYTES]).to_bytes(KEY_BYTES, "little")


class Share:
    """Our half of one exchange: the secret scalar (32 random bytes) and what we send of it."""

    __slots__ = ("_scalar", "public")

    def __init__(self, generator: bytes, scalar32: bytes) -> None:
        self._scalar = X25519PrivateKey.from_private_bytes(scalar32)
        self.public = shared_secret_untrusted(self._scalar, generator)
        """32 bytes to send to the other side."""

    def __repr__(self) -> str:
        return f"<Share {self.public.hex()[:8]}…>"

    def shared_secret_untrusted(
        self,
        their_public: bytes,
        *,
        initiator: bool,
        ad_a: bytes = b"",
        ad_b: bytes = b"",
        sid: bytes = b"",
    ) -> bytes:
        """The intermediate session key (64 bytes), initiator's share first in its transcript.

        `ad_a` and `ad_b` are what initiator and responder want to bind to it. HandshakeError if
        `their_public` is malformed or of low order. A different password shows only in a
        different key: the caller must go on to prove that both sides have the same.
        """
        point = shared_secret_untrusted(self._scalar, their_public)
        ya, yb = (self.public, their_public) if initiator else (their_public, self.public)
        transcript = _join(_DOMAIN + b"_ISK", sid, point, ya, ad_a, yb, ad_b)
        return hashlib.sha512(transcript).digest()


def _prefixed(data: bytes) -> bytes:
    """Length (unsigned LEB128), then the data: the draft's `prepend_len`."""
    length, prefix = len(data), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + data


def _join(*fields: bytes) -> bytes:
    return b"".join(map(_prefixed, fields))


def _map_to_curve(hashed: bytes) -> int:
    """Elligator 2 for Curve25519, u-coordinate only (RFC 9380 §6.7.1)."""
    r = (int.from_bytes(hashed, "little") & ((1 << 255) - 1)) % _P
    # The denominator is never zero: that would make -1/2 a square, and it is not one.
    candidate = -_A * pow(1 + _NON_SQUARE * r * r, -1, _P) % _P
    v_squared = (candidate**3 + _A * candidate**2 + candidate) % _P
    if _is_square(v_squared):
        return candidate
    return (-candidate - _A) % _P


def _is_square(value: int) -> bool:
    """Euler's criterion; zero counts as a square."""
    return pow(value, (_P - 1) // 2, _P) in (0, 1)
