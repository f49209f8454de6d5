"""What do tables of the old kind (ip_tables) say about our bridge? They are apart from nftables'.

They are only touched where somebody else has made them: asking for them would make them.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from weave_py.host.firewall import tool
from weave_py.host.firewall.rules import MARK, NO_VERSION, Chain, Place, Versions
from weave_py.model.errors import HostError

_NAMES = {4: "ip_tables_names", 6: "ip6_tables_names"}
_FAMILY = {4: "ip", 6: "ip6"}
_COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}
_WAIT = ("-w", "2")
"""Seconds for the lock that all who change the tables take."""


def present() -> Versions:
    """The IP versions whose table `filter` exists."""
    found = NO_VERSION
    for version, name in _NAMES.items():
        try:
            lines = (Path("/proc/thread-self/net") / name).read_text().splitlines()
        except OSError:
            continue  # this kernel has none of the kind
        if "filter" in lines:
            found |= {version}
    return found


def read(bridge: str, version: int) -> Chain:
    """FORWARD of `filter`. HostError if it cannot be read."""
    family = _FAMILY[version]
    place = Place(_command(_COMMANDS[family]), family, "filter", "FORWARD")
    return chain_of(tool.run([place.tool, *_WAIT, "-S", "FORWARD"]), place, bridge)


def insert(bridge: str, place: Place) -> None:
    """Put our rule on top. HostError if that is refused."""
    comment = ["-m", "comment", "--comment", MARK]
    words = ["-I", place.chain, "-i", bridge, "-o", bridge, *comment, "-j", "ACCEPT"]
    tool.run([place.tool, *_WAIT, *words])


def delete(chain: Chain) -> None:
    """Take our rules out. HostError if that is refused."""
    for number in sorted(chain.ours, reverse=True):
        tool.run([chain.place.tool, *_WAIT, "-D", chain.place.chain, str(number)])


def chain_of(listing: str, place: Place, bridge: str) -> Chain:
    """What `iptables -S FORWARD` prints."""
    policy, rules = "", list[list[str]]()
    for line in listing.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-P"]:
            policy = words[-1]
        elif words[:1] == ["-A"]:
            rules.append(words[2:])
    accept = ["-i", bridge, "-o", bridge, "-j", "ACCEPT"]
    same = {number for number, rule in enumerate(rules, 1) if _without_comment(rule) == accept}
    last = _without_comment(rules[-1]) if rules else []
    return Chain(
        place,
        denies=policy == "DROP" or last[:2] in (["-j", "DROP"], ["-j", "REJECT"]),
        accepts=bool(same),
        ours=tuple(number for number in sorted(same) if MARK in rules[number - 1]),
    )


def _without_comment(rule: list[str]) -> list[str]:
    if "--comment" not in rule:
        return rule
    at = rule.index("--comment")
    return rule[: at - 2] + rule[at + 2 :]


def _command(name: str) -> str:
    """The program for these tables: with a name of its own, or (before there were others) not."""
    if tool.find(f"{name}-legacy") is not None:
        return f"{name}-legacy"
    if tool.find(name) is not None and "nf_tables" not in tool.run([name, "-V"]):
        return name
    raise HostError(f"{name}-legacy is missing: install iptables")
