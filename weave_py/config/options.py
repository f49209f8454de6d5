"""Which options does a router have?

Each is declared here, once: the command line, the environment, the configuration, the engine's and
the simulation's defaults and the table in docs/cli.md read it. Nothing in here looks at the host:
that is for `config.resolve`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from weave_py.model.names import DEFAULT_PORT, MAX_NEIGHBOURS
from weave_py.wire.sleeve import MAX_SEGMENTS

MIN_MTU: Final = 576
MAX_MTU: Final = 65_521
MAX_NICKNAME_BYTES: Final = 255  # what a topology record carries
MAX_UNIX_PATH_BYTES: Final = 107  # sockaddr_un, less its final NUL
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


class HttpAddress(NamedTuple):
    """A place of the control API: a loopback address and port, or a unix socket's path."""

    host: str
    port: int
    path: str = ""
    """Absolute path of a unix socket; when set, host and port mean nothing."""

    @property
    def text(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Generic[T]):
    """A setting that `--NAME` or `WEAVE_NAME` changes."""

    name: str
    """Without the dashes in front. A switch `no-…` turns off what it names."""
    parse: Callable[[str], T]
    """From text; ValueError says what to use instead."""
    default: T
    help: str
    """For `--help` and the reference; sentences."""
    more: str = ""
    """For the reference alone."""
    metavar: str = ""
    """What the value is called; empty for a switch."""
    unit: str = ""
    """Of the default, in the reference."""
    shown: str = ""
    """The default as people see it, where `str` does not say it."""
    takes_empty: bool = False
    """Whether an empty variable is a value, and not as good as none."""
    hidden: bool = False
    """For measurements: no flag, not documented, only a variable."""
    field: str | None = ""
    """Its name in Config; empty: as the option's. None: it is no setting by itself."""

    @property
    def variable(self) -> str:
        """In the environment: `conn-limit` → `WEAVE_CONN_LIMIT`."""
        return "WEAVE_" + self.name.upper().replace("-", "_")

    @property
    def default_text(self) -> str:
        """The default, for people; empty if there is none."""
        return self.shown or ("" if self.default in (None, "", ()) else str(self.default))

    @property
    def is_switch(self) -> bool:
        return not self.metavar

    @property
    def setting(self) -> str | None:
        """The field of Config that it sets, which for a `no-…` is the opposite."""
        if self.field is None:
            return None
        return self.field or self.name.removeprefix("no-").replace("-", "_")

    @property
    def turns_off(self) -> bool:
        return self.is_switch and self.name.startswith("no-")


def parse_http_address(text: str) -> HttpAddress | None:
    """`HOST:PORT` on loopback, an absolute unix socket path, or `off`; ValueError otherwise.

    The control API has no passwords of its own, so addresses others can reach are refused.
    """
    if text in ("", "off"):
        return None
    if text.startswith("/"):
        if len(text.encode(errors="surrogateescape")) > MAX_UNIX_PATH_BYTES or "\0" in text:
            raise ValueError(f"a unix socket's path has at most {MAX_UNIX_PATH_BYTES} bytes")
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


def _directory(text: str) -> Path:
    if not text:
        raise ValueError(f"name a directory, like {STATE_DIR.default}")
    return Path(text)


