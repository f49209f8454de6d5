"""How does a declared option become one of the command line?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from weave_py.config.options import HTTP_ADDR, Option

Command = TypeVar("Command", bound=Callable[..., Any])


def parameter(option: Option[Any]) -> click.Option:
    """The flag, as `launch` has it."""
    return click.Option([f"--{option.name}"], **_attributes(option, _help(option)))


def takes(option: Option[Any], text: str) -> Callable[[Command], Command]:
    """Give a command the flag, with what it means to that command."""
    return click.option(f"--{option.name}", **_attributes(option, text))


def _attributes(option: Option[Any], text: str) -> dict[str, Any]:
    if option.is_switch:
        # No default: an absent switch leaves the word to the environment.
        return {"is_flag": True, "default": None, "help": text}
    return {"metavar": option.metavar, "help": text}


def _help(option: Option[Any]) -> str:
    if not option.default_text or option.is_switch:
        return option.help
    return f"{option.help.removesuffix('.')} [default: {option.default_text}]."


http_addr_option = takes(
    HTTP_ADDR,
    "The router's control API: HOST:PORT or the path of a unix socket "
    f"[env: {HTTP_ADDR.variable}; default: {HTTP_ADDR.default_text}].",
)
"""Where the router to talk to has its control API."""
