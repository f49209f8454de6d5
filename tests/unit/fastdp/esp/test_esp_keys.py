"""Do both ends of an epoch derive the same ESP keys?"""

from __future__ import annotations

import hashlib
import hmac

import pytest

from fastdp.esp.keys import MIN_SPI, EpochKeys, esp_key
from weave_py.crypto.suites import derive
from weave_py.link.session import MIN_INDEX

UP = bytes([1] * 32)


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 from first principles, without salt."""
    pseudo_random = hmac.digest(bytes(32), secret, hashlib.sha256)
    output, block = b"", b""
    for number in range(1, 3):
        block = hmac.digest(pseudo_random, block + info + bytes([number]), hashlib.sha256)
        output += block
    return output[:length]


def test_the_key_is_hkdf_of_the_direction_key() -> None:
    assert esp_key(UP, 1000).key == hkdf(UP, b"weave-py esp", 36)
    assert esp_key(UP, 1000).spi == 1000
    assert esp_key(UP, 1000).key[:32] != derive(UP, "weave-py data aes-256-gcm", 32)


@pytest.mark.parametrize("spi", [-1, 0, 1, MIN_SPI - 1, 1 << 32])
def test_reserved_spis_are_refused(spi: int) -> None:
    with pytest.raises(ValueError, match="no SPI"):
        esp_key(UP, spi)


def test_sessions_choose_indexes_that_are_spis() -> None:
    assert MIN_INDEX >= MIN_SPI
    assert esp_key(UP, MIN_SPI).spi == MIN_SPI
    assert esp_key(UP, 0xFFFF_FFFF).spi == 0xFFFF_FFFF


def test_no_key_shows_in_words() -> None:
    assert str(UP) not in repr(EpochKeys(1000, 2000, UP, UP))
    assert str(esp_key(UP, 1000).key) not in repr(esp_key(UP, 1000))
