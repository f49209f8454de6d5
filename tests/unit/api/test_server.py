"""The control API: routes, limits, browsers kept out, and nobody able to take it down."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import trio
import trio.testing

from weave_py.api.routes import allowed_hosts
from weave_py.api.server import (
    ANSWER_SECONDS,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    REQUEST_SECONDS,
    Slots,
    control_listeners,
    serve_connection,
    serve_http,
)
from weave_py.config.resolve import HttpAddress
from weave_py.model.errors import HostError
from weave_py.model.names import PeerName, PeerUID
from weave_py.model.routes import RouteTable
from weave_py.model.snapshot import RouterSnapshot
from weave_py.observe.report import ReportExtras

HOSTS = allowed_hosts("127.0.0.1", 6784)
HOST = "Host: 127.0.0.1:6784\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


class Service:
    """A router that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.extras = ReportExtras(bridge="weave", mtu=1376, ready=True)
        self.before_extras: Callable[[], None] = lambda: None
        self.delay = 0.0

    def snapshot(self) -> RouterSnapshot:
        return RouterSnapshot(
            name=PeerName(b"\x01" * 6),
            nickname="h1",
            uid=PeerUID(1),
            port=6783,
            encryption=True,
            discovery=True,
            conn_limit=0,
            trusted_subnets=(),
            targets=("10.1.1.1",),
            connections=(),
            peers=(),
            paths=(),
            routes=RouteTable(),
            terminations=0,
            counters=MappingProxyType({}),
        )

    @property
    def is_ready(self) -> bool:
        return self.extras.ready

    async def report_extras(self) -> ReportExtras:
        self.before_extras()
        await trio.sleep(self.delay)
        return self.extras

    async def connect(self, targets: list[str], replace: bool) -> list[str]:
        self.told.append(("connect", targets, replace))
        return [f"bad: {target}" for target in targets if target.startswith("bad")]

    async def forget(self, targets: list[str]) -> None:
        self.told.append(("forget", targets))

    def stop(self) -> None:
        self.told.append("stop")


@pytest.fixture
def service() -> Service:
    return Service()


