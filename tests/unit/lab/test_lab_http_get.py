"""Does the little HTTP client tell answers, refusals and silence apart?"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from weave_py.lab import http_get


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server on a free port of the loopback that gives one answer to one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.recv(65536)
                stream.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def run(port: int, seconds: str = "5") -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-I", "-S", http_get.__file__, str(port), "/status", seconds]
    return subprocess.run(words, capture_output=True, check=False, timeout=20)


def test_an_answer_is_status_and_body() -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nX: y\r\n\r\nno\r\n\r\nno") as port:
        assert http_get.get(port, "/", 5) == (404, b"no\r\n\r\nno")


def test_something_that_is_not_http() -> None:
    with answering(b"220 mail.example ESMTP\r\n") as port, pytest.raises(ValueError, match="HTTP"):
        http_get.get(port, "/", 5)


def test_the_script_prints_the_body() -> None:
    with answering(b"HTTP/1.0 200 OK\r\n\r\nhello") as port:
        done = run(port)
    assert (done.returncode, done.stdout) == (0, b"hello")


def test_the_script_fails_for_another_status() -> None:
    with answering(b"HTTP/1.0 500 Oops\r\n\r\nwhy") as port:
        done = run(port)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"why", b"HTTP status 500\n")


def test_the_script_gives_up_when_nobody_listens() -> None:
    done = run(free_port(), seconds="0.01")
    assert done.returncode == http_get.EXIT_NO_ANSWER
    assert b"refused" in done.stderr
