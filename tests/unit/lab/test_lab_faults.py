"""Do faults become the nft rules they should?"""

from __future__ import annotations

import pytest

from weave_py.lab.faults import Fault, blocked, lossy, script, too_big


def test_a_blocked_port_is_dropped_at_either_end() -> None:
    fault = Fault("w1h1", "w1h2", blocked("udp", 6783))
    assert fault.rules == (
        'iifname "w1h1" oifname "w1h2" udp dport 6783 counter drop',
        'iifname "w1h1" oifname "w1h2" udp sport 6783 counter drop',
    )


def test_blocking_everything_needs_no_match() -> None:
    assert Fault("a", "b", blocked(None, None)).rules == ('iifname "a" oifname "b" counter drop',)


def test_loss_is_in_hundredths_of_a_percent_and_never_nothing() -> None:
    assert lossy(2.5) == ("numgen random mod 10000 < 250",)
    assert lossy(0.001) == ("numgen random mod 10000 < 1",)
    assert lossy(99.999) == ("numgen random mod 10000 < 9999",)
    assert lossy(100) == ("",)


def test_the_script_replaces_the_table() -> None:
    lines = script([Fault("a", "b", too_big(1400))]).splitlines()
    assert lines[:3] == ["table bridge lab", "delete table bridge lab", "table bridge lab {"]
    assert '    iifname "a" oifname "b" meta length > 1400 counter drop' in lines
    assert not any("drop" in line for line in script([]).splitlines())


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a protocol"):
        blocked(None, 80)
    with pytest.raises(ValueError, match="cannot block protocol"):
        blocked("gre; flush ruleset", None)
    with pytest.raises(ValueError, match="cannot block port"):
        blocked("icmp", 80)
    with pytest.raises(ValueError, match="cannot block port"):
        blocked("udp", 65536)
    with pytest.raises(ValueError, match="loss"):
        lossy(0)
    with pytest.raises(ValueError, match="MTU"):
        too_big(100)
