"""Do we call peers where they can be reached, and nobody else on a stranger's word?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import claim, neighbour, place, synthetic_name
from weave_py.link.path import PathSettings
from weave_py.model.names import Endpoint
from weave_py.router.candidates import (
    MAX_ANNOUNCED_SEEN,
    MAX_SEEN_PLACES,
    CandidateAddresses,
    announced,
    is_symmetric,
    seen_by_neighbours,
    usable,
)
from weave_py.wire.topology import MAX_ENDPOINTS

A, B, C = (synthetic_name(n) for n in (1, 2, 3))


def test_where_somebody_was_called_counts_if_both_say_so() -> None:
    """The address of an incoming connection has a port that nobody listens on, and what only one
    end says of a connection anybody could make up."""
    to_c = neighbour(3)._replace(name=C)
    from_a = neighbour(1)._replace(name=A, outbound=False)
    records = {
        A: claim([to_c._replace(address=place(3)), to_c._replace(name=B, outbound=False)]),
        B: claim([to_c._replace(address=place(2)), to_c._replace(address=place(3))]),
        C: claim([from_a]),
    }
    assert seen_by_neighbours(C, records.get) == [place(3)]
    assert [seen_by_neighbours(name, records.get) for name in (A, B)] == [[], []]
    assert seen_by_neighbours(C, lambda _: None) == []


def test_order_stays_and_repetitions_go() -> None:
    places = [place(3), place(1), place(3), place(2), place(1)]
    assert usable(iter(places)) == (place(3), place(1), place(2))


def test_our_own_hosts_are_left_out_on_any_port() -> None:
    ours = place(1)
    places = [ours, ours._replace(port=1), place(2)]
    assert usable(places, {ours.host}.__contains__) == (place(2),)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "224.0.0.1", "239.255.255.250", "169.254.1.1"),
        *("::1", "::", "ff02::1", "ff05::1", "fe80::1", "fe80::1%eth0"),
    ],
)
def test_addresses_that_lead_nowhere_or_to_too_many(host: str) -> None:
    assert usable([Endpoint(host, 6783)]) == ()


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "fd00::1"])
def test_plain_unicast_addresses(host: str) -> None:
    assert usable([Endpoint(host, 6783)]) == (Endpoint(host, 6783),)


# --- what we announce --------------------------------------------------------------------

PUBLIC = "198.51.100.7"


def test_what_peers_see_comes_behind_our_own_addresses_once() -> None:
    seen = [Endpoint(PUBLIC, 40_000), Endpoint(PUBLIC, 40_000), place(1)]
    assert announced([place(1), place(2)], seen) == [place(1), place(2), seen[0]]
    assert announced([place(1)], []) == [place(1)]


def test_of_many_ports_the_two_that_most_peers_see() -> None:
    """A NAT with another port for every peer would have us announce each of them."""
    ports = [*range(50_000, 50_100), 50_050, 50_060, 50_060]
    assert announced([], [Endpoint(PUBLIC, port) for port in ports]) == [
        Endpoint(PUBLIC, 50_060),
        Endpoint(PUBLIC, 50_050),
    ]
    many = [Endpoint(f"198.51.100.{n}", 1) for n in range(20)]
    assert len(announced([], many)) == MAX_ANNOUNCED_SEEN


endpoints = st.builds(
    Endpoint, st.integers(0, 250).map("10.0.0.{}".format), st.sampled_from([6783, 7000])
)


@given(*[st.lists(endpoints, max_size=40)] * 3)
def test_all_that_is_told_is_read_and_nothing_unlikely_pushes_out_what_is_likely(
    likely: list[Endpoint], observed: list[Endpoint], unlikely: list[Endpoint]
) -> None:
    """t01: both limits are one, and what peers see has room in any case."""
    likely, unlikely = list(dict.fromkeys(likely)), list(dict.fromkeys(unlikely))
    unlikely = [each for each in unlikely if each not in likely]
    told = announced(likely, observed, unlikely)
    assert len(told) <= MAX_ENDPOINTS
    assert len(told) == len(set(told))
    seen = [each for each in told if each not in likely and each not in unlikely]
    assert len(seen) <= MAX_ANNOUNCED_SEEN
    assert bool(seen) == any(each not in {*likely, *unlikely} for each in observed)
    kept = likely[: MAX_ENDPOINTS - len(seen)]
    assert told[: len(kept)] == kept
    if any(each in unlikely for each in told):
        assert set(likely) <= set(told)
    record = replace(claim([]), endpoints=tuple(told))
    read = CandidateAddresses({A: record}.keys(), {A: record}.get, lambda _: None, lambda _: False)
    assert list(read[A]) == told


def test_links_have_room_for_all_that_is_read() -> None:
    """t01: the reader does not cut again."""
    assert PathSettings().max_candidates >= 1 + MAX_ENDPOINTS + MAX_SEEN_PLACES


def test_a_nat_with_a_port_for_every_peer_shows() -> None:
    one = replace(claim([]), endpoints=(place(1), Endpoint(PUBLIC, 1)))
    assert not is_symmetric(one)
    assert is_symmetric(replace(one, endpoints=(*one.endpoints, Endpoint(PUBLIC, 2))))
