"""How does another process of this host ask a router? HTTP, over a unix socket or loopback.

Anybody may listen on loopback, and say anything: an answer is believed if the server is root's, or
ours, and nobody else is asked anything.

Only the standard library, and of it little before something is asked: commands start with it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from weave_py.api import FORM, SERVER
from weave_py.config.options import BRIDGE
from weave_py.config.resolve import HttpAddress
from weave_py.host.locks import is_claimed
from weave_py.host.socket_table import server_owner
from weave_py.model.errors import NotPermitted, RequestRefused, RouterElsewhere, RouterNotRunning

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 12.0
"""More than the router allows itself, so that its own words reach the user."""
NOT_RUNNING = "the router is not running here: start it with 'weave-py launch'"


class RouterClient:
    """Requests to one router.

    Every method raises RouterNotRunning when nothing listens (RouterElsewhere if one runs all the
    same), NotPermitted when the socket is not ours to use, and RequestRefused with the router's
    words when it refuses, or if what answers is no router, or another user's.
    """

    def __init__(
        self, address: HttpAddress, bridge: Callable[[], str] = lambda: BRIDGE.default
    ) -> None:
        """`bridge`: on which one a router would run that does not answer."""
        self.address = address
        self._bridge = bridge

    def get(self, path: str) -> str:
        """The body of an answer that is no refusal."""
        return self._accepted(*self.ask("GET", path))

    def post(self, path: str, fields: Sequence[tuple[str, str]] = ()) -> str:
        """Send a form; the body of a 200 answer."""
        return self._accepted(*self.ask("POST", path, urlencode(fields).encode("ascii")))

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

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = FORM,
        seconds: float = ANSWER_SECONDS,
    ) -> tuple[int, str]:
        """Status and body of the answer, whatever the status is.

        `path` is percent-encoded; `seconds`: how long to wait at most for the answer, or for more
        of it.
        """
        # 20 ms to import, and `launch` asks nothing
        from http.client import HTTPConnection, HTTPException, RemoteDisconnected

        headers = {} if body is None else {"Content-Type": content_type}
        at = ("localhost",) if self.address.path else (self.address.host, self.address.port)
        connection = HTTPConnection(*at)
        try:
            connection.sock = sock = self._connect()
            self._refuse_strangers(sock)
            sock.settimeout(seconds)
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            if response.getheader("Server") != SERVER:
                raise self._stranger()
            return response.status, response.read().decode(errors="replace")
        except (ConnectionRefusedError, FileNotFoundError):
            raise self._not_running() from None
        except PermissionError:
            raise NotPermitted(
                f"no permission to use {self.address.text}: run as root (sudo)"
            ) from None
        except TimeoutError:
            raise RequestRefused(f"the router on {self.address.text} does not answer") from None
        except (OSError, RemoteDisconnected) as error:
            raise RequestRefused(f"no answer from {self.address.text}: {error!r}") from None
        except HTTPException:
            raise self._stranger() from None
        finally:
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

    def _refuse_strangers(self, sock: socket.socket) -> None:
        """Before a word is said: whoever asks may be root, and act on the answer."""
        owner = server_owner(sock, CONNECT_SECONDS)
        if owner not in (0, os.geteuid()):
            raise RequestRefused(
                f"what listens on {self.address.text} belongs to user {owner}, neither to root nor "
                "to you: it is not asked, and not believed"
            )

    def _not_running(self) -> RouterNotRunning:
        bridge = self._bridge()
        if not is_claimed(bridge):
            return RouterNotRunning(NOT_RUNNING)
        return RouterElsewhere(
            f"no router answers on {self.address.text}, but one runs on bridge {bridge}: it is "
            "starting or ending, or is to be asked without --http-addr (and WEAVE_HTTP_ADDR)"
        )

    def _stranger(self) -> RequestRefused:
        return RequestRefused(f"what answers on {self.address.text} is not a weave-py router")

    def _accepted(self, status: int, body: str) -> str:
        if status in (200, 204):
            return body
        words = "; ".join(line for line in body.splitlines() if line.strip())
        raise RequestRefused(words or f"the router answered with HTTP status {status}")
