"""Which of this host's addresses come first when there is no room for all?"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.underlay import OwnAddress
from weave_py.router.own_addresses import is_likely, ranked

LAN = OwnAddress("192.168.77.2")
DEFAULT = OwnAddress("192.168.9.9", is_default=True)
PUBLIC = OwnAddress("8.8.4.4")
DOCKER = OwnAddress("172.17.0.1", is_lonely=True)
SECOND = OwnAddress("10.0.0.1", is_lonely=True)


@pytest.mark.parametrize(
    ("addresses", "used", "expected"),
    [
        ([DOCKER, SECOND, LAN], (), [LAN, SECOND, DOCKER]),  # a bridge without a wire comes last
        ([LAN, PUBLIC], (), [PUBLIC, LAN]),  # global before private
        ([PUBLIC, DEFAULT], (), [DEFAULT, PUBLIC]),  # but the default route's before that
        ([PUBLIC, DEFAULT, LAN], (LAN.host,), [LAN, DEFAULT, PUBLIC]),  # and what is used first
        ([DOCKER, DEFAULT], (DOCKER.host,), [DOCKER, DEFAULT]),  # whatever it is
        (
            [OwnAddress("10.1.0.1", is_default=True, is_lonely=True), SECOND],
            (),
            [OwnAddress("10.1.0.1", is_default=True, is_lonely=True), SECOND],
        ),  # (a bridge whose wire is a veth)
    ],
)
def test_the_likely_ones_come_first(
    addresses: list[OwnAddress], used: tuple[str, ...], expected: list[OwnAddress]
) -> None:
    """t01."""
    assert ranked(addresses, used) == expected


hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
own = st.lists(st.builds(OwnAddress, hosts, st.booleans(), st.booleans()), max_size=30)


@given(own, st.data())
def test_a_ranking_loses_nothing_and_does_not_depend_on_the_order(
    addresses: list[OwnAddress], data: st.DataObject
) -> None:
    addresses = list({address.host: address for address in addresses}.values())
    used = data.draw(st.sets(st.sampled_from([a.host for a in addresses]))) if addresses else set()
    first = ranked(addresses, used)
    assert sorted(a.host for a in first) == sorted(a.host for a in addresses)
    mixed = list(addresses)
    random.Random(1).shuffle(mixed)
    assert ranked(mixed, used) == first
    likely = [is_likely(address, used) for address in first]
    assert likely == sorted(likely, reverse=True)
    assert [a.host in used for a in first] == sorted((a.host in used for a in first), reverse=True)
