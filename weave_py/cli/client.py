"""How does the command line talk to the router of this host? HTTP, over loopback or a socket."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from weave_py.cli.exits import CommandError, NotPermitted, RouterNotRunning
from weave_py.config import HttpAddress, Settings

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 12.0
"""More than the router allows itself, so that its own words reach the user."""
NOT_RUNNING = "the router is not running here: start it with 'weave-py launch'"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RouterClient:
    """Requests to one router.

    Every method raises RouterNotRunning when nothing listens, NotPermitted when the socket is
    not ours to use, and CommandError with the router's words when it refuses.
    """

    def __init__(self, address: HttpAddress) -> None:
        self.address = address

    def get(self, path: str) -> str:
        """The body of a 200 answer."""
        status, body = self.ask("GET", path)
        return self._accepted(status, body)

    def post(self, path: str, fields: Sequence[tuple[str, str]] = ()) -> str:
        """Send a form; the body of a 200 answer."""
        status, body = self.ask("POST", path, urlencode(fields))
        return self._accepted(status, body)

    def report(self) -> dict[str, Any]:
        """The router's report, parsed."""
        import json

        try:
            document = json.loads(self.get("/report"))
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("Router"), dict):
            raise CommandError(f"what answers on {self.address.text} is not a weave-py router")
        return document

    def ask(self, method: str, path: str, form: str | None = None) -> tuple[int, str]:
        """Status and body, whatever the status is."""
        headers = {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = self._connection()
        try:
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(ANSWER_SECONDS)
            connection.request(method, path, form, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (ConnectionRefusedError, FileNotFoundError):
            raise RouterNotRunning(NOT_RUNNING) from None
        except PermissionError:
            raise NotPermitted(
                f"no permission to use {self.address.text}: run as root (sudo)"
            ) from None
        except TimeoutError:
            raise CommandError(f"the router on {self.address.text} does not answer") from None
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"no answer from {self.address.text}: {error!r}") from None
        finally:
            connection.close()

    def listening(self) -> bool:
        """Whether anything accepts connections at the address."""
        connection = self._connection()
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until nothing listens any more; False when `seconds` were not enough."""
        deadline = time.monotonic() + seconds
        while self.listening():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.path:
            return _UnixConnection(self.address.path, CONNECT_SECONDS)
        return http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=CONNECT_SECONDS
        )

    def _accepted(self, status: int, body: str) -> str:
        if status == 200:
            return body
        words = "; ".join(line for line in body.splitlines() if line.strip())
        raise CommandError(words or f"the router answered with HTTP status {status}")


def client(http_addr: str | None) -> RouterClient:
    """The client for `--http-addr`, else `WEAVE_HTTP_ADDR`, else the default address."""
    address = Settings({"http-addr": http_addr}, os.environ).http_address()
    if address is None:
        raise RouterNotRunning(
            "the control API is switched off (WEAVE_HTTP_ADDR): name it with --http-addr"
        )
    return RouterClient(address)
