"""Does the ruleset say what it should?"""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from fastdp.kernel import nft
from weave_py.model.errors import ConfigError, HostError


def lines(rules: str) -> list[str]:
    return [line.strip() for line in rules.splitlines()]


def test_an_open_network_only_saves_connection_tracking() -> None:
    rules = lines(nft.ruleset("weave", 4789, None))
    assert "udp dport 4789 fib daddr type local notrack" in rules
    assert "udp dport { 4789 } notrack" in rules
    assert not any("drop" in rule for rule in rules)


def test_only_trusted_subnets_come_in() -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("10.1.2.0/24")]
    rules = lines(nft.ruleset("weave", 6784, networks, peer_ports=[4789, 6784]))
    assert "udp dport 6784 ip saddr { 10.1.0.0/16 } accept" in rules
    assert "udp dport 6784 ip6 saddr { fd00::/8 } accept" in rules
    assert rules[-3] == "udp dport 6784 counter drop"
    assert "udp dport { 4789, 6784 } notrack" in rules
    assert not any("secpath" in rule for rule in rules)


def test_nobody_is_trusted() -> None:
    rules = lines(nft.ruleset("weave", 4789, [], decrypted=True))
    admission = rules[rules.index("chain admitted {") + 2 : -2]
    assert (
        admission
        == [
            "udp dport 4789 meta secpath exists accept",
            "udp dport 4789 counter drop",
            "}",
        ][: len(admission)]
    )


def test_each_bridge_has_a_table_of_its_own() -> None:
    assert nft.ruleset("weave", 4789, None).startswith("table inet weave-py-weave\n")
    strange = nft.ruleset("br{}.;1", 4789, None)
    assert strange.startswith("table inet weave-py-br_7b__7d__2e__3b_1\n")
    with pytest.raises(ConfigError):
        nft.ruleset("two words", 4789, None)
    with pytest.raises(ValueError, match="not a port"):
        nft.ruleset("weave", 0, None)


def test_without_nft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError, match="nft is missing: install nftables"):
        nft.Guard("weave", nft.ruleset("weave", 4789, [])).apply()
