"""How does one request get its answer, and what may it cost us?

HTTP/1.1 over `h11`, one request a connection. (Why no framework: docs/decisions.md.) Head, body,
time and answer are bounded. A client that hangs up ends what waits for it alone: we see that by
reading on, whatever it said about keeping the connection.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVar

import h11
import trio

from weave_py.api import SERVER
from weave_py.api.application import Application, Found
from weave_py.api.events import CONTENT_TYPE, EventStream
from weave_py.api.guard import Hosts
from weave_py.api.listener import MAX_CONNECTIONS, MAX_STREAMS
from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response, text
from weave_py.api.route import Answer, Route
from weave_py.api.slots import Slots
from weave_py.model.errors import WeaveError

MAX_HEAD_BYTES = 16 * 1024
REQUEST_SECONDS = 5.0
"""To read a request, and as long again to send its answer, or one piece of a stream."""
LINGER_SECONDS = 1.0
LINGER_BYTES = 256 * 1024
"""How much a client may send that nobody asked for."""
_RECEIVE_BYTES = 16 * 1024
_NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_FIXED_HEADERS = (
    ("Server", SERVER),
    ("Connection", "close"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Door:
    """What all connections of one listener share."""

    def __init__(
        self,
        application: Application,
        connections: int = MAX_CONNECTIONS,
        streams: int = MAX_STREAMS,
    ) -> None:
        self.application = application
        self.slots = Slots(connections)
        self.streams = Slots(streams)
        self.turned_away = Slots(connections)
        self.running: Counter[Route] = Counter()


class Exchange:
    """One request and its answer."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, door: Door, hosts: Hosts) -> None:
        """`hosts`: which `Host` values mean the listener it came to."""
        self._stream = stream
        self._door = door
        self._hosts = hosts
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._is_head = False
        self._is_owed = True
        """Whether the client may still be sending its request."""

    async def run(self) -> EventStream | None:
        """All of it; or up to the stream that is to be fed to the client."""
        request: Request | None = None
        answer: Answer | None = text(
            HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive"
        )
        try:
            with trio.move_on_after(REQUEST_SECONDS):
                with self._door.slots.reading() as scope:
                    found, request = await self._read_untrusted()
                if scope.cancelled_caught:
                    return None  # it made room for another one
            if request is not None:
                answer = await self._answer(found, request)
        except Refusal as refusal:
            answer = refusal.response
        if isinstance(answer, EventStream):
            if not self._is_head:
                return answer
            answer = Response(HTTPStatus.OK, b"", CONTENT_TYPE)
        if answer is not None:
            await self.send(answer)
        if self._is_owed:
            await self._linger()
        return None

    async def turn_away(self) -> None:
        """There is no place for it: say so, so that it is heard, unless that happens too often."""
        await self.send(busy("too many connections"))
        with self._door.turned_away.taken() as has_place:
            if has_place:
                await self._linger()

    async def send(self, response: Response) -> None:
        """Send a whole answer, unless the client is past hearing one."""
        try:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with trio.move_on_after(REQUEST_SECONDS):
                    await self._stream.send_all(self._encode(response))
        finally:
            # Also if the client did not wait for the answer: it has asked.
            if response.after is not None:
                response.after()

    async def feed(self, events: EventStream) -> None:
        """Send events until the client leaves, or does not take them."""
        with self._door.streams.taken() as has_place:
            if not has_place:
                await self.send(busy("too many streams"))
                return
            await self._send_piece(self._head(HTTPStatus.OK, CONTENT_TYPE))
            await self._while_there(lambda: self._feed(events))

    # --- inside --------------------------------------------------------------------------

    async def _feed(self, events: EventStream) -> None:
        with suppress(trio.BrokenResourceError):
            await events.feed(self._send_data)

    async def _read_untrusted(self) -> tuple[Found, Request]:
        """The request with its body, and who answers it; Refusal for what is malformed, too
        large, or not to be answered."""
        try:
            head = await self._next()
            if not isinstance(head, h11.Request):
                raise trio.BrokenResourceError("closed before a request")
            self._is_head = head.method == b"HEAD"
            method, target = head.method.decode("ascii"), head.target.decode("ascii")
            headers = tuple(
                (name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers
            )
            request = Request(method, target, headers)
            self._is_owed = request.announces_body
            found = self._door.application.find(request, self._hosts)
            body = await self._read_body(found.route.limits.body_bytes)
            self._is_owed = False
        except h11.RemoteProtocolError as error:
            code = HTTPStatus(error.error_status_hint)
            raise Refusal(text(code, f"not a request we can read: {error}")) from None
        return found, Request(method, target, headers, body, found.values)

    async def _read_body(self, most: int) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
            if len(body) > most:
                raise Refusal(
                    text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {most} bytes")
                )
        return bytes(body)

    async def _next(self) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
                await self._stream.send_all(go_on or b"")
            self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
        return event

    async def _answer(self, found: Found, request: Request) -> Answer | None:
        """The handler's answer, or why there is none; None if the client hung up."""
        route, running = found.route, self._door.running
        if route.limits.concurrent is not None and running[route] >= route.limits.concurrent:
            return busy("too many requests of this kind")
        running[route] += 1
        try:
            with trio.move_on_after(route.limits.seconds):
                if route.limits.ends_with_caller:
                    return await self._while_there(lambda: _handled(route, request))
                return await _handled(route, request)
        finally:
            running[route] -= 1
        return busy("the router is busy")

    async def _while_there(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """What `work` returns; it is cancelled when the client hangs up."""
        result: T | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hung_up, nursery.cancel_scope)
            result = await work()
            nursery.cancel_scope.cancel()
        return result

    async def _hung_up(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` as soon as the client hangs up, or talks on and on."""
        taken = 0
        with suppress(trio.BrokenResourceError):
            while taken < LINGER_BYTES and (piece := await self._receive()):
                taken += len(piece)
        scope.cancel()

    async def _receive(self) -> bytes:
        return bytes(await self._stream.receive_some(_RECEIVE_BYTES))

    def _head(self, status: HTTPStatus, kind: str, *more: tuple[str, str]) -> bytes:
        headers = [("Content-Type", kind), *_FIXED_HEADERS, *more]
        head = h11.Response(
            status_code=status, headers=headers, reason=status.phrase.encode("ascii")
        )
        return self._http.send(head) or b""

    def _encode(self, response: Response) -> bytes:
        length = [("Content-Length", str(len(response.body)))]
        wire = self._head(
            response.status,
            response.content_type,
            *([] if response.status in _NO_BODY else length),
            *response.headers,
        )
        if not self._is_head and response.status not in _NO_BODY:
            wire += self._http.send(h11.Data(data=response.body)) or b""
        return wire + (self._http.send(h11.EndOfMessage()) or b"")

    async def _send_data(self, data: bytes) -> None:
        await self._send_piece(self._http.send(h11.Data(data=data)) or b"")

    async def _send_piece(self, piece: bytes) -> None:
        """BrokenResourceError if the client does not take it."""
        with trio.move_on_after(REQUEST_SECONDS) as patience:
            await self._stream.send_all(piece)
        if patience.cancelled_caught:
            raise trio.BrokenResourceError("it takes no more of the stream")

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would reset the answer away."""
        taken = 0
        with trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_eof()
            while taken < LINGER_BYTES and (piece := await self._receive()):
                taken += len(piece)


def busy(why: str) -> Response:
    """503, for what may go better in a moment."""
    return text(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}: try again")


async def _handled(route: Route, request: Request) -> Answer:
    try:
        return await route.handler(request)
    except Refusal as refusal:
        return refusal.response
    except WeaveError as error:
        return text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except Exception:
        # Ours to repair; the others' requests, and the packets, go on meanwhile.
        _log.exception("error while answering %s %s", request.method, request.path)
        return text(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of weave-py: see its log")
