"""With which settings does a router start, and where did each of them come from?

Every option of `weave-py launch` may also be set in the environment: `--conn-limit` is
`WEAVE_CONN_LIMIT`. A flag wins over the environment, the environment over the default. An empty
variable counts as not set, with two exceptions: an empty `WEAVE_HTTP_ADDR` means "off", and an
empty password is refused, because it is most often a secret that failed to arrive.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from weave_py.config.password import resolve_password
from weave_py.host.state.names import holds_others, holds_state
from weave_py.model.errors import ConfigError
from weave_py.model.names import DEFAULT_PORT, Target, parse_target
from weave_py.wire.sleeve import MAX_SEGMENTS
from weave_py.wire.topology import MAX_NEIGHBOURS

DEFAULT_MTU = 1376
DEFAULT_STATE_DIR = "/var/lib/weave-py"
DEFAULT_BRIDGE = "weave"
LOG_LEVELS = ("debug", "info", "warning", "error")

MIN_MTU = 576
MAX_MTU = 65_521
MAX_NICKNAME_BYTES = 255  # what a topology record carries
MAX_UNIX_PATH_BYTES = 107  # sockaddr_un, less its final NUL

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


class HttpAddress(NamedTuple):
    """Where the control API listens: a loopback address and port, or a unix socket's path."""

    host: str
    port: int
    path: str = ""
    """Absolute path of a unix socket; when set, host and port mean nothing."""

    @property
    def text(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_LOCAL_API = HttpAddress("127.0.0.1", 6784)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything `weave-py launch` was told; `resolve` makes it, defaults are Weave's."""

    nickname: str
    name_alias: str = ""
    """Shown in place of the nickname; a peer's real name is the hash of its key."""
    host: str | None = None
    """Numeric address to listen on, TCP and UDP; None: all of them, IPv4 and IPv6."""
    port: int = DEFAULT_PORT
    password: str | None = field(default=None, repr=False)
    """The network's secret; None: an open network."""
    discovery: bool = True
    conn_limit: int = 200
    """Most control connections, both directions together; 0: no limit."""
    fastdp: bool = True
    mtu: int = DEFAULT_MTU
    """Bytes of the largest IP packet a container may send."""
    http_addr: HttpAddress | None = _LOCAL_API
    state_dir: Path = Path(DEFAULT_STATE_DIR)
    trusted_subnets: tuple[Subnet, ...] = ()
    log_level: str = "info"
    bridge: str = DEFAULT_BRIDGE
    peers: tuple[Target, ...] = ()
    resume: bool = False
    record_datagrams: int = MAX_SEGMENTS
    """The most datagrams one encryption covers; fewer is for measurements (no option, only
    WEAVE_RECORD_DATAGRAMS)."""


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
    resume = settings.switch("resume")
    if resume and targets:
        raise ConfigError(
            "--resume takes the peers of the last run: give either --resume or peers, not both"
        )
    host, port = settings.value("host", _host, None), settings.value("port", _port, DEFAULT_PORT)
    http_addr = settings.http_address()
    if http_addr is not None and not http_addr.path and http_addr.port == port:
        _refuse_one_port_twice(host, http_addr)
    return Config(
        nickname=settings.value("nickname", _nickname, socket.gethostname()),
        name_alias=settings.value("name", _nickname, ""),
        host=host,
        port=port,
        password=password,
        discovery=not settings.switch("no-discovery"),
        conn_limit=settings.value("conn-limit", _conn_limit, 200),
        fastdp=not settings.switch("no-fastdp"),
        mtu=settings.value("mtu", _mtu, DEFAULT_MTU),
        http_addr=http_addr,
        state_dir=settings.state_dir(),
        trusted_subnets=settings.value("trusted-subnets", _subnets, ()),
        log_level=settings.value("log-level", _log_level, "info"),
        bridge=settings.bridge(),
        peers=targets,
        resume=resume,
        record_datagrams=settings.value("record-datagrams", _record_datagrams, MAX_SEGMENTS),
    )


class Settings:
    """Options looked up by name: flag, then environment, then the default."""

    def __init__(self, flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> None:
        self._flags = flags
        self._environ = environ

    def value(self, option: str, parse: Callable[[str], T], default: T) -> T:
        """The parsed value of an option; ConfigError with the parser's advice if it is bad."""
        flag = self._flags.get(option)
        if flag is not None:
            text, source = str(flag), "the command line"
        else:
            source = variable(option)
            text = self._environ.get(source, "")
            means_off = option == "http-addr" and source in self._environ
            if not text and not means_off:
                return default
        try:
            return parse(text)
        except ValueError as error:
            raise ConfigError(f"--{option} = {text!r} (from {source}): {error}") from None

    def switch(self, option: str) -> bool:
        """A boolean option, off by default."""
        flag = self._flags.get(option)
        return self.value(option, _boolean, False) if flag is None else bool(flag)

    def http_address(self) -> HttpAddress | None:
        """Where the control API is; None when it is switched off."""
        default: HttpAddress | None = _LOCAL_API
        return self.value("http-addr", parse_http_address, default)

    def state_dir(self) -> Path:
        return self.value("state-dir", _state_dir, Path(DEFAULT_STATE_DIR))

    def bridge(self) -> str:
        return self.value("bridge", _interface_name, DEFAULT_BRIDGE)


def variable(option: str) -> str:
    """The environment variable of an option: `conn-limit` → `WEAVE_CONN_LIMIT`."""
    return "WEAVE_" + option.upper().replace("-", "_")


def parse_http_address(text: str) -> HttpAddress | None:
    """`HOST:PORT` on loopback, an absolute unix socket path, or `off`; ValueError otherwise.

    The control API has no passwords of its own, so addresses others can reach are refused.
    """
    if text in ("", "off"):
        return None
    if text.startswith("/"):
        if len(os.fsencode(text)) > MAX_UNIX_PATH_BYTES or "\0" in text:
            raise ValueError(f"a unix socket's path has at most {MAX_UNIX_PATH_BYTES} bytes")
        _refuse_no_socket(text)
        return HttpAddress("", 0, text)
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:]+)\]|([^:\[\]/]+)):(\d{1,5})", text)
    if match is None:
        raise ValueError("use ADDRESS:PORT, the path of a unix socket, or 'off'")
    host = match[1] or match[2]
    numeric = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(numeric).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(
            "the control API has no login: use a loopback address (127.0.0.1:6784), "
            "the path of a unix socket, or 'off'"
        )
    return HttpAddress(numeric, _port(match[3]))


