"""Who may join the network? Those who know its password; or, in an open network, anyone.

The password is strengthened once, when the process starts; each handshake then runs CPace over the
result (`weave_py.crypto.cpace`) and mixes its outcome in as a Noise psk. An open network does the
same with a public string in the password's place, so there is one handshake, not two.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from weave_py.crypto.cpace import Share, generator
from weave_py.crypto.strength import password_strength_warning
from weave_py.model.errors import ConfigError

__all__ = ["DEFAULT_NETWORK", "Membership", "password_strength_warning"]

DEFAULT_NETWORK = "weave"

_SALT_LABEL = b"weave-py/password-salt/1"
_CHANNEL_LABEL = b"weave-py/membership/1"
_OPEN_PRS = b"weave-py/open-network/1"
_PSK_LABEL = b"psk"

_ARGON2_MEMORY_KIB = 64 * 1024
_ARGON2_PASSES = 3
_ARGON2_LANES = 1
_PRS_BYTES = 32
_SALT_BYTES = 16
_SCALAR_BYTES = 32


class Membership:
    """What our side of every control handshake proves about the network it belongs to."""

    __slots__ = ("_generator", "is_open")

    def __init__(self, prs: bytes, network: str, *, is_open: bool) -> None:
        # Once per process and from our own bytes only: its timing depends on the password.
        self._generator = generator(prs, _CHANNEL_LABEL + network.encode())
        self.is_open = is_open
        """Whether anybody may join: then a finished handshake says nothing about membership."""

    @classmethod
    def open_network(cls) -> Membership:
        """A network without a secret."""
        return cls(_OPEN_PRS, DEFAULT_NETWORK, is_open=True)

    @classmethod
    def from_password(cls, password: str, network: str = DEFAULT_NETWORK) -> Membership:
        """The network called `network` of those who know `password`. Takes about 0.2 s, 64 MiB.

        Argon2id (RFC 9106) over the NFC form, so that it does not matter how a keyboard composes
        accents. ConfigError for an empty password or one that is not valid text.
        """
        if not password:
            raise ConfigError("password is empty: set one, or leave it out for an open network")
        try:
            secret = unicodedata.normalize("NFC", password).encode()
        except UnicodeEncodeError:
            raise ConfigError("password is not valid UTF-8: check how it is passed in") from None
        salt = hashlib.blake2s(_SALT_LABEL + network.encode()).digest()[:_SALT_BYTES]
        kdf = Argon2id(
            salt=salt,
            length=_PRS_BYTES,
            iterations=_ARGON2_PASSES,
            lanes=_ARGON2_LANES,
            memory_cost=_ARGON2_MEMORY_KIB,
        )
        return cls(kdf.derive(secret), network, is_open=False)

    def __repr__(self) -> str:
        return f"<Membership {'open' if self.is_open else 'password'}>"

    def share(self, token_bytes: Callable[[int], bytes]) -> Share:
        """Our half of one CPace exchange; `token_bytes(n)` gives n random bytes. One use only."""
        return Share(self._generator, token_bytes(_SCALAR_BYTES))

    def psk_untrusted(self, share: Share, their_public: bytes, initiator: bool) -> bytes:
        """The psk (32 bytes) of this handshake, from our share and theirs.

        Equal on both sides only if their passwords are. HandshakeError if `their_public` is
        malformed or of low order.
        """
        secret = share.shared_secret_untrusted(their_public, initiator=initiator)
        return hashlib.blake2s(_PSK_LABEL + secret).digest()
