"""What was asked? A request as the transport read it; nothing in it has been believed yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import parse_qs

from weave_py.api.response import Refusal, text

MAX_FIELDS = 1024
"""Of a form, or of a query."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Complete, and within its route's limits, when a handler gets it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    body: bytes = b""
    values: Mapping[str, object] = field(default_factory=dict)
    """What stood in the path where the route's pattern has a parameter."""

    def header(self, name: str) -> str | None:
        """The first of this name (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def value(self, name: str, kind: type[T]) -> T:
        """A parameter of the path, as the pattern typed it."""
        value = self.values[name]
        assert isinstance(value, kind), f"{name} is a {type(value).__name__}"
        return value

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def media_type(self) -> str:
        """Of the body, without its parameters; empty if it does not say."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def announces_body(self) -> bool:
        """Whether a body follows the head (an empty one in chunks counts, too)."""
        length = self.header("content-length")
        return self.header("transfer-encoding") is not None or (length or "0").strip("0") != ""

    def form(self) -> dict[str, list[str]]:
        """The fields of the body, every value of each; Refusal (400) if it is no form."""
        try:
            return _fields_untrusted(self.body.decode("ascii"))
        except ValueError:
            raise Refusal(
                text(HTTPStatus.BAD_REQUEST, "the body is not a form: send NAME=VALUE&NAME=VALUE")
            ) from None

    def parameters(self) -> dict[str, list[str]]:
        """The fields of the query, every value of each; Refusal (400) for what is none."""
        try:
            return _fields_untrusted(self.query)
        except ValueError:
            raise Refusal(
                text(HTTPStatus.BAD_REQUEST, "what follows the ? is not NAME=VALUE&NAME=VALUE")
            ) from None


def _fields_untrusted(encoded: str) -> dict[str, list[str]]:
    """ValueError for what is not UTF-8 inside, or too many."""
    return parse_qs(encoded, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
