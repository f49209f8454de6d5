"""Which options do several commands share?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def http_addr_option(command: Command) -> Command:
    """`--http-addr`: where the router to talk to has its control API."""
    return click.option(
        "--http-addr",
        metavar="ADDRESS",
        help="The router's control API: HOST:PORT or the path of a unix socket "
        "[env: WEAVE_HTTP_ADDR; default: 127.0.0.1:6784].",
    )(command)
