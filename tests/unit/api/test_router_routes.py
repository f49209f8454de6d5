"""The router's own routes: what they say, and what they tell the router."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import trio
import trio.testing

from tests.kit.api import HOSTS, Service, ask, get, post
from weave_py.api.exchange import Door
from weave_py.api.server import serve_connection


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
async def test_text_routes(door: Door, path: str, words: str) -> None:
    status, head, body = await ask(door, get(path))
    assert status == 200
    assert words in body
    assert "text/plain" in head
    assert "nosniff" in head
    assert "Access-Control" not in head


async def test_report_is_json(door: Door) -> None:
    status, head, body = await ask(door, get("/report"))
    assert status == 200
    assert "application/json" in head
    assert json.loads(body)["Router"]["Bridge"] == "weave"


async def test_templates_are_refused(door: Door) -> None:
    status, _, body = await ask(door, get("/report?format={{.Version}}"))
    assert status == 400
    assert "JSON" in body


async def test_until_it_is_ready_status_says_503_and_all_the_same(
    service: Service, door: Door
) -> None:
    service.extras = replace(service.extras, ready=False)
    status, _, body = await ask(door, get("/status"))
    assert status == 503
    assert "Service: router" in body
    assert (await ask(door, get("/healthz")))[0] == 503
    assert (await ask(door, get("/report")))[0] == 200


async def test_head_has_the_length_but_no_body(door: Door) -> None:
    status, head, body = await ask(door, get("/status/targets", method="HEAD"))
    assert (status, body) == (200, "")
    assert "content-length: 9" in head.lower()


async def test_connect_keeps_the_good_and_names_the_bad(service: Service, door: Door) -> None:
    status, _, body = await ask(door, post("/connect", "peer=10.1.1.1&peer=bad%201&peer=bad+2"))
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
async def test_connect_forms(
    service: Service, door: Door, form: str, status: int, told: list[object]
) -> None:
    assert (await ask(door, post("/connect", form)))[0] == status
    assert service.told == told


async def test_forget(service: Service, door: Door) -> None:
    assert (await ask(door, post("/forget", "peer=a&peer=b")))[0] == 200
    assert (await ask(door, post("/forget")))[0] == 400
    assert service.told == [("forget", ["a", "b"])]


async def test_stop_without_body_or_type(service: Service, door: Door) -> None:
    assert (await ask(door, get("/stop", method="POST")))[0] == 200
    assert service.told == ["stop"]


async def test_stop_counts_even_if_nobody_waits_for_the_answer(service: Service) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(get("/stop", method="POST").encode())
    await ours.aclose()
    await serve_connection(theirs, Door(service.application()), HOSTS)
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
    service: Service, door: Door, method: str, path: str, status: int, allow: str | None
) -> None:
    got, head, _ = await ask(door, get(path, method=method))
    assert got == status
    assert allow is None or allow.lower() in head.lower()
    assert service.told == []
