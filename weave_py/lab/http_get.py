"""What does a router say at a URL of its control API? Asked in the calling thread's namespace."""

from __future__ import annotations

import socket
import time

PAUSE_SECONDS = 0.1
"""Between two tries while nobody listens yet."""


def get(port: int, path: str, seconds: float) -> tuple[int, bytes]:
    """Status and body; OSError when nothing answered in time, ValueError for no HTTP."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _get_once(port, path, deadline)
        except ConnectionRefusedError:
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise
            time.sleep(PAUSE_SECONDS)


def _get_once(port: int, path: str, deadline: float) -> tuple[int, bytes]:
    left = max(deadline - time.monotonic(), 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=left) as stream:
        # HTTP/1.0: no chunks, and the end of the stream is the end of the body.
        stream.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while piece := stream.recv(65536):
            answer += piece
    head, separator, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[1].isdigit():
        raise ValueError("that was not an HTTP answer")
    return int(words[1]), body
