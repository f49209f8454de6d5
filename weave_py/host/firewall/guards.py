"""Which tables of ours stand between containers, their host and each other, and who removes them?

They stay as long as the bridge, also while no router runs.
"""

from __future__ import annotations

from collections.abc import Collection

from weave_py.host.firewall import host_guard, port_guard, tool
from weave_py.host.firewall.tables import KeptTable, remove_table


def guards_of(bridge: str, ports: Collection[int], allow_routers: bool) -> list[KeptTable]:
    """`ports`: TCP and UDP, of the router. HostError for a bridge that nft cannot name."""
    return [
        host_guard.host_guard(bridge, ports, allow_routers),
        port_guard.port_guard(bridge, allow_routers),
    ]


def remove(bridge: str) -> None:
    """None, and no nft, is fine. HostError if one stays."""
    if tool.find("nft") is None:
        return
    listed = set(tool.run(["nft", "list", "tables"]).splitlines())
    for family, name in (host_guard.table_name(bridge), port_guard.table_name(bridge)):
        if f"table {family} {name}" in listed:
            remove_table(family, name)
