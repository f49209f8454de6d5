"""Can anybody but the two ends make a pair's MAC, or use one for something else?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import identity
from weave_py.crypto.pair_mac import MAC_BYTES, PairMac
from weave_py.model.errors import HandshakeError
from weave_py.model.names import PeerUID

A, B, C = identity(1), identity(2), identity(3)
LABEL = b"test"


def pair(
    ours: int = 1, theirs: int = 2, uids: tuple[int, int] = (11, 12), label: bytes = LABEL
) -> PairMac:
    """What `ours` has for `theirs`, in these lives of them."""
    other = identity(theirs)
    return PairMac(
        label,
        identity(ours),
        PeerUID(uids[0]),
        other.name,
        other.static_public,
        PeerUID(uids[1]),
    )


@given(st.binary(max_size=100))
@settings(deadline=None, max_examples=30)
def test_the_other_end_believes_it(message: bytes) -> None:
    mac = pair().of(message)
    assert len(mac) == MAC_BYTES
    theirs = pair(2, 1, (12, 11))
    assert theirs.is_right_untrusted(mac, message)
    assert not theirs.is_right_untrusted(mac, message + b"!")
    assert not theirs.is_right_untrusted(mac[1:], message)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(pair(), id="the other direction"),
        pytest.param(pair(2, 1, (12, 99)), id="another life of the sender"),
        pytest.param(pair(2, 1, (99, 11)), id="another life of the receiver"),
        pytest.param(pair(2, 1, (12, 11), b"other"), id="another purpose"),
        pytest.param(pair(3, 1, (12, 11)), id="another receiver"),
        pytest.param(pair(2, 3, (12, 11)), id="another sender"),
    ],
)
def test_nobody_else_does(other: PairMac) -> None:
    assert not other.is_right_untrusted(pair().of(b"hello"), b"hello")


def test_who_certifies_anothers_static_key_is_not_taken_for_it() -> None:
    """C cannot use what A says to B, though it calls A's static key its own."""
    theirs = PairMac(LABEL, B, PeerUID(12), C.name, A.static_public, PeerUID(11))
    assert not theirs.is_right_untrusted(pair().of(b"hello"), b"hello")


def test_a_key_that_shares_no_secret_is_refused() -> None:
    with pytest.raises(HandshakeError):
        PairMac(LABEL, A, PeerUID(11), B.name, bytes(32), PeerUID(12))
