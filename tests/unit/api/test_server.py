"""Over real sockets: several listeners, each with its own rules, and clients that misbehave."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.kit.api import Service, post
from weave_py.api.application import Application
from weave_py.api.events import Event, EventSource, EventStream
from weave_py.api.listener import MAX_CONNECTIONS, Listener, OpenListener, open_listener
from weave_py.api.request import Request
from weave_py.api.response import Response, text
from weave_py.api.route import Limits, Route
from weave_py.api.server import serve_api
from weave_py.config.resolve import HttpAddress

MAX_BODY_BYTES = Limits().body_bytes


@asynccontextmanager
async def serving(*listeners: Listener) -> AsyncIterator[None]:
    opened: list[OpenListener] = [open_listener(each) for each in listeners]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_api, opened)
        yield
        nursery.cancel_scope.cancel()


async def exchange(stream: trio.SocketStream, raw: str) -> bytes:
    async with stream:
        await stream.send_all(raw.encode())
        return await rest_of(stream)


async def rest_of(stream: trio.SocketStream) -> bytes:
    answer = b""
    with trio.fail_after(5):
        while piece := await stream.receive_some(65536):
            answer += piece
    return answer


def request(target: str, host: str = "localhost", method: str = "GET") -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"


class Waiting:
    """Routes that answer late, or never."""

    def __init__(self) -> None:
        self.began = 0
        self.cancelled = 0
        self.events = EventSource()

    def application(self) -> Application:
        patient = Limits(seconds=float("inf"), ends_with_caller=True)
        return Application(
            [
                Route("GET", "/wait", self._wait, patient),
                Route("POST", "/ip/{id}", self._wait, patient),
                Route("POST", "/stubborn", self._wait, Limits(seconds=60)),
                Route("GET", "/at-once", self._at_once),
                Route("GET", "/events", self._stream),
            ]
        )

    async def _at_once(self, request: Request) -> Response:
        return text(HTTPStatus.OK, "ok")

    async def _wait(self, request: Request) -> Response:
        self.began += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled += 1
            raise

    async def _stream(self, request: Request) -> EventStream:
        return EventStream(self.events, (Event("hello", "you"),))


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> HttpAddress:
    if request.param == "tcp":
        return HttpAddress("127.0.0.1", free_port())
    return HttpAddress("", 0, str(tmp_path / "s"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def connect(address: HttpAddress) -> trio.SocketStream:
    if address.path:
        return await trio.open_unix_socket(address.path)
    return await trio.open_tcp_stream(address.host, address.port)


async def eventually(is_true: Callable[[], object]) -> None:
    """The kernel carries what we wait for: a few turns of the loop, whatever they take."""
    with trio.fail_after(5):
        while not is_true():
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_over_tcp_clients_may_crash_and_the_server_goes_on(service: Service) -> None:
    address = HttpAddress("127.0.0.1", free_port())
    async with serving(Listener(address=address, application=service.application())):
        for _ in range(2 * MAX_CONNECTIONS):
            rude = await connect(address)
            await rude.send_all(b"GET /status HTTP/1.1\r\nHo")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await rude.aclose()  # with a reset
        await trio.testing.wait_all_tasks_blocked(0.05)
        for host, status in ((f"localhost:{address.port}", b"200"), ("evil.example", b"403")):
            answer = await exchange(await connect(address), request("/status", host))
            assert answer.startswith(b"HTTP/1.1 " + status)


async def test_no_more_connections_than_allowed(service: Service) -> None:
    address = HttpAddress("127.0.0.1", free_port())
    async with serving(Listener(address=address, application=service.application())):
        idle = [await connect(address) for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        extra = await connect(address)
        assert await idle[0].receive_some() == b""
        assert (await exchange(extra, request("/status"))).startswith(b"HTTP/1.1 200")
        for stream in idle:
            await stream.aclose()


async def test_an_oversized_body_over_tcp_still_gets_its_answer(service: Service) -> None:
    address = HttpAddress("127.0.0.1", free_port())
    async with serving(Listener(address=address, application=service.application())):
        raw = post("/connect", "x" * 3 * MAX_BODY_BYTES).replace(":6784", f":{address.port}")
        assert (await exchange(await connect(address), raw)).startswith(b"HTTP/1.1 413")


async def test_each_listener_has_its_own_application_and_rights(
    service: Service, waiting: Waiting, tmp_path: Path
) -> None:
    """F7: one application, one address."""
    loopback = HttpAddress("127.0.0.1", free_port())
    readers = HttpAddress("127.0.0.1", free_port())
    plugin = HttpAddress("", 0, str(tmp_path / "plugin" / "weave.sock"))
    async with serving(
        Listener(address=loopback, application=service.application()),
        Listener(address=readers, application=service.application(), read_only=True),
        Listener(address=plugin, application=waiting.application()),
    ):
        for address, method, path, expected in (
            (loopback, "GET", "/healthz", b"200"),
            (loopback, "GET", "/at-once", b"404"),
            (readers, "GET", "/healthz", b"200"),
            (readers, "HEAD", "/healthz", b"200"),
            (readers, "POST", "/stop", b"404"),
            (readers, "POST", "/healthz", b"405"),
            (readers, "PUT", "/status", b"405"),
            (plugin, "GET", "/at-once", b"200"),
            (plugin, "GET", "/healthz", b"404"),
            (loopback, "POST", "/stop", b"200"),
        ):
            answer = await exchange(await connect(address), request(path, method=method))
            assert answer.startswith(b"HTTP/1.1 " + expected), (address, method, path)
            assert service.told == (["stop"] if path == "/stop" and expected == b"200" else [])


async def test_the_places_of_one_listener_are_not_anothers(
    service: Service, waiting: Waiting, tmp_path: Path
) -> None:
    crowded = HttpAddress("127.0.0.1", free_port())
    other = HttpAddress("", 0, str(tmp_path / "s"))
    application = waiting.application()
    async with serving(
        Listener(address=crowded, application=application, connections=2),
        Listener(address=other, application=application),
    ):
        busy = [await connect(crowded) for _ in range(2)]
        for stream in busy:
            await stream.send_all(request("/wait").encode())
        await eventually(lambda: waiting.began == 2)
        raw = socket.create_connection((crowded.host, crowded.port))
        raw.sendall(request("/at-once").encode())  # before the server looks
        late = trio.SocketStream(trio.socket.from_stdlib_socket(raw))
        assert (await rest_of(late)).startswith(b"HTTP/1.1 503")
        await late.aclose()
        assert (await exchange(await connect(other), request("/at-once"))).startswith(
            b"HTTP/1.1 200"
        )
        for stream in busy:
            await stream.aclose()


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
@pytest.mark.parametrize("method", ["GET /wait", "POST /ip/c1"])
async def test_who_hangs_up_ends_what_waits_for_him(
    waiting: Waiting, address: HttpAddress, how: str, method: str
) -> None:
    """F7: a client that left was not noticed while it waited, keep-alive or not."""
    async with serving(Listener(address=address, application=waiting.application())):
        stream = await connect(address)
        await stream.send_all(
            f"{method} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n".encode()
        )
        await eventually(lambda: waiting.began)
        assert not waiting.cancelled
        await stream.send_all(b"GET /at-once HTTP/1.1\r\n")  # no hang-up, and not waited for
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not waiting.cancelled
        if how == "half-close":
            await stream.send_eof()
        elif how == "reset" and not address.path:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if how != "half-close":
            await stream.aclose()
        await eventually(lambda: waiting.cancelled)
        await stream.aclose()


async def test_who_talks_on_while_he_waits_is_cut(waiting: Waiting, address: HttpAddress) -> None:
    async with serving(Listener(address=address, application=waiting.application())):
        stream = await connect(address)
        await stream.send_all(request("/wait").encode())
        await eventually(lambda: waiting.began)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * 64 * 2**20)
        assert waiting.cancelled == 1
        await stream.aclose()


async def test_other_requests_are_finished_though_the_caller_left(
    waiting: Waiting, address: HttpAddress
) -> None:
    async with serving(Listener(address=address, application=waiting.application())):
        stream = await connect(address)
        await stream.send_all(request("/stubborn", method="POST").encode())
        await eventually(lambda: waiting.began)
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not waiting.cancelled


async def test_a_stream_brings_what_happens_until_the_caller_leaves(
    waiting: Waiting, address: HttpAddress
) -> None:
    async with serving(Listener(address=address, application=waiting.application())):
        stream = await connect(address)
        await stream.send_all(request("/events").encode())
        heard = await hear(stream, b"data: you")
        assert b"200 \r\n" in heard.replace(b"OK", b"")
        assert b"content-type: text/event-stream" in heard.lower()
        waiting.events.publish(Event("news", "one\ntwo"))
        assert b"event: news\ndata: one\ndata: two\n\n" in await hear(stream, b"two")
        assert len(waiting.events) == 1
        await stream.aclose()
        await eventually(lambda: not len(waiting.events))


async def hear(stream: trio.SocketStream, until: bytes) -> bytes:
    heard = b""
    with trio.fail_after(5):
        while until not in heard:
            piece = await stream.receive_some(4096)
            assert piece
            heard += piece
    return heard


async def test_who_does_not_read_his_stream_is_cut_and_others_hear_on(
    waiting: Waiting, address: HttpAddress
) -> None:
    async with serving(Listener(address=address, application=waiting.application())):
        slow, quick = await connect(address), await connect(address)
        for stream in (slow, quick):
            await stream.send_all(request("/events").encode())
        await eventually(lambda: len(waiting.events) == 2)
        await hear(quick, b"data: you")
        for number in range(400):  # 25 MiB: more than any socket takes
            waiting.events.publish(Event("news", f"{number} " + "x" * 65536 + f" end{number}\n"))
            await hear(quick, b"end%d\n" % number)
        await eventually(lambda: len(waiting.events) == 1)
        with suppress(trio.BrokenResourceError), trio.fail_after(5):
            while await slow.receive_some(65536):
                pass
        for stream in (slow, quick):
            await stream.aclose()


async def test_so_many_streams_and_requests_still_get_through(
    waiting: Waiting, address: HttpAddress
) -> None:
    listener = Listener(
        address=address, application=waiting.application(), connections=1, streams=2
    )
    async with serving(listener):
        streams = []
        for _ in range(2):
            streams.append(await connect(address))
            await streams[-1].send_all(request("/events").encode())
            await hear(streams[-1], b"data: you")
        assert b" 503 " in await exchange(await connect(address), request("/events"))
        assert b" 200 " in await exchange(await connect(address), request("/at-once"))
        await streams[0].aclose()
        await eventually(lambda: len(waiting.events) == 1)
        streams[0] = await connect(address)
        await streams[0].send_all(request("/events").encode())
        await hear(streams[0], b"data: you")
        for stream in streams:
            await stream.aclose()


async def test_head_of_a_stream_ends_at_once(waiting: Waiting, address: HttpAddress) -> None:
    async with serving(Listener(address=address, application=waiting.application())):
        answer = await exchange(await connect(address), request("/events", method="HEAD"))
        assert answer.endswith(b"\r\n\r\n")
        assert b"text/event-stream" in answer


async def test_a_socket_file_goes_with_the_server(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "s"
    address = HttpAddress("", 0, str(path))
    async with serving(Listener(address=address, application=service.application())):
        assert path.is_socket()
    assert not path.exists()


async def test_a_file_that_is_somebody_elses_by_now_stays(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "s"
    address = HttpAddress("", 0, str(path))
    async with serving(Listener(address=address, application=service.application())):
        path.rename(tmp_path / "old")
        path.write_text("data")
    assert path.read_text() == "data"
