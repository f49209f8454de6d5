"""A stand-in for the router's control API, on loopback or a unix socket."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

REPORT: dict[str, Any] = {
    "Ready": True,
    "Version": "9.9.9",
    "Router": {
        "Bridge": "wv0",
        "MTU": 1400,
        "StateDir": "/nonexistent/weave-state",
        "Targets": ["10.1.1.1"],
        "Connections": [],
        "Peers": [],
        "Paths": [],
    },
}


class FakeRouter:
    """Answers with `answers[(method, path)]`, remembers requests; POST /stop closes it."""

    def __init__(self, unix_path: Path | None) -> None:
        self.answers: dict[tuple[str, str], tuple[int, str]] = {
            ("GET", "/status"): (200, "        Version: 9.9.9\n\n        Service: router\n"),
            ("GET", "/status/targets"): (200, "10.1.1.1\n"),
            ("GET", "/report"): (200, json.dumps(REPORT)),
            ("POST", "/connect"): (200, ""),
            ("POST", "/forget"): (200, ""),
            ("POST", "/stop"): (200, "stopping\n"),
        }
        self.requests: list[tuple[str, str, str]] = []
        self.stops = True
        self.server = "weave-py"
        """What the answers say they are from."""
        if unix_path is None:
            self._server: socketserver.BaseServer = socketserver.ThreadingTCPServer(
                ("127.0.0.1", 0), self._handler()
            )
            self.address = f"127.0.0.1:{self._server.server_address[1]}"
        else:
            self._server = socketserver.ThreadingUnixStreamServer(str(unix_path), self._handler())
            self.address = str(unix_path)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        router = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                router.requests.append((self.command, self.path, body))
                status, text = router.answers.get((self.command, self.path), (404, "nothing\n"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())
                if self.path == "/stop" and router.stops:
                    router._server.shutdown()
                    router._server.socket.close()  # type: ignore[attr-defined]

            do_GET = do_POST = answer

            def version_string(self) -> str:
                return router.server

            def log_message(self, format: str, *args: object) -> None:
                pass

            def address_string(self) -> str:
                return "client"

        return Handler


@pytest.fixture(autouse=True)
def run_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where no router of this machine is."""
    directory = tmp_path_factory.mktemp("run")
    monkeypatch.setattr("weave_py.host.run_directory.RUN_DIRECTORY", directory)
    return directory


@pytest.fixture
def fake_router(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRouter]:
    """A running router on bridge wv0, which is the one meant; WEAVE_HTTP_ADDR leads to it."""
    router = FakeRouter(None)
    monkeypatch.setenv("WEAVE_BRIDGE", "wv0")
    monkeypatch.setenv("WEAVE_HTTP_ADDR", router.address)
    yield router
    router.close()


@pytest.fixture
def unix_router(tmp_path: Path) -> Iterator[FakeRouter]:
    router = FakeRouter(tmp_path / "api.sock")
    yield router
    router.close()


@pytest.fixture
def no_router(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """WEAVE_HTTP_ADDR leads nowhere."""
    monkeypatch.setenv("WEAVE_HTTP_ADDR", str(tmp_path / "nobody.sock"))


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process: (exit status, stdout, stderr)."""
    from weave_py.cli.main import run

    def call(*words: str) -> tuple[int, str, str]:
        status = run(words)
        out, err = capsys.readouterr()
        return int(status), out, err

    return call
