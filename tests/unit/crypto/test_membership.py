"""Do only members of one network get one psk, and is weak advice given where it is due?"""

from __future__ import annotations

import hashlib
import random
import unicodedata

import pytest

from weave_py.crypto.membership import Membership, password_strength_warning
from weave_py.model.errors import ConfigError, HandshakeError


def psks(ours: Membership, theirs: Membership) -> tuple[bytes, bytes]:
    a, b = ours.share(lambda n: b"a" * n), theirs.share(lambda n: b"b" * n)
    return (
        ours.psk_untrusted(a, b.public, initiator=True),
        theirs.psk_untrusted(b, a.public, initiator=False),
    )


@pytest.fixture(scope="module")
def member() -> Membership:
    return Membership.from_password("pässword")


def test_members_agree(member: Membership) -> None:
    composed_otherwise = unicodedata.normalize("NFD", "pässword")
    assert composed_otherwise != "pässword"
    ours, theirs = psks(member, Membership.from_password(composed_otherwise, "weave"))
    assert ours == theirs
    assert len(ours) == 32
    assert not member.is_open


@pytest.mark.parametrize(
    "other",
    [
        lambda: Membership.from_password("passwort"),
        lambda: Membership.from_password("pässword", "another network"),
        Membership.open_network,
    ],
)
def test_others_do_not(member: Membership, other: object) -> None:
    assert callable(other)
    ours, theirs = psks(member, other())
    assert ours != theirs


def test_an_open_network_agrees_with_itself() -> None:
    ours, theirs = psks(Membership.open_network(), Membership.open_network())
    assert ours == theirs
    assert Membership.open_network().is_open


def test_the_derivation_never_changes(member: Membership) -> None:
    """Peers of different versions must agree: a change here splits networks."""
    with_password = hashlib.sha256(psks(member, member)[0]).hexdigest()
    assert with_password == "da7c1be4a45dedcf753b55bc86d40480222b8365b3d2028dce371d1798a98cbe"
    opened = Membership.open_network()
    without = hashlib.sha256(psks(opened, opened)[0]).hexdigest()
    assert without == "e8b407c5546253bf667322171b9595aff2a0f3c151607963c1c76ce87785067a"


def test_bad_shares_are_refused(member: Membership) -> None:
    share = member.share(lambda n: b"a" * n)
    for bad in (bytes(32), b"short"):
        with pytest.raises(HandshakeError):
            member.psk_untrusted(share, bad, initiator=True)


@pytest.mark.parametrize("password", ["", "\udcff"])
def test_what_is_no_password(password: str) -> None:
    with pytest.raises(ConfigError, match=r"^password"):
        Membership.from_password(password)


def test_no_secret_shows(member: Membership) -> None:
    assert repr(member) == "<Membership password>"
    assert repr(Membership.open_network()) == "<Membership open>"


@pytest.mark.parametrize(
    "password",
    [
        "secret",
        "password1",
        "Tr0ub4dor&3",
        "correct horse",
        "12345678901234567890",
        "a" * 40,
        "abcdefghijklmnopqrstuvwxyz",
        "monkey monkey monkey monkey monkey",
        "",
    ],
)
def test_weak_passwords_get_advice(password: str) -> None:
    advice = password_strength_warning(password)
    assert advice is not None
    assert "\n" not in advice
    assert not password or password not in advice


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple gang",
        "kV7xq2LmP9sTzR4w",
        "f47ac10b58cc4372a5670e02b2c3d479",
        "пароль длинный и очень сложный",
    ],
)
def test_strong_passwords_get_none(password: str) -> None:
    assert password_strength_warning(password) is None


def test_generated_passwords_get_none() -> None:
    dice = random.Random(1)
    for _ in range(500):
        password = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz234567", k=26))
        assert password_strength_warning(password) is None
