"""Web pages: kept from changing anything, and from reading what is not theirs."""

from __future__ import annotations

import pytest

from tests.kit.api import HOST, HOSTS, Service, ask, get, post
from weave_py.api.exchange import Door
from weave_py.api.guard import refuse_foreign_pages, refuse_type
from weave_py.api.request import Request


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
async def test_web_pages_change_nothing(
    service: Service, door: Door, path: str, header: str
) -> None:
    status, _, body = await ask(door, post(path, "peer=a", header))
    assert status == 403
    assert "web pages" in body
    assert service.told == []


async def test_reading_needs_no_such_care(door: Door) -> None:
    assert (await ask(door, get("/status", "Referer: http://localhost/")))[0] == 200


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
    service: Service, door: Door, host: str, hosts: frozenset[str] | None, status: int
) -> None:
    for request in ("GET /status", "POST /stop"):
        raw = f"{request} HTTP/1.1\r\nHost: {host}\r\n\r\n"
        assert (await ask(door, raw, hosts))[0] == status
    assert service.told == (["stop"] if status == 200 else [])


async def test_a_missing_or_double_host_is_refused(service: Service, door: Door) -> None:
    assert (await ask(door, "POST /stop HTTP/1.1\r\n\r\n"))[0] == 400
    assert (await ask(door, "POST /stop HTTP/1.0\r\n\r\n"))[0] == 403
    assert (await ask(door, f"POST /stop HTTP/1.1\r\n{HOST}Host: evil\r\n\r\n"))[0] == 400
    assert service.told == []


async def test_a_body_that_is_no_form_is_refused(door: Door) -> None:
    raw = f"POST /connect HTTP/1.1\r\n{HOST}Content-Type: text/plain\r\nContent-Length: 6\r\n\r\n"
    assert (await ask(door, raw + "peer=a"))[0] == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
@pytest.mark.parametrize("header", ["Origin: null", "Referer: http://x/", "Sec-Fetch-Site: none"])
def test_every_method_that_changes_something_is_guarded(method: str, header: str) -> None:
    name, _, value = header.partition(": ")
    request = Request(method, "/x", (("host", "localhost"), (name.lower(), value)))
    for hosts in (HOSTS, None):
        refusal = refuse_foreign_pages(request, hosts)
        assert refusal is not None
        assert refusal.status == 403


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({}, True),
        ({"referer": "http://localhost/"}, True),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, True),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:6784"}, True),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            True,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            False,
        ),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://localhost:6784"}, False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_foreign_pages_read_nothing(
    headers: dict[str, str], is_answered: bool, method: str
) -> None:
    """A page could hold our streams open, or learn by the time it takes, without seeing bytes."""
    request = Request(method, "/status", (("host", "localhost:6784"), *headers.items()))
    assert (refuse_foreign_pages(request, HOSTS) is None) == is_answered


@pytest.mark.parametrize(
    ("types", "headers", "is_read"),
    [
        ({"a/b"}, {"content-length": "1", "content-type": "a/b"}, True),
        ({"a/b"}, {"content-length": "1", "content-type": "A/B; charset=x"}, True),
        ({"a/b"}, {"content-length": "1", "content-type": "text/plain"}, False),
        ({"a/b"}, {"content-length": "1"}, False),
        ({"a/b", ""}, {"content-length": "1"}, True),
        ({"a/b"}, {"transfer-encoding": "chunked"}, False),
        ({"a/b"}, {"content-length": "0"}, True),
        ({"a/b"}, {}, True),
        (None, {"content-length": "1", "content-type": "x/y"}, True),
    ],
)
def test_bodies_are_what_the_route_expects(
    types: set[str] | None, headers: dict[str, str], is_read: bool
) -> None:
    request = Request("POST", "/x", tuple(headers.items()))
    refusal = refuse_type(request, None if types is None else frozenset(types))
    assert (refusal is None) == is_read
    assert refusal is None or refusal.status == 415
