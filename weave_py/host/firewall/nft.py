"""What do the host's nftables say about our bridge, and how are they told otherwise?

`iptables` of today writes here, too (tables `ip filter` and `ip6 filter`): one tool sees what
Docker, ufw and firewalld made, and iptables shows what it writes. In and out goes JSON
(libnftables-json(5)), so no name needs quoting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from weave_py.host.firewall import tool
from weave_py.host.firewall.rules import MARK, Chain, Place
from weave_py.model.errors import HostError

FAMILIES = ("ip", "ip6", "inet")
MOST_CHAINS = 64
"""Of the forward hook; a host has one to five."""

Json = dict[str, Any]


def read(bridge: str) -> list[Chain]:
    """All chains of the FORWARD hook. HostError if they cannot be read."""
    places = forward_places(_documents(tool.run(["nft", "-j", "list", "chains"])))
    if not places:
        return []
    if len(places) > MOST_CHAINS:
        raise HostError(f"nft: {len(places)} chains in the forward hook are too many")
    # (One by one: asked for several at once, nft 1.0.6 finds the last one only.)
    listed = (_load([{"list": {"chain": _chain(place, "name")}}]) for place in places)
    return chains_of([document for output in listed for document in _documents(output)], bridge)


def insert(bridge: str, place: Place) -> None:
    """Put our rule on top of a chain. HostError if that is refused."""
    _load([{"insert": {"rule": accept_rule(bridge, place)}}])


def delete(chain: Chain) -> None:
    """Take our rules out of it. HostError if that is refused."""
    rule = _chain(chain.place, "chain")
    _load([{"delete": {"rule": rule | {"handle": handle}}} for handle in chain.ours])


def accept_rule(bridge: str, place: Place) -> Json:
    """What goes in by our bridge and out by our bridge may pass."""
    return _chain(place, "chain") | {
        "expr": [_named("iifname", bridge), _named("oifname", bridge), {"accept": None}],
        "comment": MARK,
    }


def forward_places(documents: Iterable[Json]) -> list[Place]:
    """The chains of the FORWARD hook in what nft lists."""
    return [
        Place("nft", chain["family"], chain["table"], chain["name"])
        for chain in _entries(documents, "chain")
        if chain.get("hook") == "forward"
        and chain.get("type") == "filter"
        and chain["family"] in FAMILIES
    ]


def chains_of(documents: Iterable[Json], bridge: str) -> list[Chain]:
    """What nft lists, with the rules of each chain of the FORWARD hook."""
    documents = list(documents)
    rules: dict[tuple[str, str, str], list[Json]] = {}
    for rule in _entries(documents, "rule"):
        rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
    policies = {
        (chain["family"], chain["table"], chain["name"]): chain.get("policy")
        for chain in _entries(documents, "chain")
    }
    chains = []
    for place in forward_places(documents):
        key = (place.family, place.table, place.chain)
        there = rules.get(key, [])
        same = [rule for rule in there if _accepts(rule, bridge)]
        chains.append(
            Chain(
                place,
                denies=policies[key] == "drop" or bool(there and _denies_all(there[-1])),
                accepts=bool(same),
                ours=tuple(rule["handle"] for rule in same if _is_marked(rule)),
            )
        )
    return chains


def _accepts(rule: Json, bridge: str) -> bool:
    accept: list[Json] = accept_rule(bridge, Place("nft", "", "", ""))["expr"]
    return [part for part in _meaning(rule) if not _is_comment(part)] == accept


def _is_marked(rule: Json) -> bool:
    # (Once iptables has saved and restored it, nft no longer shows what the comment says.)
    return rule.get("comment") == MARK or any(map(_is_comment, _meaning(rule)))


def _denies_all(rule: Json) -> bool:
    meaning = [part for part in _meaning(rule) if not _is_comment(part)]
    if len(meaning) != 1:
        return False
    (part,) = meaning
    xt = part.get("xt")
    target = xt.get("name") if isinstance(xt, dict) else None
    return "drop" in part or "reject" in part or target in ("REJECT", "DROP")


def _meaning(rule: Json) -> list[Json]:
    """What decides whether it matches, and what then: neither counters nor notes."""
    return [part for part in rule.get("expr", []) if not part.keys() & {"counter", "log"}]


def _is_comment(part: Json) -> bool:
    return part.get("xt") == {"type": "match", "name": "comment"}


def _named(key: str, bridge: str) -> Json:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": bridge}}


def _chain(place: Place, name: str) -> Json:
    return {"family": place.family, "table": place.table, name: place.chain}


def _load(commands: list[Json]) -> str:
    return tool.run(["nft", "-j", "-f", "-"], json.dumps({"nftables": commands}))


def _entries(documents: Iterable[Json], kind: str) -> Iterable[Json]:
    for document in documents:
        for entry in document.get("nftables", []):
            if kind in entry:
                yield entry[kind]


def _documents(output: str) -> list[Json]:
    """nft prints a line of JSON for each command."""
    try:
        return [json.loads(line) for line in output.splitlines() if line.strip()]
    except ValueError:
        raise HostError("nft prints no JSON: install nftables built with it") from None
