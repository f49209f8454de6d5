"""How does the command line talk to the router of this host? HTTP, over loopback or a socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from weave_py.cli.exits import CommandError, NotPermitted, RouterElsewhere, RouterNotRunning
from weave_py.config.options import BRIDGE, HTTP_ADDR
from weave_py.config.resolve import HttpAddress, Settings
from weave_py.host.locks import is_claimed
from weave_py.model.marks import MARK

if TYPE_CHECKING:  # 20 ms to import, and `launch` asks nothing
    from http.client import HTTPConnection

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 12.0
"""More than the router allows itself, so that its own words reach the user."""
NOT_RUNNING = "the router is not running here: start it with 'weave-py launch'"


class RouterClient:
    """Requests to one router.

    Every method raises RouterNotRunning when nothing listens (RouterElsewhere if one runs all the
    same), NotPermitted when the socket is not ours to use, and CommandError with the router's
    words when it refuses, or if what answers is no router.
    """

    def __init__(
        self, address: HttpAddress, bridge: Callable[[], str] = lambda: BRIDGE.default
    ) -> None:
        """`bridge`: on which one a router would run that does not answer."""
        self.address = address
        self._bridge = bridge

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
            raise self._stranger()
        return document

    def ask(self, method: str, path: str, form: str | None = None) -> tuple[int, str]:
        """Status and body, whatever the status is."""
        from http.client import HTTPConnection, HTTPException, RemoteDisconnected

        headers = {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection: HTTPConnection | None = None
        try:
            sock = self._connect()
            sock.settimeout(ANSWER_SECONDS)
            at = ("localhost",) if self.address.path else (self.address.host, self.address.port)
            connection = HTTPConnection(*at)
            connection.sock = sock
            connection.request(method, path, form, headers)
            response = connection.getresponse()
            if response.getheader("Server") != MARK:
                raise self._stranger()
            return response.status, response.read().decode(errors="replace")
        except (ConnectionRefusedError, FileNotFoundError):
            what = f"answers on {self.address.text}"
            raise _not_running(self._bridge(), what, NOT_RUNNING) from None
        except PermissionError:
            raise NotPermitted(
                f"no permission to use {self.address.text}: run as root (sudo)"
            ) from None
        except TimeoutError:
            raise CommandError(f"the router on {self.address.text} does not answer") from None
        except (OSError, RemoteDisconnected) as error:
            raise CommandError(f"no answer from {self.address.text}: {error!r}") from None
        except HTTPException:
            raise self._stranger() from None
        finally:
            if connection is not None:
                connection.close()

    def listening(self) -> bool:
        """Whether anything accepts connections at the address."""
        try:
            self._connect().close()
        except OSError:
            return False
        return True

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until nothing listens any more; False when `seconds` were not enough."""
        deadline = time.monotonic() + seconds
        while self.listening():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _connect(self) -> socket.socket:
        if not self.address.path:
            place = (self.address.host, self.address.port)
            return socket.create_connection(place, CONNECT_SECONDS)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.connect(self.address.path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _stranger(self) -> CommandError:
        return CommandError(f"what answers on {self.address.text} is not a weave-py router")

    def _accepted(self, status: int, body: str) -> str:
        if status == 200:
            return body
        words = "; ".join(line for line in body.splitlines() if line.strip())
        raise CommandError(words or f"the router answered with HTTP status {status}")


def client(http_addr: str | None) -> RouterClient:
    """The client for `--http-addr`, else `WEAVE_HTTP_ADDR`, else the default address."""
    settings = Settings({HTTP_ADDR.name: http_addr}, os.environ)
    address = settings.value(HTTP_ADDR)
    if address is not None:
        return RouterClient(address, lambda: settings.value(BRIDGE))
    switched_off = "the control API is switched off (WEAVE_HTTP_ADDR): name it with --http-addr"
    raise _not_running(
        settings.value(BRIDGE), "can be asked (WEAVE_HTTP_ADDR is off)", switched_off
    )


def _not_running(bridge: str, what: str, otherwise: str) -> RouterNotRunning:
    """RouterElsewhere if a router works on `bridge`, though none does `what`."""
    if is_claimed(bridge):
        return RouterElsewhere(
            f"no router {what}, but one runs on bridge {bridge}: its control API is off or "
            "elsewhere: name it with --http-addr"
        )
    return RouterNotRunning(otherwise)
