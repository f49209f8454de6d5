"""Patterns and paths: decoded once, one route a request, whatever the order they came in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weave_py.api.application import Application
from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response
from weave_py.api.route import METHODS, Route, split_untrusted

WORDS = st.sampled_from(["ip", "name", "status", "peers", "NetworkDriver.Join", "a_b", "~x"])
PARAMETERS = st.sampled_from(["{id}", "{name}", "{length:int}", "{address:ip}"])
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)


async def nobody(request: Request) -> Response:
    raise NotImplementedError


def route(method: str, pattern: str) -> Route:
    return Route(method, pattern, nobody)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    parts = draw(st.lists(WORDS | PARAMETERS, min_size=1, max_size=4, unique=True))
    if draw(st.booleans()) and len(parts) < 4:
        parts.append("{rest...}")
    return "/" + "/".join(parts)


ROUTES = st.lists(st.builds(route, st.sampled_from(METHODS), patterns()), max_size=6)
PATHS = st.lists(WORDS | st.sampled_from(["7", "10.0.0.1", "%2F", "é".encode().hex()]), min_size=1)


def find(application: Application, method: str, target: str) -> tuple[int, object]:
    """The status it is refused with and what is allowed; or 0, and the route."""
    try:
        return 0, application.find(Request(method, target), None).route
    except Refusal as refusal:
        headers = dict(refusal.response.headers)
        return int(refusal.response.status), headers.get("Allow", "")


def values(pattern: str, path: str) -> Mapping[str, object] | None:
    one, parts = route("GET", pattern), split_untrusted(path)
    return one.values(parts) if one.takes(parts) else None


@given(st.lists(VALUES, min_size=1, max_size=5), st.booleans())
def test_what_was_quoted_comes_out_as_it_was(words: list[str], all_of_it: bool) -> None:
    assume(not {".", ".."} & set(words))
    path = "/x/" + "/".join(quote(word, safe="") for word in words)
    if all_of_it:
        assert values("/x/{rest...}", path) == {"rest": "/".join(words)}
    else:
        names = [f"{{p{'abcde'[n]}}}" for n in range(len(words))]
        expected = {f"p{'abcde'[n]}": word for n, word in enumerate(words)}
        assert values("/x/" + "/".join(names), path) == expected


@given(VALUES)
def test_it_is_decoded_once_only(word: str) -> None:
    assume(word not in (".", ".."))
    once = quote(word, safe="")
    assert values("/x/{a}", "/x/" + quote(once, safe="")) == {"a": once}


def test_an_encoded_slash_is_no_cut() -> None:
    assert values("/ip/{id}/{subnet...}", "/ip/c%2Fd/10.0.0.0%2F8") == {
        "id": "c/d",
        "subnet": "10.0.0.0/8",
    }
    assert values("/ip/{id}/{subnet...}", "/ip/c/10.0.0.0/8") == {"id": "c", "subnet": "10.0.0.0/8"}
    assert values("/ip/{id}", "/ip/c/d") is None
    assert values("/ip/{id}", "/ip/c+d") == {"id": "c+d"}


def test_types() -> None:
    pattern = "/expose/{address:ip}/{length:int}"
    assert values(pattern, "/expose/10.2.1.1/24") == {
        "address": ipaddress.ip_address("10.2.1.1"),
        "length": 24,
    }
    assert values(pattern, "/expose/fd00::1/64") == {
        "address": ipaddress.ip_address("fd00::1"),
        "length": 64,
    }
    for path in ("/expose/10.2.1/24", "/expose/10.2.1.1/-1", "/expose/10.2.1.1/²"):
        with pytest.raises(Refusal, match="400"):
            values(pattern, quote(path))
    request = Request("GET", "/", values={"length": 24})
    assert request.value("length", int) == 24
    with pytest.raises(AssertionError):
        request.value("length", str)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/x/%", 400),
        ("/x/%g0", 400),
        ("/x/%ff", 400),
        ("/x/%c3", 400),
        ("/x/%00", 400),
        ("/x/a%0Ab", 400),
        ("/x/%7f", 400),
        ("/x/..", 404),
        ("/x/%2e%2e", 404),
        ("/x/a%2f..%2fb", 404),
        ("/x//y", 404),
        ("/x/", 404),
        ("//x", 404),
        ("x", 404),
        ("*", 404),
        ("http://localhost/x", 404),
        ("/x" * 1000, 404),
    ],
)
def test_paths_that_nobody_means(path: str, status: int) -> None:
    application = Application([route("GET", "/x/{rest...}"), route("GET", "/")])
    assert find(application, "GET", path)[0] == status
    assert find(application, "GET", "/")[0] == 0


@given(ROUTES, st.sampled_from([*METHODS, "HEAD", "OPTIONS", "PATCH"]), PATHS)
def test_a_request_is_one_routes_or_nobodys(
    routes: list[Route], method: str, words: list[str]
) -> None:
    """… and which one does not depend on their order; or they cannot be composed at all."""
    assume("%2F" not in words)
    path = "/" + "/".join(words)
    parts = split_untrusted(path)
    shuffled = list(reversed(routes))
    try:
        application = Application(routes)
    except ValueError:
        with pytest.raises(ValueError, match="take the same requests"):
            Application(shuffled)
        return
    taking = [one for one in routes if one.takes(parts)]
    status, found = find(application, method, path)
    assert find(Application(shuffled), method, path) == (status, found)
    mine = [one for one in taking if one.method == ("GET" if method == "HEAD" else method)]
    assert len(mine) <= 1
    if mine:
        assert (status, found) in ((0, mine[0]), (400, ""))
    elif taking:
        allowed = {one.method for one in taking} | (
            {"HEAD"} if any(one.method == "GET" for one in taking) else set()
        )
        assert (status, set(str(found).split(", "))) == (405, allowed)
    else:
        assert status == 404


@given(patterns(), patterns(), PATHS)
def test_routes_that_take_one_path_overlap(one: str, two: str, words: list[str]) -> None:
    assume("%2F" not in words)
    parts = split_untrusted("/" + "/".join(words))
    first, second = route("GET", one), route("GET", two)
    assert first.overlaps(second) == second.overlaps(first)
    assert first.overlaps(first)
    if first.takes(parts) and second.takes(parts):
        assert first.overlaps(second)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("/a/{x}", "/a/{y}"),
        ("/a/{x}", "/a/b"),
        ("/a/{x...}", "/a/b/c"),
        ("/a/{x...}", "/{y}/b/{z...}"),
        ("/a", "/a"),
    ],
)
def test_two_for_one_request_cannot_be_composed(one: str, two: str) -> None:
    with pytest.raises(ValueError, match="take the same requests"):
        Application([route("GET", one), route("GET", two)])
    Application([route("GET", one), route("DELETE", two)])


@pytest.mark.parametrize(
    "pattern",
    ["", "a", "/a/", "//", "/{a...}/b", "/{a}/{a}", "/{a:float}", "/{a", "/a b", "/{A}", "/.."],
)
def test_patterns_that_make_no_sense(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        route("GET", pattern)


def test_routes_are_of_four_methods() -> None:
    for method in ("HEAD", "OPTIONS", "get"):
        with pytest.raises(ValueError, match="routes are of"):
            route(method, "/a")


def test_types_belong_to_one_method() -> None:
    application = Application([route("GET", "/a/{x:int}"), route("DELETE", "/a/{x}")])
    assert find(application, "DELETE", "/a/word")[0] == 0
    assert find(application, "HEAD", "/a/word")[0] == 400
    assert find(application, "PUT", "/a/word") == (405, "DELETE, GET, HEAD")


def test_the_read_only_part() -> None:
    application = Application([route("GET", "/a"), route("PUT", "/a"), route("POST", "/b")])
    part = application.read_only()
    assert find(part, "HEAD", "/a")[0] == 0
    assert find(part, "PUT", "/a") == (405, "GET, HEAD")
    assert find(part, "POST", "/b")[0] == 404
