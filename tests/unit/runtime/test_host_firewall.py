"""Is it said, and put right, when the rules about containers are not in force? (F12)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from weave_py.host.firewall.tables import KeptTable
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.runtime.firewall import HostFirewall


class Table:
    """As host.firewall.tables.KeptTable."""

    def __init__(self) -> None:
        self.gone = True
        self.refusal = ""

    def restore(self) -> bool:
        if self.refusal:
            raise HostError(self.refusal)
        needed, self.gone = self.gone, False
        return needed


class Host:
    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)


async def test_one_table_that_is_refused_keeps_no_other_from_being_loaded() -> None:
    one, other = Table(), Table()
    one.refusal = "cannot keep containers out: nft is missing"
    guards = [cast(KeptTable, table) for table in (one, other)]
    firewall = HostFirewall("weave", cast(HostThread, Host()), guards)
    await firewall._keep_guards(first=True)
    assert not other.gone
    assert firewall.guard.text == "unguarded: cannot keep containers out: nft is missing"
    one.refusal = ""
    await firewall._keep_guards(first=False)
    assert not one.gone
    assert (firewall.guard.code, firewall.guard.text) == ("", "in force")