def _refuse_no_socket(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # to be made; or whoever uses it is told why not
    if not stat.S_ISSOCK(mode):
        raise ValueError("what is there is not a socket: use a path where nothing is yet")


def _peer(text: str) -> Target:
    try:
        return parse_target(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _boolean(text: str) -> bool:
    word = text.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("use 1 or 0")


def _whole_number(text: str, low: int, high: int, advice: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise ValueError(advice)
    return int(text)


def _port(text: str) -> int:
    return _whole_number(text, 1, 65_535, "use a port number from 1 to 65535")


def _conn_limit(text: str) -> int:
    advice = f"use a number of connections up to {MAX_NEIGHBOURS}, 0 for as many as that"
    return _whole_number(text, 0, MAX_NEIGHBOURS, advice)


def _mtu(text: str) -> int:
    return _whole_number(
        text,
        MIN_MTU,
        MAX_MTU,
        f"use bytes from {MIN_MTU} (what every IPv4 host accepts; IPv6 needs 1280) to {MAX_MTU} "
        "(the most a TAP takes); all hosts of a network should use the same",
    )


def _record_datagrams(text: str) -> int:
    return _whole_number(text, 1, MAX_SEGMENTS, f"use a number from 1 to {MAX_SEGMENTS}")


def _nickname(text: str) -> str:
    if not text.isprintable() or not text.strip() or len(text.encode()) > MAX_NICKNAME_BYTES:
        raise ValueError(f"use a printable name of at most {MAX_NICKNAME_BYTES} bytes")
    return text


def _refuse_one_port_twice(host: str | None, http_addr: HttpAddress) -> None:
    """Unless the router listens on another address than the control API."""
    if host in (None, http_addr.host) or ipaddress.ip_address(host).is_unspecified:
        raise ConfigError(
            f"--port and --http-addr are the same port, {http_addr.port}: choose another --port, "
            "or another --http-addr"
        )


def _host(text: str) -> str | None:
    if not text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("use a numeric IPv4 or IPv6 address of this host") from None


def _subnets(text: str) -> tuple[Subnet, ...]:
    return tuple(_subnet(part.strip()) for part in text.split(",") if part.strip())


def _subnet(text: str) -> Subnet:
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a subnet: use a list like 10.0.0.0/8,192.168.48.0/24"
        ) from None
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{text!r} has bits beyond its prefix: did you mean {interface.network}?")
    return interface.network


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError("use one of " + ", ".join(LOG_LEVELS))
    return text.lower()


def _interface_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", text) or text in (".", ".."):
        raise ValueError("use an interface name: 1 to 15 letters, digits, '_', '.', '-'")
    return text


def _state_dir(text: str) -> Path:
    if not text:
        raise ValueError("name a directory, like " + DEFAULT_STATE_DIR)
    try:
        path = Path(os.path.abspath(text))
    except FileNotFoundError:
        raise ValueError("the working directory was deleted: use an absolute path") from None
    if path == Path("/") or (holds_others(path) and not holds_state(path)):
        raise ValueError("use a directory of its own, like " + DEFAULT_STATE_DIR)
    return path
