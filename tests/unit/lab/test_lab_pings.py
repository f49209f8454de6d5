"""Is what ping prints understood, and shown so that people understand it?"""

from __future__ import annotations

import pytest

from weave_py.lab.pings import PingResult, all_pairs, matrix, parse
from weave_py.model.errors import HostError

ANSWERED = """\
PING 10.32.0.2 (10.32.0.2) 56(84) bytes of data.

--- 10.32.0.2 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 402ms
rtt min/avg/max/mdev = 0.036/0.250/0.900/0.052 ms
"""
DUPLICATED = """\
--- 10.32.0.2 ping statistics ---
3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 402ms
rtt min/avg/max/mdev = 1.000/2.000/3.000/0.052 ms
"""
UNREACHABLE = """\
--- 10.32.0.2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms
"""


def test_answers_are_counted_and_times_are_seconds() -> None:
    result = parse(ANSWERED)
    assert result == PingResult(sent=3, received=3, rtt=0.25 / 1e3)
    assert result.reached
    assert result.loss == 0
    assert result.text == "0.25 ms"


def test_duplicates_are_seen() -> None:
    result = parse(DUPLICATED)
    assert (result.received, result.duplicates) == (2, 1)
    assert result.loss == pytest.approx(1 / 3)
    assert result.text == "2.00 ms (2/3)"


def test_errors_are_not_answers() -> None:
    result = parse(UNREACHABLE)
    assert result == PingResult(sent=1, received=0)
    assert not result.reached
    assert result.text == "lost"


def test_anything_else_is_an_error() -> None:
    with pytest.raises(HostError, match="bad number"):
        parse("ping: bad number of packets to transmit.")


def test_all_pairs_are_ordered_and_of_two() -> None:
    assert all_pairs(["a", "b", "c"]) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "a"),
        ("b", "c"),
        ("c", "a"),
        ("c", "b"),
    ]


def test_the_matrix_has_a_row_for_each_source() -> None:
    results = {
        ("c1", "c2"): PingResult(1, 1, rtt=0.00125),
        ("c2", "c1"): PingResult(1, 0),
    }
    assert matrix(results).splitlines() == [
        "from \\ to  c1    c2",
        "c1         ·     1.25 ms",
        "c2         lost  ·",
    ]
