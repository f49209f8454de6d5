"""Who may send plain VXLAN, to us and from this host? (nft(8))

A VXLAN device takes whatever has its VNI, wherever it comes from. In a network with a secret only
hosts in trusted subnets may send it to each other in clear; everybody else has ESP (`fastdp.esp`).
Both trust a *host*: the kernel seals, or the subnet vouches for, whatever leaves it. So what leaves
must be the VXLAN devices' own:

    in       only between trusted subnets, by an interface that leads back to the source; never out
             of the bridge; or decrypted
    out      a process other than the router sends nothing that would be sealed as ours, nor
             anything to a trusted subnet's VXLAN ports
    through  what this host forwards (a container, say, whose address it hides behind its own)
             neither, unless it comes from a trusted subnet itself

A packet of a VXLAN device carries the socket of who sent the frame inside, if that was a process of
this host (`weave-py expose`). Such frames pass here first, on their way into the device, and are
marked: by a priority that no process without privileges can give to its packets (socket(7)).

Besides, no VXLAN packet is worth an entry in the table of connections: every inner flow would make
one.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from fastdp.esp.values import request_id
from fastdp.kernel.selftest import PORTS
from weave_py.host.refusal import checked_ifname
from weave_py.model.errors import HostError
from weave_py.model.marks import MARK

Network = IPv4Network | IPv6Network

_SECONDS: Final = 10.0
_FRAME_INSIDE: Final = "7770:0"
"""The priority of frames on their way into a VXLAN device (a class of a queueing discipline that
nobody has; to all others it is no priority)."""


def ruleset(
    bridge: str,
    udp_port: int,
    allowed_networks: Iterable[Network] | None,
    *,
    owner: int = 0,
    peer_ports: Collection[int] = PORTS,
    decrypted: bool = False,
) -> str:
    """What `apply` loads; replaces what was there in one step.

    `udp_port`: where our VXLAN devices listen. `allowed_networks`: between which plain VXLAN may
    travel; None: anywhere (an open network). `owner`: the router's effective user id. `peer_ports`:
    where peers may listen. `decrypted`: the kernel has ESP: let pass what was decrypted, and let
    nobody have sealed what is not ours. HostError for a bridge that nft cannot name.
    """
    table = table_of(bridge)
    ours = _port(udp_port)
    rules = [
        f"table inet {table}",
        f"delete table inet {table}",
        f"table inet {table} {{",
        *_chain(
            "untracked-in", "prerouting", "raw", f"udp dport {ours} fib daddr type local notrack"
        ),
        *_chain(
            "untracked-out", "output", "raw", f"udp dport {_ports(udp_port, peer_ports)} notrack"
        ),
    ]
    if allowed_networks is not None:
        trusted = _by_family(allowed_networks)
        rules += _incoming(ours, _named(bridge), trusted, decrypted)
        ports = _ports(udp_port, peer_ports)
        as_ours = [f"udp dport {ports} {family} daddr {nets}" for family, nets in trusted]
        if decrypted:
            as_ours.append(f"ipsec out reqid {request_id(udp_port)}")
        rules += _outgoing(_named(bridge), as_ours, trusted, owner)
    return "\n".join([*rules, "}", ""])


def _incoming(port: str, bridge: str, trusted: list[tuple[str, str]], decrypted: bool) -> list[str]:
    # At input, not before: VXLAN that is only forwarded by this host is none of our business.
    rules = _chain("incoming", "input", "raw", f"udp dport {port} goto admitted")
    # A decrypted packet passes here a second time, and is known by the state it came by.
    admitted = ["meta secpath exists accept"] if decrypted else []
    if trusted:
        admitted.append(f"iifname {bridge} counter drop")
        # What this host sends to itself has passed `outgoing`.
        admitted.append('iifname != "lo" fib saddr . iif oif missing counter drop')
    admitted += [f"{family} saddr {nets} {family} daddr {nets} accept" for family, nets in trusted]
    return _chain("admitted", None, "", *admitted, "counter drop") + rules


def _outgoing(
    bridge: str, as_ours: list[str], trusted: list[tuple[str, str]], owner: int
) -> list[str]:
    """`as_ours`: what would pass for a VXLAN device's."""
    # What goes into the bridge is inside the inner network: there is nothing to break into.
    own = (
        f"oifname {bridge} accept",
        f"meta skuid != {owner} meta priority != {_FRAME_INSIDE} counter drop",
    )
    forwarded = [f"iifname {bridge} counter drop"] + [
        f"fib saddr . iif oif exists {family} saddr {nets} accept" for family, nets in trusted
    ]
    # After any NAT of destinations, which comes before filters; sources matter only as they were.
    return [
        *_chain("own", None, "", *own),
        *_chain("outgoing", "output", "security", *(f"{what} goto own" for what in as_ours)),
        *_chain("forwarded", None, "", own[0], *forwarded, "counter drop"),
        *_chain("through", "forward", "security", *(f"{what} goto forwarded" for what in as_ours)),
        # Other programs' VXLAN devices carry processes' frames to the same hosts, too.
        *_chain(
            "inside",
            "postrouting",
            "security",
            *(
                f"{device} meta skuid != {owner} meta priority set {_FRAME_INSIDE}"
                for device in (f"oifname {bridge}", "meta oifkind vxlan")
            ),
        ),
    ]


def _chain(name: str, hook: str | None, priority: str, *rules: str) -> list[str]:
    begin = [f"    chain {name} {{"]
    if hook is not None:
        begin.append(f"        type filter hook {hook} priority {priority}; policy accept;")
    return [*begin, *(f"        {rule}" for rule in rules), "    }"]


def _by_family(networks: Iterable[Network]) -> list[tuple[str, str]]:
    """nft's word for each IP version that there are networks of, and those."""
    known, found = list(networks), []
    for version, family in ((4, "ip"), (6, "ip6")):
        of_family = [network for network in known if network.version == version]
        if of_family:
            collapsed = ipaddress.collapse_addresses(of_family)  # type: ignore[type-var]
            found.append((family, f"{{ {', '.join(map(str, collapsed))} }}"))
    return found


def _ports(ours: int, theirs: Collection[int]) -> str:
    return f"{{ {', '.join(sorted({_port(ours), *map(_port, theirs)}, key=int))} }}"


class Guard:
    """A ruleset that stays in force. For one thread, in its network namespace."""

    def __init__(self, bridge: str, rules: str) -> None:
        self._table = table_of(bridge)
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
        if self._listed and self._list() == self._listed:
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
    table = table_of(bridge)
    # Declared first: deleting what is not there would be an error.
    rules = f"table inet {table}\ndelete table inet {table}\n"
    _nft(["-f", "-"], rules, "cannot remove the rules about VXLAN")


def table_of(bridge: str) -> str:
    """Our table's name. Names of bridges may hold what a table's may not."""
    return f"{MARK}-" + "".join(
        char if char.isascii() and char.isalnum() else f"_{ord(char):x}_"
        for char in checked_ifname(bridge)
    )


def _named(bridge: str) -> str:
    """As nft wants to read it, which has no way to write some characters."""
    if re.search(r'["*\\\\]', bridge):
        raise HostError(f"nft cannot name the bridge {bridge}: choose another name (--bridge)")
    return f'"{bridge}"'


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
