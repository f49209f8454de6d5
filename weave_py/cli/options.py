"""How does a declared option become one of the command line?"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from weave_py.cli.client import RouterPlace
from weave_py.config.options import BRIDGE, HTTP_ADDR, Option

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


def asks_router(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that say which router is meant; it gets them as `place`."""

    @wraps(command)
    def with_place(http_addr: str | None, bridge: str | None, **more: Any) -> Any:
        return command(place=RouterPlace(http_addr, bridge), **more)

    on = f"The router's bridge [env: {BRIDGE.variable}; default: {BRIDGE.default_text}]."
    at = f"Where else to ask it: HOST:PORT, or a unix socket's path [env: {HTTP_ADDR.variable}]."
    return takes(HTTP_ADDR, at)(takes(BRIDGE, on)(with_place))
