"""One request, one answer: limits, refusals, hang-ups, and nobody able to take it down."""

from __future__ import annotations

import logging
from contextlib import suppress
from http import HTTPStatus

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.api import FORM, HOST, HOSTS, Service, ask, get, post
from weave_py.api.application import Application
from weave_py.api.events import HEARTBEAT_SECONDS, EventSource, EventStream
from weave_py.api.exchange import MAX_HEAD_BYTES, REQUEST_SECONDS, Door
from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response, text
from weave_py.api.route import Handler, Limits, Route
from weave_py.api.server import serve_connection
from weave_py.model.errors import HostError

MAX_BODY_BYTES = Limits().body_bytes
ANSWER_SECONDS = Limits().seconds


async def test_a_chunked_form_is_read(service: Service, door: Door) -> None:
    raw = f"POST /connect HTTP/1.1\r\n{HOST}{FORM}Transfer-Encoding: chunked\r\n\r\n"
    assert (await ask(door, raw + "4\r\npeer\r\n2\r\n=a\r\n0\r\n\r\n"))[0] == 200
    assert service.told == [("connect", ["a"], False)]


async def test_who_waits_for_a_go_ahead_gets_it(service: Service) -> None:
    head, _, form = post("/connect", "peer=a", "Expect: 100-continue").partition("\r\n\r\n")
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, Door(service.application()), HOSTS)
        await ours.send_all(f"{head}\r\n\r\n".encode())
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 100")
        await ours.send_all(form.encode())
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")
        await ours.aclose()


async def test_the_largest_body_passes_and_one_more_does_not(
    door: Door, autojump_clock: trio.testing.MockClock
) -> None:
    largest = "peer=" + "a" * (MAX_BODY_BYTES - 5)
    assert (await ask(door, post("/connect", largest)))[0] == 200
    assert (await ask(door, post("/connect", largest + "a")))[0] == 413


async def test_a_head_too_large_is_refused(
    door: Door, autojump_clock: trio.testing.MockClock
) -> None:
    status, _, _ = await ask(door, get("/status", "X: " + "x" * (2 * MAX_HEAD_BYTES)))
    assert status == 431


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
async def test_what_is_no_http_gets_a_400(
    door: Door, raw: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await ask(door, raw))[0] == 400


@pytest.mark.parametrize("raw", ["", "GET /status HT", post("/connect", "peer=a")[:-1]])
async def test_a_request_that_does_not_arrive_times_out(
    service: Service, door: Door, raw: str, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    status, _, _ = await ask(door, raw)
    assert status == 408
    assert trio.current_time() - began < REQUEST_SECONDS + 2
    assert service.told == []


async def test_a_router_that_is_too_busy_says_so(
    service: Service, door: Door, autojump_clock: trio.testing.MockClock
) -> None:
    service.delay = 60
    began = trio.current_time()
    assert (await ask(door, get("/report")))[0] == 503
    assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS)


async def test_beyond_the_last_place_the_answer_is_503(service: Service) -> None:
    door = Door(service.application(), connections=1)
    assert (await ask(door, get("/status")))[0] == 200
    with door.slots.taken() as is_taken:
        assert is_taken
        assert (await ask(door, get("/status")))[0] == 503
    assert (await ask(door, get("/status")))[0] == 200


