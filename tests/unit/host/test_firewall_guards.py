"""What do our tables about containers hold, and do they stay in force? (F6, F12; what they do on a
real kernel: tests/netns/test_container_guard.py)"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.host.firewall import guards, host_guard, port_guard
from weave_py.host.link_requests import MOST_LEARNED
from weave_py.model.errors import HostError
from weave_py.model.marks import TAP_PREFIX, VETH_PREFIX, VXLAN_PREFIX


def test_each_table_is_replaced_in_one_step_under_a_name_of_its_own() -> None:
    for rules, name in (
        (host_guard.rules("br.1", [6783], False), "inet weave-py-br_2e_1-host"),
        (port_guard.rules("br.1", False), "bridge weave-py-br_2e_1-ports"),
    ):
        begin = [f"table {name}", f"delete table {name}", f"table {name} {{"]
        assert rules.splitlines()[:3] == begin


def test_the_routers_ports_are_shut_before_anything_is_let_in() -> None:
    """F12: TCP 6783 answered a container."""
    rules = host_guard.rules("weave", [6784, 4789, 6783, 6783], False)
    lines = [line.strip() for line in rules.splitlines()]
    shut = "meta l4proto { tcp, udp } th dport { 4789, 6783, 6784 } counter drop"
    assert lines.index('iifname != "weave" accept') + 1 == lines.index(shut)


def test_a_bridge_that_nft_cannot_name_is_refused() -> None:
    with pytest.raises(HostError, match="choose another name"):
        host_guard.rules('br"1', [6783], False)


def test_all_ports_that_we_make_are_guarded() -> None:
    rules = port_guard.rules("weave", False)
    for prefix in (TAP_PREFIX, VXLAN_PREFIX, VETH_PREFIX):
        assert f'iifname "{prefix}*" goto guarded' in rules


def test_who_allows_routers_still_allows_no_crowd() -> None:
    """F12: a real network may be bridged; F6: MACs are counted all the same."""
    strict, open_ = (port_guard.rules("weave", allowed) for allowed in (False, True))
    for word in ("nd-router-advert", "{ 67, 547 }", "icmp type redirect"):
        assert word in strict
        assert word not in open_
    assert "@known accept" in open_
    asked = ("nd-router-solicit accept", "udp dport { 67, 547 } accept")
    for allowed in (False, True):  # the host may be the one that is asked
        rules = host_guard.rules("weave", [6783], allowed)
        assert [word in rules for word in asked] == [allowed, allowed]
    assert f"burst {port_guard.MACS_AT_ONCE} packets" in open_


def test_several_ports_that_flood_leave_room_for_others() -> None:
    """F6: one port's budget is a small part of what the bridge learns."""
    assert 6 * port_guard.MOST_MACS < MOST_LEARNED


def test_without_nft_there_is_nothing_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_py.host.firewall.tool.find", lambda command: None)
    guards.remove("weave")


def test_only_what_is_there_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without nft's family of bridges takes no word about it."""
    program = tmp_path / "nft"
    program.write_text(
        '#!/bin/sh\n[ "$1" = list ] && echo "table inet weave-py-weave-host" || cat >>"$0.log"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    guards.remove("weave")
    table = "table inet weave-py-weave-host"
    assert (tmp_path / "nft.log").read_text() == f"{table}\ndelete {table}\n"
