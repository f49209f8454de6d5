"""Is it said, and put right, when the rules about containers are not in force? (F12)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio.testing

from weave_py.host.firewall.tables import KeptTable
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.runtime.firewall import RETRY_SECONDS, HostFirewall


class Table:
    """As host.firewall.tables.KeptTable."""

    def __init__(self, rules: str) -> None:
        self.rules = rules
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


def firewall_of(*tables: Table) -> HostFirewall:
    return HostFirewall("weave", cast(HostThread, Host()), lambda: kept(*tables))


def kept(*tables: Table) -> list[KeptTable]:
    return [cast(KeptTable, table) for table in tables]


async def test_one_table_that_is_refused_keeps_no_other_from_being_loaded() -> None:
    one, other = Table("one"), Table("other")
    one.refusal = "cannot keep containers out: nft is missing"
    firewall = firewall_of(one, other)
    await firewall._keep_guards(changed=False)
    assert not other.gone
    assert firewall.guard.text == "unguarded: cannot keep containers out: nft is missing"
    one.refusal = ""
    await firewall._keep_guards(changed=True)
    assert not one.gone
    assert (firewall.guard.code, firewall.guard.text) == ("", "in force")


async def test_what_was_refused_is_tried_again_though_no_rule_has_changed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """F12: a machine may be too busy for nft once, and nobody touch a rule for a year."""
    table = Table("one")
    table.refusal = "nft did not run"
    firewall = firewall_of(table)
    await firewall._keep_guards(changed=False)
    table.refusal = ""
    await firewall._keep_guards(changed=False)
    assert table.gone  # not at every look
    await trio.sleep(RETRY_SECONDS)
    await firewall._keep_guards(changed=False)
    assert not table.gone
    assert firewall.guard.code == ""


async def test_a_guard_follows_the_routers_ports(caplog: pytest.LogCaptureFixture) -> None:
    """F12: VXLAN leaves a UDP port that others' devices use; and that is no news of lost rules."""
    tables = [Table("port 4789")]
    firewall = HostFirewall("weave", cast(HostThread, Host()), lambda: kept(*tables))
    await firewall._keep_guards(changed=False)
    tables[:] = [Table("port 6784")]
    await firewall._keep_guards(changed=False)
    assert not tables[0].gone
    assert not caplog.records
    tables[0].gone = True
    tables[:] = [Table("port 6784")]  # made anew, and the same
    await firewall._keep_guards(changed=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
