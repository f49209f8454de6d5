"""Whom do we believe that we are where it says it sees us?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import synthetic_name
from weave_py.model.names import Endpoint
from weave_py.router.witnesses import believed

A, B, C, LIAR = (synthetic_name(n) for n in range(1, 5))
PRIVATE, OUTER = Endpoint("192.168.1.2", 6783), Endpoint("198.51.100.7", 37_000)
PUBLIC = Endpoint("198.51.100.9", 6783)
LIE = Endpoint("203.0.113.9", 1000)


def test_the_only_one_who_sees_us_from_outside_is_believed() -> None:
    """As in a network of one public router and others behind NATs."""
    assert believed([(A, OUTER)], {PRIVATE.host}) == [OUTER]
    inside = [(B, PRIVATE), (C, PRIVATE)]
    assert OUTER in believed([*inside, (A, OUTER)], {PRIVATE.host}), "those are on our own network"


def test_one_that_two_others_contradict_is_not() -> None:
    """F10: it had us announce third parties, and all the others probe them."""
    assert LIE not in believed([(A, OUTER), (B, OUTER), (LIAR, LIE)], {PRIVATE.host})
    seen = [(A, PUBLIC), (B, PUBLIC), (LIAR, LIE)]
    assert believed(seen, {PUBLIC.host}) == [PUBLIC, PUBLIC], "a public address is not translated"


def test_one_liar_has_us_announce_one_host_at_the_most() -> None:
    """F10: however many peers it invents behind itself."""
    lies = [(LIAR, Endpoint(f"203.0.113.{n}", 1000)) for n in range(1, 50)]
    told = believed([(A, OUTER), *lies], {PRIVATE.host})
    assert OUTER in told
    assert len(set(told)) == 2
    assert believed(lies, ()) == believed(list(reversed(lies)), ()), "and not another each time"


def test_other_ports_of_the_same_host_are_our_nats() -> None:
    other = OUTER._replace(port=40_000)
    assert believed([(A, OUTER), (B, other)], {PRIVATE.host}) == [OUTER, other]


def test_families_are_told_apart() -> None:
    six = Endpoint("2001:db8::7", 6783)
    assert six in believed([(A, OUTER), (B, OUTER), (C, six)], {PRIVATE.host})


places = st.builds(Endpoint, st.sampled_from(["10.0.0.1", "8.8.8.8", "9.9.9.9", "::1"]), st.just(1))
testimonies = st.lists(st.tuples(st.sampled_from([A, B, C, LIAR]), places), max_size=12)


@given(testimonies, st.sets(st.sampled_from(["10.0.0.1", "8.8.8.8"])))
def test_what_two_see_is_always_told_and_nothing_that_nobody_sees(
    said: list[tuple[bytes, Endpoint]], own: set[str]
) -> None:
    told = believed(said, own)  # type: ignore[arg-type]
    assert set(told) <= {place for _, place in said}
    for _, place in said:
        if len({by for by, at in said if at.host == place.host}) > 1:
            assert place in told
    if len({by for by, _ in said}) < 2:
        assert bool(told) == any(place.host not in own for _, place in said)
