"""Which name servers does this host ask?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

RESOLV_CONF: Final = (
    Path("/etc/resolv.conf"),
    # The file above names only systemd-resolved; this one whom it asks.
    Path("/run/systemd/resolve/resolv.conf"),
)


def name_servers(files: Iterable[Path] = RESOLV_CONF) -> set[IPv4Address | IPv6Address]:
    """Those of resolv.conf(5); what cannot be read or is no address is left out."""
    found: set[IPv4Address | IPv6Address] = set()
    for file in files:
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for words in map(str.split, lines):
            if len(words) > 1 and words[0] == "nameserver":
                try:
                    found.add(ipaddress.ip_address(words[1].partition("%")[0]))
                except ValueError:
                    continue
    return found
