"""Are rates and round trips of small packets computed right?"""

from __future__ import annotations

import socket
import threading

import pytest

from scripts.benchmarks import ping_pong
from scripts.benchmarks.small_packets import PAYLOAD_BYTES, rate_of
from weave_py.model.errors import HostError


def end(sent: int, received: int, seconds: float = 2.0) -> dict[str, dict[str, float]]:
    return {
        "sum_sent": {"bytes": sent * PAYLOAD_BYTES, "seconds": seconds},
        "sum_received": {"bytes": received * PAYLOAD_BYTES, "seconds": seconds + 0.5},
    }


def test_the_rate_is_what_arrives() -> None:
    assert rate_of(end(200_000, 150_000)) == {"pps": 60_000, "sent_pps": 100_000, "lost": 0.25}


def test_nothing_arrived() -> None:
    with pytest.raises(HostError, match="no packet arrived"):
        rate_of(end(10, 0))


def test_the_summary_of_round_trips() -> None:
    times = [float(n) for n in range(99, 0, -1)]
    found = ping_pong.summary(times, lost=1)
    assert found == {"trips": 99, "lost": 0.01, "p50_us": 50, "p99_us": 99, "max_us": 99}


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (1, 1), (50, 2), (51, 3), (100, 4)])
def test_percentiles_are_values_that_were_seen(percent: float, value: float) -> None:
    assert ping_pong.percentile([1, 2, 3, 4], percent) == value


def test_an_answer_that_is_late_is_not_taken_for_another() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def late_at_first() -> None:
            """The first packet is answered only after the second has come."""
            first, source = sock.recvfrom(100)
            second, source = sock.recvfrom(100)
            sock.sendto(first, source)
            sock.sendto(second, source)
            while (packet := sock.recvfrom(100))[0] != b"end":
                sock.sendto(*packet)

        thread = threading.Thread(target=late_at_first)
        thread.start()
        times, lost = ping_pong.ask(sock.getsockname()[1], "127.0.0.1", 1.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"end", sock.getsockname())
        thread.join()
    assert lost == 1
    assert times
    assert all(0 < time < ping_pong.PATIENCE_SECONDS * 1e6 for time in times)
