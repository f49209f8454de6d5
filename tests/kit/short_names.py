"""Two keys under one name, without a search of millions: names that are as short as 14 bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tests.kit.builders import tokens
from weave_py.crypto import identity
from weave_py.crypto.identity import Identity, peer_name_of


class _Short:
    """hashlib, of whose hashes only the first two bytes say anything."""

    def __init__(self, data: bytes = b"") -> None:
        self._digest = hashlib.blake2s(data).digest()

    def digest(self) -> bytes:
        return self._digest[:2].ljust(32, b"\0")

    @staticmethod
    def blake2s(data: bytes) -> _Short:
        return _Short(data)


@contextmanager
def short_names() -> Iterator[None]:
    """While the context lasts; identities made before keep their long ones."""
    peer_name_of.cache_clear()
    try:
        with patch.object(identity, "hashlib", _Short):
            yield
    finally:
        peer_name_of.cache_clear()


def twins(seed: int = 0, count: int = 2) -> list[Identity]:
    """Identities with one name; within `short_names`."""
    dice, found = tokens(seed), dict[bytes, list[Identity]]()
    while True:
        made = Identity.create(dice)
        same = found.setdefault(made.name, [])
        same.append(made)
        if len(same) == count:
            return same
