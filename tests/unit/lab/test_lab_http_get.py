"""Does the little HTTP client tell answers, refusals and silence apart?"""

from __future__ import annotations

import socket
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


def test_an_answer_is_status_and_body() -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\nX: y\r\n\r\nno\r\n\r\nno") as port:
        assert http_get.get(port, "/", 5) == (404, b"no\r\n\r\nno")


def test_something_that_is_not_http() -> None:
    with answering(b"220 mail.example ESMTP\r\n") as port, pytest.raises(ValueError, match="HTTP"):
        http_get.get(port, "/", 5)


def test_nobody_listens() -> None:
    with pytest.raises(ConnectionRefusedError):
        http_get.get(free_port(), "/", 0.01)


def test_who_starts_late_is_waited_for() -> None:
    port, answers = free_port(), []

    def ask() -> None:
        answers.append(http_get.get(port, "/", 20))

    asker = threading.Thread(target=ask)
    asker.start()
    with socket.create_server(("127.0.0.1", port)) as listener:
        stream, _ = listener.accept()
        with stream:
            stream.recv(65536)
            stream.sendall(b"HTTP/1.0 200 OK\r\n\r\nat last")
    asker.join()
    assert answers == [(200, b"at last")]
