"""Are the rules of the lab's NATs, and what is to be expected of them, what the names promise?"""

from __future__ import annotations

from itertools import product

import pytest

from weave_py.lab.internet import Internet, Site, pair_of
from weave_py.lab.nat_pairs import Kinds, expected
from weave_py.lab.nats import TRANSLATING, Gateway, Kind, rules

HOST = ("192.168.1.2", 6783)


@pytest.mark.parametrize("kind", Kind)
def test_rules(kind: Kind) -> None:
    text = rules(Gateway(kind, "198.51.100.11", (HOST,)))
    assert text.count("{") == text.count("}")
    assert ("masquerade" in text) == (kind in TRANSLATING)
    assert ("dnat to" in text) == (kind in (Kind.FULL_CONE, Kind.RESTRICTED, Kind.HAIRPIN))
    assert ("fully-random" in text) == (kind in (Kind.SYMMETRIC, Kind.TCP_OUT))
    assert ("meta l4proto udp drop" in text) == (kind in (Kind.NO_UDP, Kind.TCP_OUT))
    drops_strangers = kind not in (Kind.OPEN, Kind.NO_UDP, Kind.MASQUERADE)
    assert ('iifname "out" drop' in text) == drops_strangers
    assert ('iifname "out" ct state new drop' in text) == (kind is not Kind.MASQUERADE)


@pytest.mark.parametrize(("one", "other"), list(product(Kind, Kind)))
def test_what_is_expected_is_the_same_from_both_ends(one: Kind, other: Kind) -> None:
    there, back = expected(one, other)
    assert expected(other, one) == Kinds(back, there)


def test_some_expectations() -> None:
    assert expected(Kind.PORT_RESTRICTED, Kind.FIREWALL).text == "direct"
    assert expected(Kind.SYMMETRIC, Kind.FULL_CONE).text == "direct"
    assert expected(Kind.SYMMETRIC, Kind.DOUBLE).text == "relay"
    assert expected(Kind.NO_UDP, Kind.SYMMETRIC).text == "tcp"
    assert expected(Kind.TCP_OUT, Kind.SYMMETRIC).text == "tcp/relay"


def test_hosts_and_sites() -> None:
    net = Internet([(Kind.OPEN, 1), (Kind.DOUBLE, 2)])
    assert net.topology.hosts == ("h1", "h2", "h3", "h4")
    assert [site.hosts for site in net.sites] == [("h2",), ("h3", "h4")]
    assert list(net.sites[1].gateways()) == ["g2", "g2x"]
    assert [len(site.hosts) for site in pair_of(Kind.HAIRPIN, Kind.HAIRPIN).sites] == [2]
    assert len(pair_of(Kind.HAIRPIN, Kind.DOUBLE).sites) == 2


def test_the_second_gateway_translates_what_the_first_one_made() -> None:
    outer, inner = Site(3, Kind.DOUBLE, ("h2",)).gateways().values()
    assert outer.inner == ((inner.outer, inner.outer_port(1)),)
    assert outer.outer_port(1) != inner.outer_port(1)
