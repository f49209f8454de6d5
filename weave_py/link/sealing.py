"""How is one record sealed, and how opened? The fast gear of a session: keys and counters.

Nothing here allocates more than the AEAD call itself needs. A Sealer belongs to one direction of
one epoch and dies with it, so a (key, nonce) pair is used once: the counter only goes up.
"""

from __future__ import annotations

from weave_py.crypto.replay import ReplayWindow
from weave_py.crypto.suites import Buffer, Suite
from weave_py.wire.sleeve import NONCE_FLAGS

# Reaching this many records stops sending until there is a new epoch (security reference: GCM's
# bound at 2^32 packets of 1,500 bytes is 2^-52; records are larger, so stay well below).
MAX_RECORDS = 1 << 32


class Sealer:
    """Seals records for the peer, under the session index it chose."""

    __slots__ = ("_encrypt_into", "_nonce", "counter", "session")

    def __init__(self, suite: Suite, key: bytes, session: int) -> None:
        self._encrypt_into = suite.new(key).encrypt_into
        self._nonce = bytearray(12)
        self.session = session
        self.counter = 0

    def seal(self, flags: int, plain: memoryview, out: memoryview) -> int:
        """Seal `plain` into `out` (16 bytes longer); returns the record's counter."""
        counter = self.counter + 1
        self.counter = counter
        nonce = self._nonce
        nonce[0] = flags & NONCE_FLAGS
        nonce[4:] = counter.to_bytes(8, "little")
        self._encrypt_into(nonce, plain, None, out)
        return counter

    @property
    def is_spent(self) -> bool:
        return self.counter >= MAX_RECORDS


class Opener:
    """Opens the peer's records of one epoch; refuses what was opened before."""

    __slots__ = ("_decrypt_into", "_nonce", "opened", "window")

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._decrypt_into = suite.new(key).decrypt_into
        self._nonce = bytearray(12)
        self.window = ReplayWindow()
        self.opened = 0
        """Records that were authentic and new."""

    def open_untrusted(self, flags: int, counter: int, sealed: Buffer, out: memoryview) -> bool:
        """Open into `out` (16 bytes shorter than `sealed`). False if it was seen before;
        raises cryptography's InvalidTag if it is not authentic (then `out` is garbage)."""
        if not self.window.accepts(counter):
            return False
        nonce = self._nonce
        nonce[0] = flags & NONCE_FLAGS
        nonce[4:] = counter.to_bytes(8, "little")
        self._decrypt_into(nonce, sealed, None, out)
        self.window.mark(counter)
        self.opened += 1
        return True
