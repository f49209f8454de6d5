"""How do home routers, firewalls and hostile networks look to those behind them? Sites for the lab.

The names are those of RFC 3489 (full cone, restricted cone, port-restricted cone, symmetric); in
the words of RFC 4787 the first three have endpoint-independent mappings, with endpoint-independent,
address-dependent, and address-and-port-dependent filtering; the last one's mappings depend on the
address and port of the other end. Linux makes them by nftables; cones have a fixed outer UDP port
here, which differs from the inner one as it does on many routers.

Pure: what is behind a gateway, and the text for `nft -f` in it. `weave_py.lab.internet` builds it.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import NamedTuple

ROUTER_PORT = 6783
FIRST_OUTER_PORT = 37_000
"""Host *i* of a site appears at UDP port 37000 + i of its gateway, if that is a cone."""


class Kind(StrEnum):
    """What is between a host and the internet."""

    OPEN = "open"  #: nothing
    FULL_CONE = "full cone"
    RESTRICTED = "restricted"
    PORT_RESTRICTED = "port-restricted"
    SYMMETRIC = "symmetric"
    FIREWALL = "firewall"  #: no NAT; stateful, nothing comes in that was not asked for
    NO_UDP = "UDP blocked"  #: no NAT; TCP passes in both directions
    TCP_OUT = "TCP out only"  #: symmetric NAT that lets only TCP pass
    DOUBLE = "double NAT"  #: a port-restricted cone behind another one
    HAIRPIN = "hairpin"  #: a full cone that also turns packets from inside back to the inside
    MASQUERADE = "linux masquerade"  #: any Linux host with that one rule, open to what comes in


TRANSLATING = frozenset(Kind) - {Kind.OPEN, Kind.FIREWALL, Kind.NO_UDP}
"""Those whose hosts have private addresses."""


class Gateway(NamedTuple):
    """A box between hosts and the internet. Its devices: `out`, and `in1`, `in2` … to the hosts."""

    kind: Kind
    outer: str
    """Its address outside."""
    inner: tuple[tuple[str, int], ...]
    """Address and UDP port of each host's router behind it (or of the next gateway)."""
    first_port: int = FIRST_OUTER_PORT

    def outer_port(self, number: int) -> int:
        """Where a cone puts the UDP port of host `number` (from 1)."""
        return self.first_port + number


def rules(gateway: Gateway) -> str:
    """What `nft -f` needs in a gateway."""
    chains = "".join(_chains(gateway))
    # Nothing reaches most gateways themselves (home routers drop it as well). On others a packet of
    # a stranger's that comes before ours goes out makes a conntrack entry: ours gets another port.
    drop = "" if gateway.kind is Kind.MASQUERADE else 'iifname "out" ct state new drop'
    return f"""\
table ip site
delete table ip site
table ip site {{
  set contacted {{ type ipv4_addr; flags dynamic, timeout; timeout 60s; }}
  chain input {{
    type filter hook input priority 0; policy accept;
    {drop}
  }}
{chains}}}
"""


def _chains(gateway: Gateway) -> list[str]:
    kind = gateway.kind
    chains = [_chain("forward", "filter hook forward priority 0", _filters(kind))]
    if kind in TRANSLATING:
        keeps = gateway.kind is Kind.MASQUERADE  # the inner port, if that is free
        inner = range(0 if keeps else len(gateway.inner))
        post = [*map(partial(_source, gateway), inner)]
        post.append('oifname "out" masquerade')
        chains.append(_chain("postrouting", "nat hook postrouting priority srcnat", post))
    if kind in (Kind.FULL_CONE, Kind.RESTRICTED, Kind.HAIRPIN):
        pre = [
            f"ip daddr {gateway.outer} udp dport {gateway.outer_port(n)} dnat to {host}:{port}"
            for n, (host, port) in enumerate(gateway.inner, start=1)
        ]
        chains.append(_chain("prerouting", "nat hook prerouting priority dstnat", pre))
    return chains


def _chain(name: str, where: str, rules: list[str]) -> str:
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"  chain {name} {{\n    type {where}; policy accept;\n{lines}  }}\n"


def _source(gateway: Gateway, index: int) -> str:
    """What the source of a host's UDP packets becomes."""
    host, port = gateway.inner[index]
    if gateway.kind in (Kind.SYMMETRIC, Kind.TCP_OUT):
        return f'oifname "out" ip saddr {host} meta l4proto udp masquerade fully-random'
    # Of hairpins also for what turns back: the answer must come through us.
    out = "" if gateway.kind is Kind.HAIRPIN else 'oifname "out" '
    outside = f"{gateway.outer}:{gateway.outer_port(index + 1)}"
    return f"{out}ip saddr {host} udp sport {port} snat to {outside}"


def _filters(kind: Kind) -> list[str]:
    established = "ct state established,related accept"
    closed = 'iifname "out" drop'
    match kind:
        case Kind.OPEN | Kind.MASQUERADE:
            return []
        case Kind.NO_UDP:
            return ["meta l4proto udp drop"]
        case Kind.TCP_OUT:
            return ["meta l4proto udp drop", established, closed]
        case Kind.FULL_CONE | Kind.HAIRPIN:
            apart = 'iifname "in*" oifname "in*" ct status & dnat == 0 drop'
            return [apart, established, "ct status dnat accept", closed]
        case Kind.RESTRICTED:
            note = 'oifname "out" meta l4proto udp update @contacted { ip daddr }'
            known = 'iifname "out" ct status dnat ip saddr @contacted accept'
            return [note, established, known, closed]
    return [established, closed]
