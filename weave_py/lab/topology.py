"""Who shares a wire with whom in the lab, and which host is told to call which?

Pure: names and addresses only. Hosts are `h1`…, containers `c1`… (one per host), wires are
numbered from 1. Wire *k* is the subnet `10.99.k.0/24` (and `fd00:99:k::/64`), on which host *i*
has the number *i*: `10.99.2.3` is h3 on wire 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

from weave_py.model.errors import ConfigError

KINDS = ("chain", "ring", "star", "full")

MAX_HOSTS = 64
"""A machine runs out of patience before it runs out of addresses."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A network segment: its members reach each other directly, and nobody else."""

    number: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The underlay of a lab."""

    kind: str
    hosts: tuple[str, ...]
    wires: tuple[Wire, ...]

    @property
    def containers(self) -> tuple[str, ...]:
        return tuple(container_of(host) for host in self.hosts)

    def wires_of(self, host: str) -> tuple[Wire, ...]:
        return tuple(wire for wire in self.wires if host in wire.members)

    def wire_between(self, a: str, b: str) -> Wire:
        """The wire that `a` and `b` share; ValueError if they share none."""
        for wire in self.wires:
            if a != b and a in wire.members and b in wire.members:
                return wire
        raise ValueError(f"{a} and {b} share no wire in this {self.kind}")

    def direct(self, a: str, b: str) -> bool:
        """Whether packets of `a` reach `b` without anybody's help."""
        return any(a in wire.members and b in wire.members for wire in self.wires)

    def address(self, host: str, wire: Wire, *, ipv6: bool = False) -> str:
        number = host_number(host)
        return f"fd00:99:{wire.number}::{number}" if ipv6 else f"10.99.{wire.number}.{number}"

    def device(self, host: str, wire: Wire) -> str:
        """The host's end of the wire, named so that `ip link` in the host reads like a map."""
        others = [member for member in wire.members if member != host]
        is_only = [w.members for w in self.wires].count(wire.members) == 1
        return f"to-{others[0]}" if len(others) == 1 and is_only else f"lan{wire.number}"

    def switch_port(self, host: str, wire: Wire) -> str:
        """The other end of that cable, in the switch."""
        return f"w{wire.number}{host}"

    def seeds(self, host: str) -> tuple[str, ...]:
        """The hosts that `host` is told to call at its start; the mesh finds the others itself."""
        number = host_number(host)
        if self.kind in ("star", "full"):
            return () if number == 1 else (self.hosts[0],)
        if number > 1:
            return (self.hosts[number - 2],)
        # Without this call the last wire of a ring would be used only if discovery worked.
        return (self.hosts[-1],) if self.kind == "ring" else ()

    def drawing(self) -> str:
        """One line for people."""
        line = " ── ".join(self.hosts)
        match self.kind:
            case "chain":
                return line
            case "ring":
                return f"{line} ── back to {self.hosts[0]}"
            case "star":
                return f"{self.hosts[0]} ── each of {', '.join(self.hosts[1:])}"
            case _:
                return f"one network: {', '.join(self.hosts)}"


def host_number(host: str) -> int:
    return int(host[1:])


def container_of(host: str) -> str:
    return f"c{host_number(host)}"


def host_of(container: str) -> str:
    return f"h{host_number(container)}"


def build(kind: str, hosts: int) -> Topology:
    """The topology called `kind` with that many hosts; ConfigError if there is no such thing."""
    if kind not in KINDS:
        raise ConfigError(f"topology: no such topology {kind!r}; use one of {', '.join(KINDS)}")
    least = 3 if kind == "ring" else 2
    if not least <= hosts <= MAX_HOSTS:
        raise ConfigError(f"hosts: a {kind} has {least} to {MAX_HOSTS} hosts, not {hosts}")
    names = tuple(f"h{number}" for number in range(1, hosts + 1))
    members: list[tuple[str, ...]]
    match kind:
        case "chain":
            members = list(pairwise(names))
        case "ring":
            members = list(zip(names, (*names[1:], names[0]), strict=True))
        case "star":
            members = [(names[0], name) for name in names[1:]]
        case _:
            members = [names]
    wires = tuple(Wire(number, who) for number, who in enumerate(members, start=1))
    return Topology(kind, names, wires)


def pairs(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Every unordered pair, in order."""
    return tuple(combinations(names, 2))
