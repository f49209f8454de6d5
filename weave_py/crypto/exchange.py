"""What secret do two X25519 keys share?

The one place where a public key from the network meets a private key of ours.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from weave_py.model.errors import HandshakeError

KEY_BYTES = 32


def shared_secret_untrusted(ours: X25519PrivateKey, theirs: bytes) -> bytes:
    """X25519 (RFC 7748 §5, with the zero check of §6.1): 32 bytes.

    HandshakeError if `theirs` is not 32 bytes or is a point of low order, with which every private
    key would share the same, all-zero secret.
    """
    if len(theirs) != KEY_BYTES:
        raise HandshakeError(f"public key must be {KEY_BYTES} bytes, not {len(theirs)}")
    try:
        return ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise HandshakeError("public key is a point of low order: refused") from None


def public_bytes(private: X25519PrivateKey) -> bytes:
    """The public half as it travels, 32 bytes."""
    return private.public_key().public_bytes_raw()