NAME: Final = Option(
    name="name",
    metavar="NAME",
    parse=_nickname,
    default="",
    field="name_alias",
    help="A name to show in place of the nickname. What a peer is called to others, like 8a:3e:…, "
    "is the hash of its key and not to be chosen.",
)
NICKNAME: Final = Option(
    name="nickname",
    metavar="NAME",
    parse=_nickname,
    default="",
    shown="the host name",
    help="Shown beside the peer's name.",
)
HOST: Final[Option[str | None]] = Option(
    name="host",
    metavar="IP",
    parse=_host,
    default=None,
    shown="all",
    help="The address to listen on, TCP and UDP.",
)
PORT: Final = Option(
    name="port",
    metavar="PORT",
    parse=_port,
    default=DEFAULT_PORT,
    help="TCP and UDP port.",
)
PASSWORD: Final[Option[str | None]] = Option(
    name="password",
    metavar="SECRET",
    parse=str,
    default=None,
    field=None,
    help="The network's secret. Visible to every user of this host while the router runs: prefer "
    "--password-file.",
    more="The variable is removed from the router's environment once read.",
)
PASSWORD_FILE: Final[Option[str | None]] = Option(
    name="password-file",
    metavar="FILE",
    parse=str,
    default=None,
    field=None,
    help="A file whose first line is the network's secret.",
    more="A warning if others can read or change it.",
)
CONN_LIMIT: Final = Option(
    name="conn-limit",
    metavar="N",
    parse=_conn_limit,
    default=200,
    unit="connections",
    help="Most control connections, both directions together: up to 256, which is also what 0 "
    "means: as many as a record names.",
)
MTU: Final = Option(
    name="mtu",
    metavar="BYTES",
    parse=_mtu,
    default=1376,
    unit="bytes",
    help=f"Largest IP packet in the overlay, {MIN_MTU} to {MAX_MTU}; the same on all hosts. Larger "
    "ones than the underlay takes are cut and joined again.",
    more="(From what every IPv4 host accepts to what a TAP takes; IPv6 needs 1280.)",
)
TRUSTED_SUBNETS: Final[Option[tuple[Subnet, ...]]] = Option(
    name="trusted-subnets",
    metavar="CIDR,...",
    parse=_subnets,
    default=(),
    help="Underlay networks that may be used without encryption.",
    more="In them the kernel may carry frames of a network with a secret in clear: "
    "`10.0.0.0/8,fd00::/8`. The same on all hosts.",
)
HTTP_ADDR: Final[Option[HttpAddress | None]] = Option(
    name="http-addr",
    metavar="ADDRESS",
    parse=parse_http_address,
    default=None,
    shown="off",
    takes_empty=True,
    help="Where to serve the control API, besides the router's own socket below /run/weave-py: a "
    "loopback HOST:PORT (127.0.0.1:6784 is Weave's), the path of a unix socket, or 'off'.",
    more="On loopback any local user may use it. Another port than `--port`; the path is absolute.",
)
HTTP_READ_ONLY: Final = Option(
    name="http-read-only",
    parse=_boolean,
    default=False,
    help="At --http-addr only show things (GET): nothing there changes the router.",
)
STATE_DIR: Final = Option(
    name="state-dir",
    metavar="DIR",
    parse=_directory,
    default=Path("/var/lib/weave-py"),
    help="Identity and what is remembered: a directory of its own.",
    more="One that holds other files and no router's state is refused.",
)
BRIDGE: Final = Option(
    name="bridge",
    metavar="NAME",
    parse=_interface_name,
    default="weave",
    help="The bridge that containers attach to.",
)
LOG_LEVEL: Final = Option(
    name="log-level",
    metavar="LEVEL",
    parse=_log_level,
    default="info",
    help=f"One of {', '.join(LOG_LEVELS)}.",
)
NO_DISCOVERY: Final = Option(
    name="no-discovery",
    parse=_boolean,
    default=False,
    help="Do not connect to peers that were only heard of.",
)
NO_FASTDP: Final = Option(
    name="no-fastdp",
    parse=_boolean,
    default=False,
    help="Never let the kernel carry frames (VXLAN): all traffic takes the encrypted userspace "
    "tunnel (sleeve).",
    more="[More](fastdp.md).",
)
ALLOW_ROUTERS: Final = Option(
    name="allow-routers",
    parse=_boolean,
    default=False,
    help="Let router advertisements, redirects and answers of DHCP servers pass between containers "
    "and from other hosts: for a real network that is plugged into the bridge somewhere.",
    more="Of every host whose containers are to hear them. [More](#what-containers-may-do).",
)
RESUME: Final = Option(
    name="resume",
    parse=_boolean,
    default=False,
    help="Connect to the peers of the last run; give none then.",
)
RECORD_DATAGRAMS: Final = Option(
    name="record-datagrams",
    metavar="N",
    parse=_record_datagrams,
    default=MAX_SEGMENTS,
    hidden=True,
    help="The most datagrams one encryption covers.",
)

OPTIONS: Final[tuple[Option[Any], ...]] = (
    NAME,
    NICKNAME,
    HOST,
    PORT,
    PASSWORD,
    PASSWORD_FILE,
    CONN_LIMIT,
    MTU,
    TRUSTED_SUBNETS,
    HTTP_ADDR,
    HTTP_READ_ONLY,
    STATE_DIR,
    BRIDGE,
    LOG_LEVEL,
    NO_DISCOVERY,
    NO_FASTDP,
    ALLOW_ROUTERS,
    RESUME,
    RECORD_DATAGRAMS,
)
"""All of them, in the order in which they are shown."""
