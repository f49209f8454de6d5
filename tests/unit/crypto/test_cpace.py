"""Does CPace agree with the draft's vectors, and do only equal passwords give equal keys?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from weave_py.crypto.cpace import Share, generator
from weave_py.crypto.exchange import shared_secret_untrusted
from weave_py.model.errors import HandshakeError

G = generator(b"password", b"ci")


def test_the_draft_s_vectors(vectors: Callable[[str], Any]) -> None:
    v = {k: bytes.fromhex(x) for k, x in vectors("cpace.json")["G_25519"].items()}
    assert generator(v["PRS"], v["CI"], v["sid"]) == v["g"]
    a, b = Share(v["g"], v["ya"]), Share(v["g"], v["yb"])
    assert (a.public, b.public) == (v["Ya"], v["Yb"])
    for share, theirs, initiator in ((a, b.public, True), (b, a.public, False)):
        key = share.shared_secret_untrusted(
            theirs, initiator=initiator, ad_a=v["ADa"], ad_b=v["ADb"], sid=v["sid"]
        )
        assert key == v["ISK_IR"]


SCALAR = "af46e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449aff"
# Appendix B.1.10: points that are harmless once the unused top bit is ignored (RFC 7748 §5).
HARMLESS = {
    "Invalid Y6": "d8e2c776bbacd510d09fd9278b7edcd25fc5ae9adfba3b6e040e8d3b71b21806",
    "Invalid Y8": "c85c655ebe8be44ba9c0ffde69f2fe10194458d137f09bbff725ce58803cdb38",
    "Invalid Y9": "db64dafa9b8fdd136914e61461935fe92aa372cb056314e1231bc4ec12417456",
    "Invalid Y10": "e062dcd5376d58297be2618c7498f55baa07d7e03184e8aada20bca28888bf7a",
    "Invalid Y11": "993c6ad11c4c29da9a56f7691fd0ff8d732e49de6250b6c2e80003ff4629a175",
}


def test_the_draft_s_low_order_points_are_refused(vectors: Callable[[str], Any]) -> None:
    points = vectors("cpace.json")["X25519_points"]
    scalar = bytes.fromhex(SCALAR)
    share, private = Share(G, scalar), X25519PrivateKey.from_private_bytes(scalar)
    assert set(HARMLESS) < set(points)
    assert len(points) == 12
    for name, text in points.items():
        point = bytes.fromhex(text)
        if name in HARMLESS:
            assert shared_secret_untrusted(private, point).hex() == HARMLESS[name]
        else:
            with pytest.raises(HandshakeError, match="low order"):
                share.shared_secret_untrusted(point, initiator=True)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_share_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(HandshakeError, match="32 bytes"):
        Share(G, b"s" * 32).shared_secret_untrusted(b"x" * length, initiator=False)


scalars = st.binary(min_size=32, max_size=32)


@given(scalars, scalars, st.binary(max_size=200))
def test_equal_passwords_agree(scalar_a: bytes, scalar_b: bytes, password: bytes) -> None:
    point = generator(password)
    a, b = Share(point, scalar_a), Share(point, scalar_b)
    key = a.shared_secret_untrusted(b.public, initiator=True)
    assert key == b.shared_secret_untrusted(a.public, initiator=False)
    assert len(key) == 64


@pytest.mark.parametrize(
    ("point", "arguments"),
    [
        (generator(b"Password", b"ci"), {}),
        (generator(b"password", b"c"), {}),
        (generator(b"password", b"ci", b"sid"), {}),
        (G, {"ad_a": b"x"}),
        (G, {"ad_b": b"x"}),
        (G, {"sid": b"x"}),
        (G, {"initiator": True}),
    ],
)
def test_anything_different_gives_another_key(point: bytes, arguments: dict[str, Any]) -> None:
    a, b = Share(G, b"a" * 32), Share(point, b"b" * 32)
    ours = a.shared_secret_untrusted(b.public, initiator=True)
    theirs = b.shared_secret_untrusted(a.public, **{"initiator": False, **arguments})
    assert ours != theirs


def test_fields_cannot_slide_into_one_another() -> None:
    points = {generator(b"ab", b"c"), generator(b"a", b"bc"), generator(b"ab", b"", b"c")}
    assert len(points) == 3


def test_long_fields_have_long_lengths() -> None:
    assert len({generator(b"x" * n) for n in (127, 128, 129, 16384)}) == 4


def test_no_secret_shows() -> None:
    assert repr(Share(G, b"a" * 32)) == f"<Share {Share(G, b'a' * 32).public.hex()[:8]}…>"
