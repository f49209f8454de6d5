"""How many exchanges of X25519 did that take? Counted, in all of the process, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from weave_py.crypto import noise, pair_mac
from weave_py.crypto.exchange import shared_secret_untrusted


class Exchanges:
    def __init__(self) -> None:
        self.count = 0

    def exchange(self, ours: X25519PrivateKey, theirs: bytes) -> bytes:
        self.count += 1
        return shared_secret_untrusted(ours, theirs)


@contextmanager
def counted() -> Iterator[Exchanges]:
    """Of handshakes and of the MACs before them."""
    exchanges = Exchanges()
    with pytest.MonkeyPatch.context() as patch:
        for module in (noise, pair_mac):
            patch.setattr(module, "shared_secret_untrusted", exchanges.exchange)
        yield exchanges
