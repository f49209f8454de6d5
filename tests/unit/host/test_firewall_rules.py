"""Which chains get our rule, and is it recognised whoever lists it? (t08)"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.host.firewall import legacy, nft
from weave_py.host.firewall.rules import Chain, Place, is_plain, missing

BOTH = frozenset((4, 6))
BRIDGE = "weave"
PLACE = Place("nft", "ip", "filter", "FORWARD")
OLD = Place("iptables-legacy", "ip", "filter", "FORWARD")

COUNTER = {"counter": {"packets": 7, "bytes": 588}}
COMMENT = {"xt": {"type": "match", "name": "comment"}}
STATE = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established"]}}
PARTS = (
    COUNTER,
    COMMENT,
    STATE,
    {"accept": None},
    {"drop": None},
    {"reject": {"type": "icmpx", "expr": "admin-prohibited"}},
    {"xt": {"type": "target", "name": "REJECT"}},
    {"xt": None},
    {"jump": {"target": "DOCKER-USER"}},
    {"goto": {"target": "filter_FWD_public"}},
    *nft.accept_rule(BRIDGE, PLACE)["expr"][:2],
    *nft.accept_rule("br-1", PLACE)["expr"][:2],
)
Json = dict[str, Any]


def listing(place: Place, policy: str, rules: list[Json]) -> Json:
    """As nft prints a chain."""
    where = {"family": place.family, "table": place.table}
    chain = where | {"name": place.chain, "type": "filter", "hook": "forward", "policy": policy}
    shown = [
        where | {"chain": place.chain, "handle": handle} | rule
        for handle, rule in enumerate(rules, 10)
    ]
    return {"nftables": [{"metainfo": {}}, {"chain": chain}, *({"rule": r} for r in shown)]}


def chain_of(policy: str, *rules: list[Json], comment: str = "") -> Chain:
    noted = {"comment": comment} if comment else {}
    shown = [{"expr": rule} | noted for rule in rules]
    (chain,) = nft.chains_of([listing(PLACE, policy, shown)], BRIDGE)
    return chain


OURS = nft.accept_rule(BRIDGE, PLACE)["expr"]


def test_a_policy_or_a_last_rule_that_drops_what_nobody_named() -> None:
    assert chain_of("drop").denies
    assert chain_of("accept", [STATE, {"accept": None}], [COUNTER, {"drop": None}]).denies
    assert chain_of("accept", [{"reject": {}}]).denies
    assert chain_of("accept", [COUNTER, PARTS[6]]).denies  # as iptables writes REJECT
    assert chain_of("accept", [COMMENT, {"reject": {}}]).denies
    assert not chain_of("accept").denies
    assert not chain_of("accept", [STATE, {"drop": None}]).denies
    assert not chain_of("accept", [{"drop": None}], [{"accept": None}]).denies
    assert not chain_of("accept", [{"xt": None}]).denies


def test_our_rule_is_known_as_nft_and_as_iptables_wrote_it() -> None:
    assert chain_of("drop", OURS, comment="weave-py").ours == (10,)
    restored = [*OURS[:2], COMMENT, COUNTER, OURS[2]]
    assert chain_of("drop", [COUNTER, {"drop": None}], restored).ours == (11,)


def test_what_somebody_else_wrote_the_same_way_serves_and_stays() -> None:
    chain = chain_of("drop", OURS)
    assert (chain.accepts, chain.ours) == (True, ())
    assert missing([chain], BOTH) == []


@pytest.mark.parametrize(
    "rule",
    [
        [OURS[0], OURS[2]],  # into anywhere
        [OURS[0], OURS[1], STATE, OURS[2]],
        [OURS[0], OURS[1], {"drop": None}],
        nft.accept_rule("weave1", PLACE)["expr"],
    ],
)
def test_what_says_less_or_other_than_ours_is_not_ours(rule: list[Json]) -> None:
    chain = chain_of("drop", rule, comment="weave-py")
    assert (chain.accepts, chain.ours) == (False, ())


def test_only_chains_of_the_forward_hook_that_see_ip() -> None:
    document = listing(PLACE, "drop", [])
    for change in ({"hook": "input"}, {"type": "nat"}, {"family": "bridge"}, {"hook": None}):
        other = copy.deepcopy(document)
        other["nftables"][1]["chain"].update(change)
        assert nft.forward_places([other]) == []
    assert nft.forward_places([document]) == [PLACE]


@pytest.mark.parametrize(("family", "versions"), [("ip", {4}), ("ip6", {6}), ("inet", {4, 6})])
def test_only_of_the_ip_versions_that_netfilter_sees(family: str, versions: set[int]) -> None:
    chain = Chain(Place("nft", family, "filter", "FORWARD"), denies=True)
    for version in (4, 6):
        assert bool(missing([chain], frozenset((version,)))) is (version in versions)
    assert missing([chain], frozenset()) == []


rules = st.lists(st.lists(st.sampled_from(PARTS), max_size=4), max_size=6)


@given(policy=st.sampled_from(["accept", "drop"]), exprs=rules)
def test_once_put_there_nothing_is_missing_and_taking_it_away_is_as_before(
    policy: str, exprs: list[list[Json]]
) -> None:
    before = [{"expr": expr} for expr in exprs]
    (chain,) = nft.chains_of([listing(PLACE, policy, before)], BRIDGE)
    places = missing([chain], BOTH)
    assert places in ([], [PLACE])
    assert not places or (chain.denies and not chain.ours)
    inserted = [nft.accept_rule(BRIDGE, place) for place in places]
    (after,) = nft.chains_of([listing(PLACE, policy, [*inserted, *before])], BRIDGE)
    assert missing([after], BOTH) == []
    if places:
        assert after.ours == (10,)


def test_what_iptables_lists() -> None:
    def read(*lines: str) -> Chain:
        return legacy.chain_of("\n".join(lines), OLD, BRIDGE)

    ours = "-A FORWARD -i weave -o weave -m comment --comment weave-py -j ACCEPT"
    assert read("-P FORWARD DROP") == Chain(OLD, denies=True)
    assert not read("-P FORWARD ACCEPT", "-A FORWARD -i eth0 -j DROP").denies
    assert read("-P FORWARD ACCEPT", "-A FORWARD -j REJECT --reject-with icmp-x").denies
    assert read("-P FORWARD DROP", "-A FORWARD -j DOCKER-USER", ours).ours == (2,)
    plain = ours.replace(" -m comment --comment weave-py", "")
    assert read("-P FORWARD DROP", plain) == Chain(OLD, denies=True, accepts=True)
    odd = '-A FORWARD -m comment --comment "it\'s mine" -j DROP'
    assert read("-P FORWARD ACCEPT", odd).denies
    for other in (plain.replace("-o weave", "-o weave1"), plain.replace("-i", "! -i")):
        assert not read("-P FORWARD DROP", other).accepts


@pytest.mark.parametrize("name", ["we*", "weave+", 'a"b', "", "a" * 16, "a\\b", "ä"])
def test_a_name_that_a_rule_would_take_for_something_else(name: str) -> None:
    assert not is_plain(name)


@pytest.mark.parametrize("name", ["weave", "br-1", "wv.0", "A_b"])
def test_usual_names(name: str) -> None:
    assert is_plain(name)
