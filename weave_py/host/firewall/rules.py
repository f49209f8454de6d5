"""Which chains of the host's firewall need our accept rule, and which have it? No I/O here.

An accept in a table of our own helps nobody: in netfilter a drop anywhere wins. So the rule goes
into the chains that drop by default, at their top (before a `goto` of firewalld's that never comes
back). Chains that drop only what they name are left alone: whoever names containers means it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

MARK = "weave-py"
"""The comment of our rules."""

Versions = frozenset[int]
"""Of IP: 4, 6."""

NO_VERSION: Versions = frozenset()

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,15}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A chain of the FORWARD hook."""

    tool: str
    """`nft`, or the command of the old tables (`iptables-legacy`)."""
    family: str
    """As nft has it: ip, ip6, inet."""
    table: str
    chain: str

    @property
    def versions(self) -> Versions:
        return {"ip": frozenset((4,)), "ip6": frozenset((6,))}.get(self.family, frozenset((4, 6)))

    @property
    def text(self) -> str:
        tool = "" if self.tool == "nft" else f" ({self.tool})"
        return f"{self.family} {self.table} {self.chain}{tool}"


@dataclass(frozen=True, slots=True)
class Chain:
    """What there is, about frames from our bridge to itself."""

    place: Place
    denies: bool
    """Drops what no rule names: by policy, or by a last rule without conditions."""
    accepts: bool = False
    """Holds an accept rule for our bridge, whoever made it."""
    ours: tuple[int, ...] = ()
    """Those that carry our mark; in nft by their handles, else by their numbers (from 1)."""


def missing(chains: Iterable[Chain], versions: Versions) -> list[Place]:
    """Where an accept rule has to be put, if netfilter sees our frames of these IP versions."""
    return [
        chain.place
        for chain in chains
        if chain.denies and not chain.accepts and chain.place.versions & versions
    ]


def is_plain(bridge: str) -> bool:
    """Whether a rule can name this bridge and no other: `*` and `+` stand for many."""
    return _PLAIN.fullmatch(bridge) is not None


def versions_text(versions: Collection[int]) -> str:
    return " and ".join(f"IPv{version}" for version in sorted(versions))
