"""With which settings does a router start, and where did each of them come from?

Every option of `weave-py launch` may also be set in the environment: `--conn-limit` is
`WEAVE_CONN_LIMIT`. A flag wins over the environment, the environment over the default. An empty
variable counts as not set, with two exceptions: an empty `WEAVE_HTTP_ADDR` means "off", and an
empty password is refused, because it is most often a secret that failed to arrive.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from weave_py.config import options
from weave_py.config.options import OPTIONS, HttpAddress, Option, Subnet
from weave_py.config.password import resolve_password
from weave_py.host.state.names import holds_others, holds_state
from weave_py.model.errors import ConfigError
from weave_py.model.names import Target, parse_target

__all__ = ["Config", "HttpAddress", "Settings", "resolve"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything `weave-py launch` was told; `resolve` makes it, defaults are Weave's."""

    nickname: str
    name_alias: str = options.NAME.default
    """Shown in place of the nickname; a peer's real name is the hash of its key."""
    host: str | None = options.HOST.default
    """Numeric address to listen on, TCP and UDP; None: all of them, IPv4 and IPv6."""
    port: int = options.PORT.default
    password: str | None = field(default=None, repr=False)
    """The network's secret; None: an open network."""
    discovery: bool = not options.NO_DISCOVERY.default
    conn_limit: int = options.CONN_LIMIT.default
    """Most control connections, both directions together; 0: no limit."""
    fastdp: bool = not options.NO_FASTDP.default
    allow_routers: bool = options.ALLOW_ROUTERS.default
    mtu: int = options.MTU.default
    """Bytes of the largest IP packet a container may send."""
    http_addr: HttpAddress | None = options.HTTP_ADDR.default
    """Where to serve the control API besides the router's own socket."""
    http_read_only: bool = options.HTTP_READ_ONLY.default
    state_dir: Path = options.STATE_DIR.default
    trusted_subnets: tuple[Subnet, ...] = options.TRUSTED_SUBNETS.default
    log_level: str = options.LOG_LEVEL.default
    bridge: str = options.BRIDGE.default
    peers: tuple[Target, ...] = ()
    resume: bool = options.RESUME.default
    record_datagrams: int = options.RECORD_DATAGRAMS.default
    """The most datagrams one encryption covers; fewer is for measurements."""


def resolve(
    flags: Mapping[str, str | bool | None],
    peers: Iterable[str],
    environ: MutableMapping[str, str],
) -> Config:
    """The settings of a launch; ConfigError names the option, its value and its source.

    `flags` maps option names without dashes in front (`conn-limit`) to what the command line
    said, None where it said nothing. `WEAVE_PASSWORD` is removed from `environ`, so that no
    child process inherits it.
    """
    password = resolve_password(flags, environ)
    settings = Settings(flags, environ)
    targets = tuple(_peer(text) for text in peers)
    found: dict[str, Any] = {}
    for option in OPTIONS:
        if option.setting is not None:
            value = settings.value(option)
            found[option.setting] = not value if option.turns_off else value
    found["nickname"] = found["nickname"] or socket.gethostname()
    config = Config(**found, password=password, peers=targets)
    if config.resume and targets:
        raise ConfigError(
            "--resume takes the peers of the last run: give either --resume or peers, not both"
        )
    _refuse_one_port_twice(config)
    return config


class Settings:
    """What options are set to: flag, then environment, then the default."""

    def __init__(self, flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> None:
        self._flags = flags
        self._environ = environ

    def value(self, option: Option[T]) -> T:
        """The value of an option on this host; ConfigError with advice if it is bad."""
        flag = self._flags.get(option.name)
        if flag is not None:
            text, source = str(flag), "the command line"
        else:
            source = option.variable
            text = self._environ.get(source, "")
            if not text and not (option.takes_empty and source in self._environ):
                return option.default
        try:
            value = option.parse(text)
            settle: Callable[[T], T] | None = _ON_THIS_HOST.get(option.name)
            return value if settle is None else settle(value)
        except ValueError as error:
            raise ConfigError(f"--{option.name} = {text!r} (from {source}): {error}") from None


def _peer(text: str) -> Target:
    try:
        return parse_target(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _refuse_one_port_twice(config: Config) -> None:
    """Unless the router listens on another address than the control API."""
    host, api = config.host, config.http_addr
    if api is None or api.path or api.port != config.port:
        return
    if host in (None, api.host) or ipaddress.ip_address(host).is_unspecified:
        raise ConfigError(
            f"--port and --http-addr are the same port, {api.port}: choose another --port, "
            "or another --http-addr"
        )


# --- what only a look at this host tells


def _socket_or_nothing(address: HttpAddress | None) -> HttpAddress | None:
    if address is not None and address.path:
        try:
            mode = os.stat(address.path).st_mode
        except OSError:
            return address  # to be made; or whoever uses it is told why not
        if not stat.S_ISSOCK(mode):
            raise ValueError("what is there is not a socket: use a path where nothing is yet")
    return address


def _directory_of_its_own(directory: Path) -> Path:
    try:
        path = Path(os.path.abspath(directory))
    except FileNotFoundError:
        raise ValueError("the working directory was deleted: use an absolute path") from None
    if path == Path("/") or (holds_others(path) and not holds_state(path)):
        raise ValueError(f"use a directory of its own, like {options.STATE_DIR.default}")
    return path


_ON_THIS_HOST: Final[Mapping[str, Callable[[Any], Any]]] = {
    options.HTTP_ADDR.name: _socket_or_nothing,
    options.STATE_DIR.name: _directory_of_its_own,
}
"""What becomes of a value that was given; ValueError says what to use instead."""
