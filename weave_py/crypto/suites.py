"""Which ciphers can seal data, which one do two peers use, and how do secrets become keys?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from weave_py.model.errors import HandshakeError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

Buffer: TypeAlias = bytes | bytearray | memoryview


class Aead(Protocol):
    """A keyed cipher, as `cryptography` (47 and later) makes them. Nonces are 12 bytes.

    Decryption raises `cryptography.exceptions.InvalidTag` for anything that does not verify,
    input shorter than a tag included.
    """

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """Ciphertext followed by the tag, in new bytes."""

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None) -> bytes:
        """The plaintext, in new bytes."""

    def encrypt_into(
        self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, buf: Buffer
    ) -> int:
        """Write ciphertext and tag to `buf`: writable, exactly `len(data) + TAG_BYTES` long.

        Returns that length. `buf` may begin where `data` begins (sealing in place).
        """

    def decrypt_into(
        self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, buf: Buffer
    ) -> int:
        """Write the plaintext to `buf`: writable, exactly `len(data) - TAG_BYTES` long.

        Returns that length. `buf` may begin where `data` begins (opening in place). On InvalidTag
        `buf` holds unauthenticated plaintext: it must not be read.
        """


class Suite(IntEnum):
    """An AEAD of the data plane; the number is its id on the wire."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2

    @property
    def text(self) -> str:
        """As users see it: `aes-256-gcm`, `chacha20-poly1305`."""
        return self.name.lower().replace("_", "-")

    def new(self, key: Buffer) -> Aead:
        """The cipher under a 32-byte key; ValueError for another length."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"{self.text} takes a key of {KEY_BYTES} bytes, not {len(key)}")
        return AESGCM(key) if self is Suite.AES_256_GCM else ChaCha20Poly1305(key)


_SUPPORTED = frozenset(map(int, Suite))


def choose(ours: Sequence[int], theirs: Sequence[int]) -> Suite:
    """The suite for two peers that each list theirs fastest first.

    Least sum of ranks wins, then the lower id: symmetric, so both sides choose alike. Ids we do
    not know are passed over. HandshakeError if no suite is in both lists.
    """
    common = _SUPPORTED.intersection(ours, theirs)
    if not common:
        raise HandshakeError(
            f"no cipher in common: we offer {list(ours)}, they offer {list(theirs)}"
        )
    return Suite(min(common, key=lambda suite: (ours.index(suite) + theirs.index(suite), suite)))


def derive(secret: bytes, label: str, length: int, *, salt: bytes = b"") -> bytes:
    """`length` key bytes of `secret` for the purpose `label` (HKDF-SHA256, RFC 5869).

    Different labels give independent keys. ValueError if `length` is over 8,160.
    """
    return hkdf_sha256(secret, label.encode(), length, salt=salt)


def hkdf_sha256(secret: bytes, info: bytes, length: int, *, salt: bytes = b"") -> bytes:
    """Extract and expand (RFC 5869 §2) where the context is bytes, not a fixed label."""
    return HKDF(SHA256(), length, salt, info).derive(secret)
