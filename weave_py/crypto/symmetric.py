"""How does a Noise handshake turn what was said so far into keys?

The symmetric objects of the Noise Protocol Framework, revision 34: CipherState (§5.1) and
SymmetricState (§5.2). Both hashes we offer give 32 bytes, so keys are never truncated.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from typing import Literal

from cryptography.exceptions import InvalidTag

from weave_py.crypto.suites import NONCE_BYTES, TAG_BYTES, Buffer, Suite
from weave_py.model.errors import AuthenticationError

NONCE_LIMIT = 2**64 - 1
"""Reserved by Noise §5.1; the last nonce in use is one less."""

# The two ciphers write the same counter in different byte orders (Noise §12.3, §12.4).
_CIPHERS: dict[str, tuple[Suite, Literal["little", "big"]]] = {
    "ChaChaPoly": (Suite.CHACHA20_POLY1305, "little"),
    "AESGCM": (Suite.AES_256_GCM, "big"),
}
_HASHES = {"BLAKE2s": "blake2s", "SHA256": "sha256"}


class CipherState:
    """One direction of an ordered channel: a key and an implicit counter.

    Each side must open in the order the other sealed. `cipher` is Noise's name of it.
    """

    __slots__ = ("_aead", "_nonce", "_order")

    def __init__(self, key: bytes, cipher: str, *, nonce: int = 0) -> None:
        suite, self._order = _CIPHERS[cipher]
        self._aead = suite.new(key)
        self._nonce = nonce

    def __repr__(self) -> str:
        return f"<CipherState nonce={self._nonce}>"

    @property
    def nonce(self) -> int:
        """Messages so far: the counter that the next one takes."""
        return self._nonce

    def seal(self, plaintext: Buffer, ad: Buffer = b"") -> bytes:
        """Encrypt the next message; 16 bytes longer. ValueError when the counter is used up."""
        if self._nonce >= NONCE_LIMIT:
            raise ValueError("cipher state has sealed all messages it may: rekey before this")
        sealed = self._aead.encrypt(self._nonce_bytes(), plaintext, ad)
        self._nonce += 1
        return sealed

    def open_untrusted(self, ciphertext: Buffer, ad: Buffer = b"") -> bytes:
        """Decrypt the next message; AuthenticationError, and no step on, if it does not verify."""
        if self._nonce >= NONCE_LIMIT:
            raise AuthenticationError("channel has carried all messages it may: reconnect")
        try:
            plaintext = self._aead.decrypt(self._nonce_bytes(), ciphertext, ad)
        except InvalidTag:
            raise AuthenticationError("message does not verify: altered, or another key") from None
        self._nonce += 1
        return plaintext

    def _nonce_bytes(self) -> bytes:
        return self._nonce.to_bytes(8, self._order).rjust(NONCE_BYTES, b"\0")


class SymmetricState:
    """Chaining key, transcript hash and, once a secret was mixed in, a cipher."""

    __slots__ = ("_chaining_key", "_cipher", "_cipher_name", "_hash_name", "hash")

    def __init__(self, protocol: str, cipher: str, hash_name: str) -> None:
        self._cipher_name = cipher
        self._hash_name = _HASHES[hash_name]
        self._cipher: CipherState | None = None
        name = protocol.encode()
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else self._digest(name)
        self._chaining_key = self.hash

    def copy(self) -> SymmetricState:
        """The same so far. What is mixed into one of the two does not show in the other."""
        twin = copy.copy(self)
        twin._cipher = copy.copy(self._cipher)
        return twin

    @property
    def tag_bytes(self) -> int:
        """By how much a field grows when encrypted now: nothing before the first key."""
        return TAG_BYTES if self._cipher else 0

    def mix_hash(self, data: bytes) -> None:
        self.hash = self._digest(self.hash + data)

    def mix_key(self, secret: bytes) -> None:
        self._chaining_key, key = self._hkdf(secret, 2)
        self._cipher = CipherState(key, self._cipher_name)

    def mix_key_and_hash(self, secret: bytes) -> None:
        self._chaining_key, hashed, key = self._hkdf(secret, 3)
        self.mix_hash(hashed)
        self._cipher = CipherState(key, self._cipher_name)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        sealed = self._cipher.seal(plaintext, self.hash) if self._cipher else plaintext
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash_untrusted(self, sealed: bytes) -> bytes:
        plaintext = self._cipher.open_untrusted(sealed, self.hash) if self._cipher else sealed
        self.mix_hash(sealed)
        return plaintext

    def peek_untrusted(self, sealed: bytes) -> bytes:
        """What `decrypt_and_hash_untrusted` would return now, without a step on."""
        return copy.copy(self._cipher).open_untrusted(sealed, self.hash) if self._cipher else sealed

    def split(self) -> tuple[bytes, bytes]:
        """Keys of 32 bytes: initiator to responder, then the other direction."""
        first, second = self._hkdf(b"", 2)
        return first, second

    def _digest(self, data: bytes) -> bytes:
        return hashlib.new(self._hash_name, data).digest()

    def _hkdf(self, secret: bytes, outputs: int) -> list[bytes]:
        """Noise §4.3: RFC 5869 with the chaining key as salt and no info."""
        extracted = hmac.digest(self._chaining_key, secret, self._hash_name)
        keys = [b""]
        for number in range(1, outputs + 1):
            keys.append(hmac.digest(extracted, keys[-1] + bytes([number]), self._hash_name))
        return keys[1:]
