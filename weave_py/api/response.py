"""What does a handler answer? A response of bytes, or a refusal that ends the request early."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `after` is called once it has been sent, or could not be."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    after: Callable[[], None] | None = field(default=None, compare=False)


class Refusal(Exception):
    """Ends a request with this response; raised by handlers, and before one is reached."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def text(status: HTTPStatus, line: str, *headers: tuple[str, str]) -> Response:
    """A one-line answer."""
    return Response(status, f"{line}\n".encode(errors="backslashreplace"), headers=headers)


def document(value: object) -> Response:
    """A JSON answer, indented as Weave's."""
    return Response(
        HTTPStatus.OK, (json.dumps(value, indent=4) + "\n").encode(), "application/json"
    )
