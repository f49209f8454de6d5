"""How many bytes cross a lab's wires, by protocol? Counted by nftables in the switch."""

from __future__ import annotations

import re
import time

from weave_py.lab.namespaces import SWITCH, Lab

PROTOCOLS = ("tcp", "udp")
_COUNTER = re.compile(r"counter of_(\w+) \{\s*packets \d+ bytes (\d+)")


def bytes_per_second(lab: Lab, seconds: float) -> dict[str, float]:
    """Protocol → bytes per second on all wires together (IP and up), over that many seconds."""
    table = "table bridge wires"
    counters = "; ".join(f"counter of_{name} {{}}" for name in PROTOCOLS)
    rules = "; ".join(f"ip protocol {name} counter name of_{name}" for name in PROTOCOLS)
    chain = f"chain passing {{ type filter hook forward priority 0; {rules}; }}"
    lab.exec(SWITCH, ["nft", "-f", "-"], stdin=f"{table} {{ {counters}; {chain}; }}\n")
    try:
        before, at = _read(lab), time.monotonic()
        time.sleep(seconds)
        after, took = _read(lab), time.monotonic() - at
    finally:
        lab.exec(SWITCH, ["nft", "delete", *table.split()])
    return {name: (after[name] - before[name]) / took for name in PROTOCOLS}


def parse(listing: str) -> dict[str, int]:
    """Counter → bytes, from what `nft list counters` prints."""
    return {name: int(count) for name, count in _COUNTER.findall(listing)}


def _read(lab: Lab) -> dict[str, int]:
    return parse(lab.exec(SWITCH, ["nft", "list", "counters", "table", "bridge", "wires"]).stdout)
