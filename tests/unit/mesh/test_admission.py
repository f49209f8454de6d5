"""Is nobody looked at more often than the rations say, and does nobody pay for another?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.mesh import admission
from weave_py.mesh.admission import (
    ANSWERS,
    KNOWN_ANSWERS,
    KNOWN_PROOFS,
    PROOFS,
    Admission,
    Ration,
    site_of,
    source_of,
)

KEY, OTHER = b"k" * 32, b"o" * 32
HERE = "198.51.100.1"


def guesses(limits: Admission, host: str, now: float, static: bytes = KEY, tries: int = 100) -> int:
    """Wrong proofs that are looked at."""
    return sum(limits.visitor(host).may_prove(static, now) for _ in range(tries))


def answers(limits: Admission, host: str, now: float, tries: int = 1000) -> int:
    return sum(limits.visitor(host).may_be_answered(now) for _ in range(tries))


def test_sources_and_sites() -> None:
    assert source_of("10.0.0.1") == site_of("10.0.0.1") == "10.0.0.1"
    assert source_of("2001:db8:0:5::1") == "2001:db8:0:5::/64"
    assert site_of("2001:db8:0:5::1") == "2001:db8::/48"
    assert source_of("fe80::1%eth0") == "fe80::/64"


def test_a_source_has_some_guesses_and_then_one_a_second() -> None:
    limits = Admission(is_open=False)
    assert guesses(limits, HERE, 0.0) == PROOFS.source.burst
    assert guesses(limits, HERE, 3.0) == 3 * PROOFS.source.per_second
    assert guesses(limits, "198.51.100.2", 3.0) > 0


def test_a_site_has_no_more_than_a_source() -> None:
    """F8: an IPv6 /48 has 65,536 networks of /64."""
    limits = Admission(is_open=False)
    made = sum(guesses(limits, f"2001:db8:0:{n:x}::1", 0.0, tries=1) for n in range(1000))
    assert made == PROOFS.site.burst
    assert guesses(limits, "2001:db8:1::1", 0.0) > 0


hosts = st.one_of(
    st.integers(0, 5).map(lambda n: f"10.0.0.{n}"),
    st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda t: f"2001:db8:{t[0]}:{t[1]}::1"),
)


@given(st.lists(st.tuples(st.floats(0, 2), hosts, st.booleans()), max_size=200), st.booleans())
def test_no_sequence_of_calls_gets_more_than_the_rations(
    calls: list[tuple[float, str, bool]], some_are_known: bool
) -> None:
    """F8: whatever comes from wherever whenever, under whosever key."""
    limits = Admission(is_open=False)
    if some_are_known:
        limits.know(["10.0.0.1", "2001:db8:1:1::1"], KEY)
    now, looked_at, answered = 0.0, 0, 0
    for pause, host, is_key in calls:
        now += pause
        visitor = limits.visitor(host)
        answered += visitor.may_be_answered(now)
        looked_at += visitor.may_prove(KEY if is_key else OTHER, now)
    assert looked_at <= both(PROOFS, KNOWN_PROOFS, now)
    assert answered <= both(ANSWERS, KNOWN_ANSWERS, now)


def both(strangers: Ration, known: Ration, seconds: float) -> float:
    rates = (strangers.total, known.total)
    return sum(rate.burst + rate.per_second * seconds for rate in rates)


def test_who_is_right_pays_nothing() -> None:
    limits = Admission(is_open=False)
    for _ in range(100):
        visitor = limits.visitor(HERE)
        assert visitor.may_be_answered(0.0)
        assert visitor.may_prove(KEY, 0.0)
        visitor.has_proved(KEY, 0.0)
    assert limits.is_known(HERE)


def test_strangers_use_up_nothing_of_known_peers() -> None:
    limits = Admission(is_open=False)
    limits.know([HERE], KEY)
    for n in range(1000):
        guesses(limits, f"10.0.{n % 250}.{n // 250}", 0.0, tries=3)
        answers(limits, f"10.0.{n % 250}.{n // 250}", 0.0, tries=3)
    assert guesses(limits, HERE, 0.0, OTHER) == 0, "all strangers' are used up"
    assert guesses(limits, HERE, 0.0, KEY) == KNOWN_PROOFS.source.burst
    assert answers(limits, HERE, 0.0) == KNOWN_ANSWERS.source.burst


def test_of_known_peers_at_one_address_none_pays_for_another() -> None:
    limits = Admission(is_open=False)
    limits.know([HERE], KEY)
    limits.know([HERE], OTHER)
    assert guesses(limits, HERE, 0.0, KEY) == KNOWN_PROOFS.source.burst
    assert guesses(limits, HERE, 0.0, OTHER) == KNOWN_PROOFS.source.burst


def test_a_known_key_elsewhere_is_a_strangers() -> None:
    limits = Admission(is_open=False)
    limits.know([HERE], KEY)
    assert guesses(limits, "10.0.0.1", 0.0, KEY) == PROOFS.source.burst


def test_an_open_network_has_no_guesses_to_bound() -> None:
    """But answers cost the same."""
    limits = Admission(is_open=True)
    assert guesses(limits, HERE, 0.0) == 100
    assert answers(limits, HERE, 0.0) == ANSWERS.source.burst


def test_names_are_passed_over() -> None:
    limits = Admission(is_open=False)
    limits.know(["seed.example.net", HERE])
    assert limits.is_known(HERE)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_KNOWN", 5)
    monkeypatch.setattr(admission, "MAX_BUCKETS", 20)
    limits = Admission(is_open=False)
    for n in range(100):
        limits.know([f"10.0.1.{n}"], KEY)
        answers(limits, f"10.0.0.{n}", float(n), tries=1)
    assert len(limits._sources) == len(limits._peers) == 5
    assert limits.is_known("10.0.1.99")
    assert not limits.is_known("10.0.1.1")
    assert len(limits._answers._spent) <= 20


def test_forgetting_forgives_nothing() -> None:
    """As fast as all together may be answered, who is forgotten could have paid again already."""
    rations = (ANSWERS, KNOWN_ANSWERS, PROOFS, KNOWN_PROOFS)
    for ration in rations:
        fastest = (admission.MAX_BUCKETS / 3 - ration.total.burst) / ration.total.per_second
        for rate in (ration.source, ration.site, ration.total):
            assert rate.burst / rate.per_second < fastest
