"""Is what ping printed around a cut counted right?"""

from __future__ import annotations

import pytest

from scripts.benchmarks.failover import parse
from weave_py.model.errors import HostError

HEAD = "PING 10.98.0.2 (10.98.0.2) 56(84) bytes of data.\n"


def answer(at: float, sequence: int, *, dup: bool = False) -> str:
    text = f"[{at:.6f}] 64 bytes from 10.98.0.2: icmp_seq={sequence} ttl=64 time=0.05 ms"
    return f"{text} (DUP!)\n" if dup else f"{text}\n"


def test_nothing_happened() -> None:
    text = HEAD + "".join(answer(1764000000 + n / 100, n) for n in range(1, 101))
    found = parse(text)
    assert (found.lost, found.doubled) == (0, 0)
    assert found.silence == pytest.approx(0.01, abs=1e-4)


def test_a_gap_and_a_duplicate() -> None:
    rows = [
        answer(100.00, 1),
        answer(100.01, 2),
        answer(100.01, 2, dup=True),
        answer(100.30, 31),
        "[100.305] From 10.98.0.1 icmp_seq=32 Destination Host Unreachable\n",
        answer(100.32, 33),
    ]
    found = parse(HEAD + "".join(rows))
    assert (found.lost, found.doubled) == (29, 1)
    assert found.silence == pytest.approx(0.29)


def test_what_was_still_on_its_way_at_the_end_is_not_lost() -> None:
    end = (
        "\n--- 10.98.0.2 ping statistics ---\n9 packets transmitted, 3 received, 66% packet loss\n"
    )
    assert parse(HEAD + "".join(answer(5 + n, n) for n in (1, 2, 3)) + end).lost == 0


def test_those_before_the_first_answer_are_lost() -> None:
    assert parse(HEAD + answer(1, 4) + answer(2, 5)).lost == 3


@pytest.mark.parametrize("text", ["", HEAD, HEAD + answer(1, 1)])
def test_too_little_to_say_anything(text: str) -> None:
    with pytest.raises(HostError, match="ping had"):
        parse(text)
