"""Which ESP keys follow from a session with a peer?

Each epoch of a session (`weave_py.link.session`) has one Noise key per direction. As the sleeve's
data key follows from it under a label of its own, so does the key for ESP (HKDF-SHA256, RFC 5869):

    direction key ── "weave-py esp" ──▶ 32 bytes AES-256 and 4 bytes of salt (RFC 4106 §8.1)

The SPI is the session index of whoever receives: both ends know it, and no two epochs of a router
share one. Indexes from 1 to 255 are no SPIs (RFC 4303 §2.1 reserves them, and 0), so a session
chooses its own, and accepts its peer's, from `MIN_SPI` on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from weave_py.crypto.suites import derive
from weave_py.model.fast import EspKey

MIN_SPI = 256
_MAX_SPI = 0xFFFF_FFFF
_LABEL = "weave-py esp"
_KEY_BYTES = 36


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """What ESP needs of one epoch of a session, as one end holds it."""

    ours: int
    """Our session index, under which the peer sends to us."""
    theirs: int
    """The peer's."""
    send: bytes = field(repr=False)
    """The direction keys (32 bytes), as they come out of the Noise handshake."""
    receive: bytes = field(repr=False)


def esp_key(direction_key: bytes, spi: int) -> EspKey:
    """The key of one direction of an epoch. ValueError for an SPI that is reserved."""
    if not MIN_SPI <= spi <= _MAX_SPI:
        raise ValueError(f"session index {spi} is no SPI: it must be {MIN_SPI} to {_MAX_SPI}")
    return EspKey(spi, derive(direction_key, _LABEL, _KEY_BYTES))