async def ask(
    service: Service,
    raw: str | bytes,
    hosts: frozenset[str] | None = HOSTS,
    places: Slots | None = None,
) -> tuple[int, str, str]:
    """Send bytes to a server on memory streams; status, head and body of the answer."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, service, hosts, places or Slots(9))
        await ours.send_all(raw.encode() if isinstance(raw, str) else raw)
        answer = b""
        while piece := await ours.receive_some(65536):
            answer += piece
        await ours.aclose()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def get(path: str, *lines: str, method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\n{HOST}" + "".join(f"{x}\r\n" for x in lines) + "\r\n"


def post(path: str, form: str = "", *lines: str) -> str:
    extra = "".join(f"{x}\r\n" for x in lines)
    return f"POST {path} HTTP/1.1\r\n{HOST}{FORM}{extra}Content-Length: {len(form)}\r\n\r\n{form}"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/status", "        Service: router\n"),
        ("/status/connections", ""),
        ("/status/peers", ""),
        ("/status/targets", "10.1.1.1\n"),
        ("/status/paths", "PEER"),
        ("/healthz", "ok\n"),
    ],
)
async def test_text_routes(service: Service, path: str, words: str) -> None:
    status, head, body = await ask(service, get(path))
    assert status == 200
    assert words in body
    assert "text/plain" in head
    assert "nosniff" in head
    assert "Access-Control" not in head


async def test_report_is_json(service: Service) -> None:
    status, head, body = await ask(service, get("/report"))
    assert status == 200
    assert "application/json" in head
    assert json.loads(body)["Router"]["Bridge"] == "weave"


async def test_metrics_are_prometheus_text(service: Service) -> None:
    status, head, body = await ask(service, get("/metrics"))
    assert status == 200
    assert "content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    assert "\n# TYPE weave_connections gauge\n" in body
    assert "\nweave_targets 1\n" in body
    assert body.endswith("\n")
    assert (await ask(service, post("/metrics")))[0] == 405


async def test_templates_are_refused(service: Service) -> None:
    status, _, body = await ask(service, get("/report?format={{.Version}}"))
    assert status == 400
    assert "JSON" in body


async def test_until_it_is_ready_status_says_503_and_all_the_same(service: Service) -> None:
    service.extras = replace(service.extras, ready=False)
    status, _, body = await ask(service, get("/status"))
    assert status == 503
    assert "Service: router" in body
    assert (await ask(service, get("/healthz")))[0] == 503
    assert (await ask(service, get("/report")))[0] == 200


async def test_head_has_the_length_but_no_body(service: Service) -> None:
    status, head, body = await ask(service, get("/status/targets", method="HEAD"))
    assert (status, body) == (200, "")
    assert "content-length: 9" in head.lower()


async def test_connect_keeps_the_good_and_names_the_bad(service: Service) -> None:
    status, _, body = await ask(service, post("/connect", "peer=10.1.1.1&peer=bad%201&peer=bad+2"))
    assert status == 400
    assert body == "bad: bad 1\nbad: bad 2\n"
    assert service.told == [("connect", ["10.1.1.1", "bad 1", "bad 2"], False)]


@pytest.mark.parametrize(
    ("form", "status", "told"),
    [
        ("peer=a", 200, [("connect", ["a"], False)]),
        ("peer=a&replace=true", 200, [("connect", ["a"], True)]),
        ("replace=true", 200, [("connect", [], True)]),
        ("peer=a&replace=perhaps", 400, []),
        ("", 400, []),
        ("replace=false", 400, []),
        ("peer=%ff", 400, []),
        ("&".join(["peer=a"] * 1025), 400, []),
    ],
)
async def test_connect_forms(service: Service, form: str, status: int, told: list[object]) -> None:
    assert (await ask(service, post("/connect", form)))[0] == status
    assert service.told == told


async def test_forget(service: Service) -> None:
    assert (await ask(service, post("/forget", "peer=a&peer=b")))[0] == 200
    assert (await ask(service, post("/forget")))[0] == 400
    assert service.told == [("forget", ["a", "b"])]


async def test_stop_without_body_or_type(service: Service) -> None:
    assert (await ask(service, get("/stop", method="POST")))[0] == 200
    assert service.told == ["stop"]


async def test_stop_counts_even_if_nobody_waits_for_the_answer(service: Service) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(get("/stop", method="POST").encode())
    await ours.aclose()
    await serve_connection(theirs, service, HOSTS, Slots(1))
    assert service.told == ["stop"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None),
        ("GET", "/status/", 404, None),
        ("GET", "/stop", 405, "Allow: POST"),
        ("POST", "/status", 405, "Allow: GET, HEAD"),
        ("OPTIONS", "/connect", 405, "Allow: POST"),
        ("DELETE", "/report", 405, "Allow: GET, HEAD"),
    ],
)
async def test_wrong_paths_and_methods(
    service: Service, method: str, path: str, status: int, allow: str | None
) -> None:
    got, head, _ = await ask(service, get(path, method=method))
    assert got == status
    assert allow is None or allow.lower() in head.lower()
    assert service.told == []


@pytest.mark.parametrize("path", ["/connect", "/forget", "/stop"])
@pytest.mark.parametrize(
    "header",
    [
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:6784",
        "Referer: http://evil.example/page",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
    ],
)
async def test_web_pages_change_nothing(service: Service, path: str, header: str) -> None:
    status, _, body = await ask(service, post(path, "peer=a", header))
    assert status == 403
    assert "web pages" in body
    assert service.told == []


async def test_reading_needs_no_such_care(service: Service) -> None:
    assert (await ask(service, get("/status", "Referer: http://localhost/")))[0] == 200


@pytest.mark.parametrize(
    ("host", "hosts", "status"),
    [
        ("127.0.0.1:6784", HOSTS, 200),
        ("localhost:6784", HOSTS, 200),
        ("LOCALHOST:6784", HOSTS, 200),
        ("[::1]:6784", HOSTS, 200),
        ("localhost", HOSTS, 200),
        ("evil.example", HOSTS, 403),
        ("evil.example:6784", HOSTS, 403),
        ("localhost.evil.example:6784", HOSTS, 403),
        ("127.0.0.1:80", HOSTS, 403),
        ("", HOSTS, 403),
        ("anything", None, 200),
    ],
)
async def test_a_rebound_name_gets_nothing(
    service: Service, host: str, hosts: frozenset[str] | None, status: int
) -> None:
    for request in ("GET /status", "POST /stop"):
        raw = f"{request} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        assert (await ask(service, raw, hosts))[0] == status
    assert service.told == (["stop"] if status == 200 else [])


async def test_a_missing_or_double_host_is_refused(service: Service) -> None:
    assert (await ask(service, "POST /stop HTTP/1.1\r\n\r\n"))[0] == 400
    assert (await ask(service, "POST /stop HTTP/1.0\r\n\r\n"))[0] == 403
    assert (await ask(service, f"POST /stop HTTP/1.1\r\n{HOST}Host: evil\r\n\r\n"))[0] == 400
    assert service.told == []


async def test_a_body_that_is_no_form_is_refused(service: Service) -> None:
    raw = f"POST /connect HTTP/1.1\r\n{HOST}Content-Type: text/plain\r\nContent-Length: 6\r\n\r\n"
    assert (await ask(service, raw + "peer=a"))[0] == 415


async def test_a_chunked_form_is_read(service: Service) -> None:
    raw = f"POST /connect HTTP/1.1\r\n{HOST}{FORM}Transfer-Encoding: chunked\r\n\r\n"
    assert (await ask(service, raw + "4\r\npeer\r\n2\r\n=a\r\n0\r\n\r\n"))[0] == 200
    assert service.told == [("connect", ["a"], False)]


async def test_who_waits_for_a_go_ahead_gets_it(service: Service) -> None:
    head, _, form = post("/connect", "peer=a", "Expect: 100-continue").partition("\r\n\r\n")
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, service, HOSTS, Slots(1))
        await ours.send_all(f"{head}\r\n\r\n".encode())
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 100")
        await ours.send_all(form.encode())
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")
        await ours.aclose()


async def test_the_largest_body_passes_and_one_more_does_not(
    service: Service, autojump_clock: trio.testing.MockClock
) -> None:
    largest = "peer=" + "a" * (MAX_BODY_BYTES - 5)
    assert (await ask(service, post("/connect", largest)))[0] == 200
    assert (await ask(service, post("/connect", largest + "a")))[0] == 413


async def test_a_head_too_large_is_refused(
    service: Service, autojump_clock: trio.testing.MockClock
) -> None:
    status, _, _ = await ask(service, get("/status", "X: " + "x" * (2 * MAX_HEAD_BYTES)))
    assert status == 431


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
async def test_what_is_no_http_gets_a_400(
    service: Service, raw: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await ask(service, raw))[0] == 400


@pytest.mark.parametrize("raw", ["", "GET /status HT", post("/connect", "peer=a")[:-1]])
async def test_a_request_that_does_not_arrive_times_out(
    service: Service, raw: str, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    status, _, _ = await ask(service, raw)
    assert status == 408
    assert trio.current_time() - began < REQUEST_SECONDS + 2
    assert service.told == []


async def test_a_router_that_is_too_busy_says_so(
    service: Service, autojump_clock: trio.testing.MockClock
) -> None:
    service.delay = 60
    began = trio.current_time()
    assert (await ask(service, get("/report")))[0] == 503
    assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS)


async def test_beyond_the_last_place_the_answer_is_503(service: Service) -> None:
    places = Slots(1)
    assert (await ask(service, get("/status"), places=places))[0] == 200
    with places.taken() as is_taken:
        assert is_taken
        assert (await ask(service, get("/status"), places=places))[0] == 503
    assert (await ask(service, get("/status"), places=places))[0] == 200


async def test_who_dawdles_makes_room(service: Service) -> None:
    places, dawdlers = Slots(3), [trio.testing.memory_stream_pair() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for ours, theirs in dawdlers:
            nursery.start_soon(serve_connection, theirs, service, HOSTS, places)
            await ours.send_all(b"GET /sta")
            await trio.testing.wait_all_tasks_blocked()
        assert (await ask(service, get("/status"), places=places))[0] == 200
        assert await dawdlers[0][0].receive_some() == b""  # the one that was there longest
        for ours, _ in dawdlers[1:]:
            await ours.send_all(get("/status")[len("GET /sta") :].encode())
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")


async def test_a_bug_is_a_500_with_a_traceback_in_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def bug() -> None:
        raise ZeroDivisionError("planted")

    service.before_extras = bug
    status, _, body = await ask(service, get("/report"))
    assert status == 500
    assert "planted" not in body
    assert any(r.exc_info and "GET /report" in r.getMessage() for r in caplog.records)


async def test_an_expected_failure_is_a_500_in_its_own_words(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise HostError("the kernel is on strike")

    service.before_extras = refuse
    status, _, body = await ask(service, get("/report"))
    assert (status, body) == (500, "the kernel is on strike\n")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@asynccontextmanager
async def serving(service: Service, listeners: list[trio.SocketListener]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_http(listeners, service, task_status=task_status)
        )
        yield
        nursery.cancel_scope.cancel()


async def exchange(stream: trio.SocketStream, raw: str) -> bytes:
    async with stream:
        await stream.send_all(raw.encode())
        answer = b""
        while piece := await stream.receive_some(65536):
            answer += piece
        return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_over_tcp_clients_may_crash_and_the_server_goes_on(service: Service) -> None:
    port = free_port()
    async with serving(service, control_listeners(HttpAddress("127.0.0.1", port))):
        for _ in range(2 * MAX_CONNECTIONS):
            rude = await trio.open_tcp_stream("127.0.0.1", port)
            await rude.send_all(b"GET /status HTTP/1.1\r\nHo")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await rude.aclose()  # with a reset
        await trio.testing.wait_all_tasks_blocked(0.05)
        polite = await trio.open_tcp_stream("127.0.0.1", port)
        raw = f"GET /status HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
        assert (await exchange(polite, raw)).startswith(b"HTTP/1.1 200")
        rebound = await trio.open_tcp_stream("127.0.0.1", port)
        answer = await exchange(rebound, "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403")


async def test_no_more_connections_than_allowed(service: Service) -> None:
    port = free_port()
    async with serving(service, control_listeners(HttpAddress("127.0.0.1", port))):
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        extra = await trio.open_tcp_stream("127.0.0.1", port)
        assert await idle[0].receive_some() == b""
        raw = f"GET /status HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
        assert (await exchange(extra, raw)).startswith(b"HTTP/1.1 200")
        for stream in idle:
            await stream.aclose()


async def test_an_oversized_body_over_tcp_still_gets_its_answer(service: Service) -> None:
    port = free_port()
    async with serving(service, control_listeners(HttpAddress("127.0.0.1", port))):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        raw = post("/connect", "x" * 3 * MAX_BODY_BYTES).replace(":6784", f":{port}")
        assert (await exchange(stream, raw)).startswith(b"HTTP/1.1 413")


async def test_a_port_in_use_is_a_host_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HostError, match="already listens"):
            control_listeners(HttpAddress("127.0.0.1", other.getsockname()[1]))


async def test_a_unix_socket_is_private_and_survives_a_crash(
    service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    crashed = control_listeners(HttpAddress("", 0, str(path)))
    await crashed[0].aclose()  # the file stays, as after a crash
    listeners = control_listeners(HttpAddress("", 0, str(path)))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    async with serving(service, listeners):
        with pytest.raises(HostError, match="already listens"):
            control_listeners(HttpAddress("", 0, str(path)))
        stream = await trio.open_unix_socket(str(path))
        answer = await exchange(stream, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_file_in_the_way_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(HostError, match="precious"):
        control_listeners(HttpAddress("", 0, str(path)))
    assert path.read_text() == "data"