async def test_who_dawdles_makes_room(service: Service) -> None:
    door = Door(service.application(), connections=3)
    dawdlers = [trio.testing.memory_stream_pair() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for ours, theirs in dawdlers:
            nursery.start_soon(serve_connection, theirs, door, HOSTS)
            await ours.send_all(b"GET /sta")
            await trio.testing.wait_all_tasks_blocked()
        assert (await ask(door, get("/status")))[0] == 200
        assert await dawdlers[0][0].receive_some() == b""  # the one that was there longest
        for ours, _ in dawdlers[1:]:
            await ours.send_all(get("/status")[len("GET /sta") :].encode())
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")


async def test_a_bug_is_a_500_with_a_traceback_in_the_log(
    service: Service, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def bug() -> None:
        raise ZeroDivisionError("planted")

    service.before_extras = bug
    status, _, body = await ask(door, get("/report"))
    assert status == 500
    assert "planted" not in body
    assert any(r.exc_info and "GET /report" in r.getMessage() for r in caplog.records)


async def test_an_expected_failure_is_a_500_in_its_own_words(
    service: Service, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise HostError("the kernel is on strike")

    service.before_extras = refuse
    status, _, body = await ask(door, get("/report"))
    assert (status, body) == (500, "the kernel is on strike\n")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def routed(handler: Handler, limits: Limits | None = None, method: str = "GET") -> Door:
    return Door(Application([Route(method, "/x", handler, limits or Limits())]))


async def test_bodies_and_answers_are_bytes() -> None:
    async def echo(request: Request) -> Response:
        return Response(HTTPStatus.OK, request.body[::-1], "image/png", (("X-Two", "2"),))

    limits = Limits(content_types=frozenset({"application/json"}), body_bytes=256)
    door = routed(echo, limits, "PUT")
    ours, theirs = trio.testing.memory_stream_pair()
    body = bytes(range(256))
    head = f"PUT /x HTTP/1.1\r\n{HOST}Content-Type: application/json\r\nContent-Length: 256\r\n\r\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, door, HOSTS)
        await ours.send_all(head.encode() + body)
        answer = b""
        while piece := await ours.receive_some(65536):
            answer += piece
        await ours.aclose()
    assert answer.endswith(b"\r\n\r\n" + body[::-1])
    assert b"Content-Type: image/png" in answer
    assert b"X-Two: 2" in answer


async def test_no_content_has_no_length() -> None:
    async def done(request: Request) -> Response:
        return Response(HTTPStatus.NO_CONTENT)

    status, head, body = await ask(routed(done, method="DELETE"), get("/x", method="DELETE"))
    assert (status, body) == (204, "")
    assert "content-length" not in head.lower()
    assert "transfer-encoding" not in head.lower()


async def test_the_limits_are_the_routes(autojump_clock: trio.testing.MockClock) -> None:
    async def late(request: Request) -> Response:
        await trio.sleep(50)
        return text(HTTPStatus.OK, "at last")

    assert (await ask(routed(late, Limits(seconds=49)), get("/x")))[0] == 503
    assert (await ask(routed(late, Limits(seconds=51)), get("/x")))[0] == 200
    short = routed(late, Limits(seconds=51, body_bytes=3), "POST")
    assert (await ask(short, post("/x", "abc")))[0] == 200
    assert (await ask(short, post("/x", "abcd")))[0] == 413
    assert (await ask(short, post("/x", "")))[0] == 200


@pytest.mark.parametrize("leaves", [False, True])
async def test_so_many_of_a_route_at_a_time(
    leaves: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async def late(request: Request) -> Response:
        await trio.sleep(50)
        return text(HTTPStatus.OK, "at last")

    door = routed(late, Limits(seconds=60, concurrent=2, ends_with_caller=True))
    callers = [trio.testing.memory_stream_pair() for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for ours, theirs in callers:
            nursery.start_soon(serve_connection, theirs, door, HOSTS)
            await ours.send_all(get("/x").encode())
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(door, get("/x")))[0] == 503
        if leaves:
            await callers[0][0].aclose()
            await trio.testing.wait_all_tasks_blocked()
        else:
            await trio.sleep(51)
        assert (await ask(door, get("/x")))[0] == 200
        for ours, _ in callers:
            await ours.aclose()
    assert not +door.running


async def test_a_handler_may_refuse() -> None:
    async def refuse(request: Request) -> Response:
        raise Refusal(text(HTTPStatus.CONFLICT, "taken"))

    status, _, body = await ask(routed(refuse), get("/x"))
    assert (status, body) == (409, "taken\n")


async def test_parameters_of_the_query() -> None:
    async def say(request: Request) -> Response:
        return text(HTTPStatus.OK, repr(request.parameters()))

    door = routed(say)
    answer = await ask(door, get("/x?a=1&a=%C3%A4&b=+"))
    assert answer[2] == "{'a': ['1', 'ä'], 'b': [' ']}\n"
    assert (await ask(door, get("/x?a=%ff")))[0] == 400
    assert (await ask(door, get("/x?" + "&".join(["a=1"] * 1025))))[0] == 400


async def test_who_does_not_take_a_stream_is_cut(autojump_clock: trio.testing.MockClock) -> None:
    """Also if nothing happens any more: the heartbeats find it out."""
    source = EventSource()

    async def stream(request: Request) -> EventStream:
        return EventStream(source)

    ours, theirs = trio.testing.lockstep_stream_pair()  # whoever sends waits for the reader
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, theirs, routed(stream), HOSTS)
        await ours.send_all(get("/x").encode())
        assert b"text/event-stream" in bytes(await ours.receive_some(4096))
        await trio.testing.wait_all_tasks_blocked()
        assert len(source) == 1
        await trio.sleep(HEARTBEAT_SECONDS + REQUEST_SECONDS + 1)
        assert len(source) == 0
        await ours.aclose()


class Errors(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


REQUESTS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda method, target, headers, body: b"".join(
            [method, b" ", target, b" HTTP/1.1\r\n", *headers, b"\r\n", body]
        ),
        st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PRI", b""]),
        st.one_of(
            st.sampled_from([b"/status", b"/connect", b"/stop", b"/report?a=%", b"*", b"/%00"]),
            st.binary(max_size=20),
        ),
        st.lists(
            st.one_of(
                st.sampled_from(
                    [
                        HOST.encode(),
                        FORM.encode(),
                        b"Content-Length: 3\r\n",
                        b"Content-Length: 99999999\r\n",
                        b"Transfer-Encoding: chunked\r\n",
                        b"Expect: 100-continue\r\n",
                        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
                        b"Origin: http://evil.example\r\n",
                    ]
                ),
                st.binary(max_size=20).map(lambda line: line + b"\r\n"),
            ),
            max_size=4,
        ),
        st.one_of(st.sampled_from([b"a=b", b"3\r\na=b\r\n0\r\n\r\n", b""]), st.binary(max_size=40)),
    ),
)


@settings(deadline=None)
@given(REQUESTS, st.lists(st.integers(1, 60), max_size=5), st.booleans())
def test_any_bytes_get_an_answer_or_the_end(raw: bytes, cuts: list[int], leaves: bool) -> None:
    """In any pieces, from a client that stays or leaves: nothing but an answer, and no error."""
    service = Service()
    door = Door(service.application())
    catcher = Errors(logging.ERROR)

    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, theirs, door, HOSTS)
            rest, answer = raw, b""
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                for cut in cuts:
                    await ours.send_all(rest[:cut])
                    rest = rest[cut:]
                await ours.send_all(rest)
            if not leaves:
                while piece := await ours.receive_some(65536):
                    answer += piece
                assert answer.startswith(b"HTTP/1.1 ")
            await ours.aclose()

    logging.getLogger("weave_py.api").addHandler(catcher)
    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("weave_py.api").removeHandler(catcher)
    assert not catcher.records
    assert not +door.running
    if HOST.strip().lower().encode() not in raw.lower():
        assert not service.told
