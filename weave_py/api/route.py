"""Which requests does a route take? Its method, the pattern of its path, and its limits.

A pattern is a path with parameters: `/ip/{id}`, `/expose/{address:ip}/{length:int}`; the last one
may take all that is left, slashes included: `/ip/{id}/{subnet...}`. Each part of a path is
percent-decoded once, after it was cut at the slashes, so `%2F` is a slash within a part. No part
may be empty, `.` or `..`, nor hold control characters.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from weave_py.api import FORM
from weave_py.api.events import EventStream
from weave_py.api.request import Request
from weave_py.api.response import Refusal, Response, text

METHODS = ("GET", "POST", "PUT", "DELETE")
"""HEAD comes with GET."""
MAX_PARTS = 64
"""Of a path."""

Answer = Response | EventStream
Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and all of a route together, may take."""

    body_bytes: int = 64 * 1024
    seconds: float = 10.0
    """For its answer; 503 afterwards. (The host thread may have other things to do first. Our own
    client waits a little longer.)"""
    concurrent: int | None = None
    """How many at a time, through one listener; 503 above. None: as many as it has connections."""
    content_types: frozenset[str] | None = frozenset({FORM})
    """What a body may be (`""`: of no type); None: anything."""
    ends_with_caller: bool = False
    """Cancel the handler when the caller hangs up: for what waits, and can be undone. (Others go
    on: who sends `POST /stop` and leaves has asked.)"""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Who answers what; ValueError for a pattern that makes no sense."""

    method: str
    pattern: str
    handler: Handler
    limits: Limits = Limits()
    parts: tuple[Part, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.method} {self.pattern}: routes are of {', '.join(METHODS)}")
        object.__setattr__(self, "parts", _parts(self.pattern))

    def takes(self, path: tuple[str, ...]) -> bool:
        """Whether a path (as `split_untrusted` made it) is this route's, whatever its type."""
        if len(path) != len(self.parts) and not (
            self.parts[-1].takes_rest and len(path) > len(self.parts)
        ):
            return False
        return all(
            part.literal is None or part.literal == given
            for part, given in zip(self.parts, path, strict=False)
        )

    def values(self, path: tuple[str, ...]) -> Mapping[str, object]:
        """The parameters of a path that it takes; Refusal (400) if one is not of its type."""
        last = len(self.parts) - 1
        given = (*path[:last], "/".join(path[last:]))
        pairs = zip(self.parts, given, strict=True)
        return {part.name: part.convert(text) for part, text in pairs if part.literal is None}

    def overlaps(self, other: Route) -> bool:
        """Whether some request would be both's."""
        if self.method != other.method:
            return False
        ours, theirs = self.parts, other.parts
        if len(ours) > len(theirs):
            ours, theirs = theirs, ours
        if len(ours) < len(theirs) and not ours[-1].takes_rest:
            return False
        return all(
            one.literal is None or two.literal is None or one.literal == two.literal
            for one, two in zip(ours, theirs, strict=False)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What may stand between two slashes: a word of ours, or a parameter."""

    literal: str | None
    name: str = ""
    type: str = ""
    takes_rest: bool = False

    def convert(self, given: str) -> object:
        """The parameter's value; Refusal (400) if it is not of its type."""
        kind, parse = _TYPES[self.type]
        try:
            return parse(given)
        except ValueError:
            raise Refusal(
                text(HTTPStatus.BAD_REQUEST, f"{self.name} must be {kind}, not {given[:64]!r}")
            ) from None


def split_untrusted(path: str) -> tuple[str, ...]:
    """The parts of a request's path, decoded; Refusal (400, 404) for what can be none of ours."""
    if path == "/":
        return ("",)
    if not path.startswith("/") or path.count("/") > MAX_PARTS:
        raise Refusal(nothing_here())
    parts = tuple(map(_decoded_untrusted, path[1:].split("/")))
    if any(word in ("", ".", "..") for part in parts for word in part.split("/")):
        raise Refusal(nothing_here())
    return parts


def nothing_here() -> Response:
    """404"""
    return text(HTTPStatus.NOT_FOUND, "there is nothing at this path")


def _decoded_untrusted(part: str) -> str:
    try:
        decoded = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        decoded = "\0"
    if re.search("%(?![0-9A-Fa-f]{2})", part) or re.search(r"[\0-\x1f\x7f]", decoded):
        raise Refusal(text(HTTPStatus.BAD_REQUEST, "the path is not percent-encoded UTF-8"))
    return decoded


def _parts(pattern: str) -> tuple[Part, ...]:
    if pattern == "/":
        return (Part(""),)
    if not pattern.startswith("/"):
        raise ValueError(f"{pattern}: a pattern starts with a slash")
    parts = tuple(map(_part, pattern[1:].split("/")))
    names = [part.name for part in parts if part.literal is None]
    if len(names) != len(set(names)):
        raise ValueError(f"{pattern}: two parameters have one name")
    if any(part.takes_rest for part in parts[:-1]):
        raise ValueError(f"{pattern}: only the last parameter can take the rest")
    return parts


def _part(word: str) -> Part:
    if re.fullmatch("[A-Za-z0-9_~-][A-Za-z0-9._~-]*", word):
        return Part(word)
    match = re.fullmatch(r"\{([a-z_]+)(?::([a-z]+)|(\.\.\.))?\}", word)
    if match is None or (match[2] or "") not in _TYPES:
        raise ValueError(f"{word!r} is neither a word of a path nor a parameter")
    return Part(None, match[1], match[2] or "", bool(match[3]))


def _integer(given: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", given):
        raise ValueError("not a number")
    return int(given)


_TYPES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "": ("text", str),
    "int": ("a number", _integer),
    "ip": ("an IP address", ipaddress.ip_address),
}
