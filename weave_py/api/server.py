"""How do requests reach the control API, and what may one client cost us?

HTTP/1.1 over `h11`, one request a connection. A framework and its server were measured at 70 ms
more start-up and 9 MiB more memory for each router: much for ten routes. What a client may take
is bounded: head, body, time, and the number of connections.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Sequence
from http import HTTPStatus

import h11
import trio

from weave_py.api.routes import (
    ControlService,
    Request,
    Response,
    allowed_hosts,
    answer,
    text,
)
from weave_py.api.slots import Slots
from weave_py.config.resolve import HttpAddress
from weave_py.loop.accept import serve_listeners
from weave_py.model.errors import HostError, WeaveError
from weave_py.model.marks import MARK

__all__ = ["ControlService", "Slots", "control_listeners", "serve_connection", "serve_http"]

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_CONNECTIONS = 32
REQUEST_SECONDS = 5.0
"""To read a request, and as long again to send its answer."""
ANSWER_SECONDS = 10.0
"""To find it. The host thread may have other things to do first. (Our own client waits a little
longer.)"""
LINGER_SECONDS = 1.0
LINGER_BYTES = 4 * MAX_BODY_BYTES
_RECEIVE_BYTES = 16 * 1024
_FIXED_HEADERS = (
    ("Server", MARK),  # by this our commands know us
    ("Connection", "close"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)

Stream = trio.abc.HalfCloseableStream
_log = logging.getLogger(__name__)


class _Refused(Exception):
    """The request cannot be read any further; the response says why."""

    def __init__(self, response: Response) -> None:
        self.response = response


def control_listeners(address: HttpAddress) -> list[trio.SocketListener]:
    """Listen where the configuration says; HostError if something else does already.

    A unix socket is made for its owner and group only (0660); one that a crashed router left
    behind is replaced.
    """
    if address.path:
        return [trio.SocketListener(_unix_socket(address.path))]
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_STREAM)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        raw.bind((address.host, address.port))
        raw.listen(MAX_CONNECTIONS)
    except OSError as error:
        raw.close()
        raise _cannot_listen(address.text, error) from error
    return [trio.SocketListener(trio.socket.from_stdlib_socket(raw))]


def _unix_socket(path: str) -> trio.socket.SocketType:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_dead_socket(path)
        mask = os.umask(0o117)
        try:
            raw.bind(path)
        finally:
            os.umask(mask)
        raw.listen(MAX_CONNECTIONS)
    except OSError as error:
        raw.close()
        raise _cannot_listen(path, error) from error
    return trio.socket.from_stdlib_socket(raw)


def _remove_dead_socket(path: str) -> None:
    """Unlink a socket nobody listens on; what is alive, or no socket, is left for bind to find."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
        except FileNotFoundError:
            pass


def _cannot_listen(where: str, error: OSError) -> HostError:
    if error.errno == errno.EADDRINUSE:
        return HostError(
            f"something already listens on {where}: stop it (weave-py stop), or choose another "
            "--http-addr"
        )
    return HostError(f"cannot listen on {where}: {error.strerror}: choose another --http-addr")


async def serve_http(
    listeners: Sequence[trio.SocketListener],
    service: ControlService,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests on all listeners until cancelled. No client can make it end."""
    places = Slots(MAX_CONNECTIONS)

    async def serve(stream: trio.SocketStream) -> None:
        await serve_connection(stream, service, _hosts(stream), places)

    await serve_listeners(serve, listeners, task_status=task_status)


def _hosts(stream: trio.SocketStream) -> frozenset[str] | None:
    """Which `Host` values are meant for us; None (any) on a unix socket: no browser gets there."""
    if stream.socket.family == socket.AF_UNIX:
        return None
    host, port = stream.socket.getsockname()[:2]
    return allowed_hosts(host, port)


async def serve_connection(
    stream: Stream,
    service: ControlService,
    hosts: frozenset[str] | None,
    places: Slots,
) -> None:
    """Answer the one request of a connection and close it; raises nothing but Cancelled."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    try:
        async with stream:
            with places.taken() as has_place:
                if has_place:
                    await _exchange(stream, connection, service, hosts, places)
                    return
            busy = text(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again")
            await _send(stream, connection, busy, head_only=False)
    except (
        OSError,
        trio.BrokenResourceError,
        trio.ClosedResourceError,
        h11.ProtocolError,
    ) as error:
        _log.debug("a client of the control API went away: %s", error)
    except Exception:
        _log.exception("error in the control API")


async def _exchange(
    stream: Stream,
    connection: h11.Connection,
    service: ControlService,
    hosts: frozenset[str] | None,
    places: Slots,
) -> None:
    request: Request | None = None
    response = text(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")
    with trio.move_on_after(REQUEST_SECONDS) as patience:
        try:
            with places.reading() as scope:
                request = await _read_untrusted(stream, connection)
            if scope.cancelled_caught:
                return  # it made room for another one
            patience.deadline = trio.current_time() + ANSWER_SECONDS
            response = text(HTTPStatus.SERVICE_UNAVAILABLE, "the router is busy: try again")
            response = await _answer(request, service, hosts)
        except _Refused as refused:
            response = refused.response
    try:
        await _send(stream, connection, response, request is not None and request.method == "HEAD")
    finally:
        # Also if the client did not wait for the answer: it has asked.
        if response.after is not None:
            response.after()
    if request is None:
        await _linger(stream)


async def _answer(
    request: Request, service: ControlService, hosts: frozenset[str] | None
) -> Response:
    try:
        return await answer(request, service, hosts)
    except WeaveError as error:
        return text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except Exception:
        # Ours to repair; the others' requests, and the packets, go on meanwhile.
        _log.exception("error while answering %s %s", request.method, request.path)
        return text(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of weave-py: see its log")


async def _read_untrusted(stream: Stream, connection: h11.Connection) -> Request:
    """The request with its body; `_Refused` for what is malformed or too large."""
    try:
        head = await _next(stream, connection)
        if not isinstance(head, h11.Request):
            raise trio.BrokenResourceError("closed before a request")
        body = bytearray()
        while isinstance(event := await _next(stream, connection), h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise _Refused(
                    text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes")
                )
    except h11.RemoteProtocolError as error:
        code = HTTPStatus(error.error_status_hint)
        raise _Refused(text(code, f"not a request we can read: {error}")) from None
    return Request(
        head.method.decode("ascii"),
        head.target.decode("ascii"),
        tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers),
        bytes(body),
    )


async def _next(
    stream: Stream, connection: h11.Connection
) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
            await stream.send_all(go_on or b"")
        connection.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
    return event


async def _send(
    stream: Stream, connection: h11.Connection, response: Response, head_only: bool
) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    body = response.body.encode()
    headers = [
        ("Content-Type", response.content_type),
        ("Content-Length", str(len(body))),
        *_FIXED_HEADERS,
        *response.headers,
    ]
    head = h11.Response(
        status_code=response.status, headers=headers, reason=response.status.phrase.encode()
    )
    wire = connection.send(head) or b""
    if not head_only:
        wire += connection.send(h11.Data(data=body)) or b""
    wire += connection.send(h11.EndOfMessage()) or b""
    with trio.move_on_after(REQUEST_SECONDS):
        await stream.send_all(wire)


async def _linger(stream: Stream) -> None:
    """Read on for a moment: closing with unread bytes would reset the answer away."""
    taken = 0
    with trio.move_on_after(LINGER_SECONDS):
        await stream.send_eof()
        while taken < LINGER_BYTES and (piece := await stream.receive_some(_RECEIVE_BYTES)):
            taken += len(piece)
