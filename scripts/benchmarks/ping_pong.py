"""How long does a small UDP packet take there and back, one right after the other? A script.

`python -I -S ping_pong.py PORT` answers; `… PORT ADDRESS SECONDS` asks and prints its findings in
JSON. Unlike a ping now and then it finds the cores awake: what is measured is the way, not how
long an idle machine needs to wake up. (The same Python stands at both ends of every tunnel.)
"""

import gc
import json
import socket
import struct
import sys
import time
from collections.abc import Sequence

SIZE = 64
"""Bytes of UDP payload."""
WARM_UP = 200
"""Round trips that do not count: caches, neighbours, the cores' clocks."""
PATIENCE_SECONDS = 0.2


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of sorted values, by the nearest rank."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def summary(times: list[float], lost: int) -> dict[str, float]:
    """Of round trips in microseconds."""
    times.sort()
    return {
        "trips": len(times),
        "lost": lost / (len(times) + lost),
        "p50_us": percentile(times, 50),
        "p99_us": percentile(times, 99),
        "max_us": times[-1],
    }


def answer(port: int) -> None:
    """Until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        while True:
            sock.sendto(*sock.recvfrom(SIZE))


def ask(port: int, address: str, seconds: float) -> tuple[list[float], int]:
    """(round trips in microseconds, how many found no answer)"""
    times: list[float] = []
    lost, sequence = 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        # Not settimeout(): that asks poll() before every recv().
        patience = struct.pack("@ll", 0, round(PATIENCE_SECONDS * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sequence += 1
            packet = sequence.to_bytes(8, "big").ljust(SIZE, b"\0")
            before = time.perf_counter_ns()
            try:
                sock.send(packet)
                while sock.recv(SIZE) != packet:
                    pass  # the answer to one that was given up
            except OSError:
                lost += 1
                continue
            if sequence > WARM_UP:
                times.append((time.perf_counter_ns() - before) / 1e3)
    return times, lost


def main(argv: list[str]) -> int:
    gc.disable()
    if len(argv) == 1:
        answer(int(argv[0]))
    times, lost = ask(int(argv[0]), argv[1], float(argv[2]))
    if not times:
        print("no answers", file=sys.stderr)
        return 1
    print(json.dumps(summary(times, lost)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
