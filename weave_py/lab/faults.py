"""Which nftables rules in the switch make a wire of the lab misbehave?

Pure: text for `nft -f`. All faults live in one table of the switch namespace, *between* the
hosts: the hosts' own firewalls stay untouched, and neither end is told (no ICMP, no carrier
loss), which is how networks usually fail. Loading the text replaces the table in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TABLE = "bridge lab"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something done to the frames that enter the switch at `source` and leave it at `target`."""

    source: str
    target: str
    matches: tuple[str, ...]
    """Which of them are dropped: nft expressions, one a rule; an empty one matches everything."""

    @property
    def rules(self) -> tuple[str, ...]:
        way = ("iifname", f'"{self.source}"', "oifname", f'"{self.target}"')
        return tuple(
            " ".join(filter(None, (*way, match, "counter", "drop"))) for match in self.matches
        )


def blocked(protocol: str | None, port: int | None) -> tuple[str, ...]:
    """Everything (no protocol), a protocol, or one of its ports at either end."""
    if protocol is None:
        if port is not None:
            raise ValueError("a port needs a protocol: udp or tcp")
        return ("",)
    if protocol not in ("udp", "tcp", "esp", "icmp", "ipv6-icmp"):
        raise ValueError(f"cannot block protocol {protocol!r}: use udp, tcp, esp, icmp, ipv6-icmp")
    if port is None:
        return (f"meta l4proto {protocol}",)
    if protocol not in ("udp", "tcp") or not 0 < port < 65536:
        raise ValueError(f"cannot block port {port} of {protocol}")
    # The source too: replies of a connection made the other way belong to the same service.
    return (f"{protocol} dport {port}", f"{protocol} sport {port}")


def lossy(percent: float) -> tuple[str, ...]:
    """A random share of the frames."""
    if not 0 < percent <= 100:
        raise ValueError(f"a loss is more than 0 and at most 100 percent, not {percent:g}")
    if percent == 100:  # nft wants the share smaller than the whole
        return ("",)
    return (f"numgen random mod 10000 < {min(max(1, round(percent * 100)), 9999)}",)


def too_big(mtu: int) -> tuple[str, ...]:
    """IP packets longer than `mtu` bytes: a black hole, since nobody is told."""
    if not 576 <= mtu <= 65535:
        raise ValueError(f"an MTU is 576 to 65535 bytes, not {mtu}")
    return (f"meta length > {mtu}",)


def script(faults: Iterable[Fault]) -> str:
    """What `nft -f` needs to make exactly these faults the ones in force."""
    rules = "\n".join(f"    {rule}" for fault in faults for rule in fault.rules)
    # `table` before `delete table`: deleting must not fail the first time.
    return f"""\
table {TABLE}
delete table {TABLE}
table {TABLE} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
{rules}
  }}
}}
"""
