"""Who may send us plain VXLAN? (nft(8))

A VXLAN device takes whatever has its VNI, wherever it comes from. In a network with a secret only
trusted subnets may send it in clear; for everybody else there is ESP (`fastdp.esp`). Besides, no
VXLAN packet is worth an entry in the table of connections: every inner flow would make one.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from weave_py.host.refusal import checked_ifname
from weave_py.model.errors import HostError
from weave_py.model.marks import MARK

Network = IPv4Network | IPv6Network

_SECONDS: Final = 10.0


def ruleset(
    bridge: str,
    udp_port: int,
    allowed_networks: Iterable[Network] | None,
    *,
    peer_ports: Collection[int] = (),
    decrypted: bool = False,
) -> str:
    """What `apply` loads; replaces what was there in one step.

    `udp_port`: where our VXLAN devices listen. `allowed_networks`: from where plain VXLAN may
    come; None: from anywhere (an open network). `peer_ports`: where peers listen, if elsewhere.
    `decrypted`: let pass what came by ESP and was decrypted (the kernel must have XFRM).
    """
    table = _table(bridge)
    ours = _port(udp_port)
    theirs = ", ".join(sorted({ours, *map(_port, peer_ports)}, key=int))
    rules = [
        f"table inet {table}",
        f"delete table inet {table}",
        f"table inet {table} {{",
        "    chain untracked-in {",
        "        type filter hook prerouting priority raw; policy accept;",
        f"        udp dport {ours} fib daddr type local notrack",
        "    }",
        "    chain untracked-out {",
        "        type filter hook output priority raw; policy accept;",
        f"        udp dport {{ {theirs} }} notrack",
        "    }",
    ]
    if allowed_networks is not None:
        rules += _admission(ours, allowed_networks, decrypted)
    return "\n".join([*rules, "}", ""])


def _admission(port: str, allowed: Iterable[Network], decrypted: bool) -> list[str]:
    # At input, not before: VXLAN that is only forwarded by this host is none of our business.
    rules = [
        "    chain admitted {",
        "        type filter hook input priority raw; policy accept;",
    ]
    if decrypted:
        # A decrypted packet passes here a second time, and is known by the state it came by.
        rules.append(f"        udp dport {port} meta secpath exists accept")
    networks = list(allowed)
    for version, family in ((4, "ip"), (6, "ip6")):
        of_family = [network for network in networks if network.version == version]
        if of_family:
            collapsed = ipaddress.collapse_addresses(of_family)  # type: ignore[type-var]
            listed = ", ".join(map(str, collapsed))
            rules.append(f"        udp dport {port} {family} saddr {{ {listed} }} accept")
    return [*rules, f"        udp dport {port} counter drop", "    }"]


class Guard:
    """A ruleset that stays in force. For one thread, in its network namespace."""

    def __init__(self, bridge: str, rules: str) -> None:
        self._table = _table(bridge)
        self._rules = rules
        self._listed = ""
        """How the kernel shows it, without its counters."""

    def apply(self) -> None:
        """Load it. HostError when that is impossible."""
        _nft(["-f", "-"], self._rules, "cannot keep strangers' VXLAN out")
        self._listed = self._list()

    def restore(self) -> bool:
        """Load it again if somebody has removed or changed it (`nft flush ruleset`, as many
        distributions' firewalls begin). Whether that was needed; HostError if it cannot be."""
        if self._list() == self._listed:
            return False
        self.apply()
        return True

    def _list(self) -> str:
        try:
            arguments = ["--stateless", "list", "table", "inet", self._table]
            return _nft(arguments, "", "cannot look at the rules about VXLAN")
        except HostError:
            return ""  # it is gone


def remove(bridge: str) -> None:
    """Remove the table; missing is fine."""
    table = _table(bridge)
    # Declared first: deleting what is not there would be an error.
    rules = f"table inet {table}\ndelete table inet {table}\n"
    _nft(["-f", "-"], rules, "cannot remove the rules about VXLAN")


def _table(bridge: str) -> str:
    """Names of bridges may hold what a table's may not."""
    return f"{MARK}-" + "".join(
        char if char.isascii() and char.isalnum() else f"_{ord(char):x}_"
        for char in checked_ifname(bridge)
    )


def _port(number: int) -> str:
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    return str(number)


def _nft(arguments: list[str], stdin: str, what: str) -> str:
    """What nft prints."""
    try:
        done = subprocess.run(
            ["nft", *arguments], input=stdin, capture_output=True, text=True, timeout=_SECONDS
        )
    except FileNotFoundError:
        raise HostError(f"{what}: nft is missing: install nftables") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{what}: nft did not run: {error}") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        why = lines[0] if lines else f"exit status {done.returncode}"
        raise HostError(f"{what}: nft: {why}")
    return done.stdout
