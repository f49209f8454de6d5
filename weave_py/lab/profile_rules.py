"""What do Docker, ufw and firewalld load into the kernel of a host? Texts for `nft -f`.

As `nft list ruleset` shows it there with iptables-nft (Docker 27, ufw 0.36) and firewalld 2.1 at
their defaults, with logging and counters left out; ufw and firewalld with the ports open that a
router asks for (docs/cli.md). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_PORTS: Final = (
    "meta l4proto { tcp, udp } th dport 6783 accept; udp dport 4789 accept; meta l4proto esp accept"
)


def docker(networks: Sequence[tuple[str, str]]) -> str:
    """`networks`: bridge and subnet, of each network."""
    masquerade = [f'ip saddr {net} oifname != "{name}" masquerade' for name, net in networks]
    forward = [
        rule
        for name, _ in networks
        for rule in (
            f'oifname "{name}" ct state established,related accept',
            f'iifname "{name}" oifname != "{name}" accept',
            f'iifname "{name}" oifname "{name}" accept',
            f'oifname "{name}" drop',
        )
    ]
    isolation = [f'iifname "{name}" oifname != "{name}" return' for name, _ in networks]
    return f"""\
table ip nat {{
  chain DOCKER {{ }}
  chain PREROUTING {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump DOCKER
  }}
  chain OUTPUT {{
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local jump DOCKER
  }}
  chain POSTROUTING {{
    type nat hook postrouting priority srcnat; policy accept;
{_lines(masquerade)}
  }}
}}
table ip filter {{
  chain DOCKER-ISOLATION-STAGE-1 {{
{_lines(isolation)}
  }}
  chain DOCKER-USER {{ }}
  chain FORWARD {{
    type filter hook forward priority filter; policy drop;
    jump DOCKER-USER
    jump DOCKER-ISOLATION-STAGE-1
{_lines(forward)}
  }}
}}
"""


def ufw() -> str:
    return "".join(_ufw(family, icmp) for family, icmp in (("ip", "icmp"), ("ip6", "ipv6-icmp")))


def _ufw(family: str, icmp: str) -> str:
    prefix = "ufw" if family == "ip" else "ufw6"
    return f"""\
table {family} filter {{
  chain {prefix}-user-input {{
    tcp dport 22 accept
    {_PORTS}
  }}
  chain {prefix}-before-input {{
    iifname "lo" accept
    ct state related,established accept
    ct state invalid drop
    meta l4proto {icmp} accept
    jump {prefix}-user-input
  }}
  chain {prefix}-before-forward {{
    ct state related,established accept
    meta l4proto {icmp} accept
  }}
  chain INPUT {{
    type filter hook input priority filter; policy drop;
    jump {prefix}-before-input
  }}
  chain FORWARD {{
    type filter hook forward priority filter; policy drop;
    jump {prefix}-before-forward
  }}
  chain OUTPUT {{
    type filter hook output priority filter; policy accept;
  }}
}}
"""


def firewalld() -> str:
    return f"""\
table inet firewalld {{
  chain filter_PREROUTING {{
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }}
  chain filter_IN_public {{
    tcp dport 22 accept
    {_PORTS}
    meta l4proto {{ icmp, ipv6-icmp }} accept
  }}
  chain filter_INPUT {{
    type filter hook input priority filter + 10; policy accept;
    ct state {{ established, related }} accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_IN_public
    reject with icmpx admin-prohibited
  }}
  chain filter_FWD_public {{
    meta l4proto {{ icmp, ipv6-icmp }} accept
    reject with icmpx admin-prohibited
  }}
  chain filter_FORWARD {{
    type filter hook forward priority filter + 10; policy accept;
    ct state {{ established, related }} accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    goto filter_FWD_public
    reject with icmpx admin-prohibited
  }}
}}
"""


def _lines(rules: Sequence[str]) -> str:
    return "\n".join(f"    {rule}" for rule in rules)
