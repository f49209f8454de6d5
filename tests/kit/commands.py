"""How does a test of the command line see the command, and the router that it asks?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Cli = Callable[..., tuple[int, str, str]]


class Router(Protocol):
    """The stand-in of tests/unit/cli/conftest.py."""

    answers: dict[tuple[str, str], tuple[int, str]]
    requests: list[tuple[str, str, str]]
    stops: bool
    server: str
    address: str
