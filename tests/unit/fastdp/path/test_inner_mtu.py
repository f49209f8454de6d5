"""Does what we say fits really fit, to the byte?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastdp.path.inner_mtu import inner_mtu


def datagram(inner: int, sealed: bool) -> int:
    """Of a UDP payload's size the outer IP packet has the same room as for this frame."""
    udp_payload = 8 + 14 + inner
    if not sealed:
        return udp_payload
    padded = -(-(8 + udp_payload + 2) // 4) * 4
    return 8 + 8 + padded + 16 - 8


def test_on_ethernet() -> None:
    assert inner_mtu(1472, sealed=False) == 1450
    assert inner_mtu(1452, sealed=False) == 1430  # over IPv6
    assert inner_mtu(1472, sealed=True) == 1416  # measured with Linux 6.12


@given(st.integers(100, 65_507), st.booleans())
def test_what_fits_fits_and_one_byte_more_does_not(datagram_bytes: int, sealed: bool) -> None:
    inner = inner_mtu(datagram_bytes, sealed)
    assert datagram(inner, sealed) <= datagram_bytes < datagram(inner + 1, sealed)


@given(st.integers(0, 60), st.booleans())
def test_too_little_is_nothing(datagram_bytes: int, sealed: bool) -> None:
    assert inner_mtu(datagram_bytes, sealed) >= 0
