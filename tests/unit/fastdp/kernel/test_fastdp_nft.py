"""Does the ruleset say what it should?"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from fastdp.esp.values import request_id
from fastdp.kernel import nft
from weave_py.model.errors import ConfigError, HostError


def lines(rules: str) -> list[str]:
    return [line.strip() for line in rules.splitlines()]


def chains(rules: str) -> dict[str, list[str]]:
    """Chain → its rules."""
    found: dict[str, list[str]] = {}
    for line in lines(rules):
        if line.startswith("chain "):
            rules_of = found.setdefault(line.split()[1], [])
        elif line not in ("}", "") and found:
            rules_of.append(line)
    return found


def test_an_open_network_only_saves_connection_tracking() -> None:
    found = chains(nft.ruleset("weave", 4789, None, peer_ports=[]))
    assert found.keys() == {"untracked-in", "untracked-out"}
    assert found["untracked-in"][1:] == ["udp dport 4789 fib daddr type local notrack"]
    assert found["untracked-out"][1:] == ["udp dport { 4789 } notrack"]


def test_only_from_trusted_subnets_to_trusted_subnets() -> None:
    """F2: an address of the host's that is not trusted is no way round the sender's rules."""
    networks = [ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("10.1.2.0/24")]
    rules = nft.ruleset("weave", 6784, networks, peer_ports=[4789, 6784])
    found = chains(rules)
    assert found["incoming"] == [
        "type filter hook input priority raw; policy accept;",
        "udp dport 6784 goto admitted",
    ]
    assert found["admitted"] == [
        'iifname "weave" counter drop',
        'iifname != "lo" fib saddr . iif oif missing counter drop',
        "ip saddr { 10.1.0.0/16 } ip daddr { 10.1.0.0/16 } accept",
        "ip6 saddr { fd00::/8 } ip6 daddr { fd00::/8 } accept",
        "counter drop",
    ]
    assert found["outgoing"][1:] == [
        "udp dport { 4789, 6784 } ip daddr { 10.1.0.0/16 } goto own",
        "udp dport { 4789, 6784 } ip6 daddr { fd00::/8 } goto own",
    ]
    assert "secpath" not in rules
    assert "ipsec" not in rules


def test_nobody_is_trusted() -> None:
    found = chains(nft.ruleset("weave", 4789, [], owner=7, decrypted=True))
    assert found["admitted"] == ["meta secpath exists accept", "counter drop"]
    sealed = f"ipsec out reqid {request_id(4789)} goto"
    assert found["outgoing"][1:] == [f"{sealed} own"]
    assert found["own"] == [
        'oifname "weave" accept',
        "meta skuid != 7 meta priority != 7770:0 counter drop",
    ]
    assert found["through"][1:] == [f"{sealed} forwarded"]
    assert found["forwarded"] == [
        'oifname "weave" accept',
        'iifname "weave" counter drop',
        "counter drop",
    ]


@pytest.mark.parametrize("bridge", ['a"b', "br*", "a\\b"])
def test_a_bridge_that_nft_cannot_name_is_refused(bridge: str) -> None:
    with pytest.raises(HostError, match="choose another name"):
        nft.ruleset(bridge, 4789, [])
    nft.ruleset(bridge, 4789, None)


def test_each_bridge_has_a_table_of_its_own() -> None:
    assert nft.ruleset("weave", 4789, None).startswith("table inet weave-py-weave\n")
    strange = nft.ruleset("br{}.;1", 4789, None)
    assert strange.startswith("table inet weave-py-br_7b__7d__2e__3b_1\n")
    with pytest.raises(ConfigError):
        nft.ruleset("two words", 4789, None)
    with pytest.raises(ValueError, match="not a port"):
        nft.ruleset("weave", 0, None)


def test_without_nft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_py.host.firewall.tool.find", lambda command: None)
    with pytest.raises(HostError, match="nft is missing: install nftables"):
        nft.Guard("weave", nft.ruleset("weave", 4789, [])).apply()


def test_what_cannot_be_looked_at_is_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that are gone look the same as rules that could not be listed."""
    program = tmp_path / "nft"
    program.write_text('#!/bin/sh\n[ "$1" = -f ] && echo loaded >>"$0.log"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    kept = nft.Guard("weave", nft.ruleset("weave", 4789, []))
    kept.apply()
    assert kept.restore()
    assert (tmp_path / "nft.log").read_text() == "loaded\n" * 2
