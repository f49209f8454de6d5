"""`launch`: run a router on this host."""

from __future__ import annotations

import gc
import os

import click

from weave_py.cli.client import RouterClient
from weave_py.cli.control import refuse_senseless
from weave_py.cli.exits import CommandError
from weave_py.cli.notes import warning
from weave_py.config.password import password_file_warning
from weave_py.config.resolve import LOG_LEVELS, MAX_MTU, MIN_MTU, Config, resolve

ARGV_WARNING = (
    "every user of this host can read --password in the process list: "
    "use --password-file or WEAVE_PASSWORD"
)

_OPTIONS = (
    ("--name", "NAME", "A name to show in place of the nickname. What a peer is called to others, "
     "like 8a:3e:…, is the hash of its key and not to be chosen."),
    ("--nickname", "NAME", "Shown beside the peer's name [default: the host name]."),
    ("--host", "IP", "The address to listen on, TCP and UDP [default: all]."),
    ("--port", "PORT", "TCP and UDP port [default: 6783]."),
    ("--password", "SECRET", "The network's secret. Visible to every user of this host while the "
     "router runs: prefer --password-file."),
    ("--password-file", "FILE", "A file whose first line is the network's secret."),
    ("--conn-limit", "N", "Most control connections, up to 256 (or 0) [default: 200]."),
    ("--mtu", "BYTES", f"Largest IP packet in the overlay, {MIN_MTU} to {MAX_MTU}; the same on "
     "all hosts [default: 1376]. Larger ones than the underlay takes are cut and joined again."),
    ("--trusted-subnets", "CIDR,...", "Underlay networks that may be used without encryption."),
    ("--http-addr", "ADDRESS", "Control API: a loopback HOST:PORT, the path of a unix socket, or "
     "'off' [default: 127.0.0.1:6784]."),
    ("--state-dir", "DIR", "Identity and what is remembered: a directory of its own "
     "[default: /var/lib/weave-py]."),
    ("--bridge", "NAME", "The bridge that containers attach to [default: weave]."),
    ("--log-level", "LEVEL", f"One of {', '.join(LOG_LEVELS)} [default: info]."),
)  # fmt: skip
_SWITCHES = (
    ("--no-discovery", "Do not connect to peers that were only heard of."),
    ("--no-fastdp", "Never let the kernel carry frames (VXLAN): all traffic takes the encrypted "
     "userspace tunnel (sleeve)."),
    ("--resume", "Connect to the peers of the last run; give none then."),
)  # fmt: skip


def _parameters() -> list[click.Parameter]:
    texts = [click.Option([name], metavar=metavar, help=text) for name, metavar, text in _OPTIONS]
    # No default: an absent switch leaves the word to the environment.
    switches = [
        click.Option([name], is_flag=True, default=None, help=text) for name, text in _SWITCHES
    ]
    return [click.Argument(["peers"], nargs=-1, metavar="[PEER]..."), *texts, *switches]


def launch(peers: tuple[str, ...], **given: str | bool | None) -> int:
    """Run a router on this host, in the foreground, until it is stopped.

    PEER is HOST, HOST:PORT or [IPV6]:PORT of a router that runs elsewhere, or will; one is
    enough, the others are found.

    Every option can be set in the environment too: --conn-limit is WEAVE_CONN_LIMIT, a switch
    is set with 1. The command line wins.
    """
    flags = {name.replace("_", "-"): value for name, value in given.items()}
    if flags.get("password") is not None:
        warning(ARGV_WARNING)
    refuse_senseless(peers)
    config = resolve(flags, peers, os.environ)
    if exposed := password_file_warning(flags, os.environ):
        warning(exposed)
    _refuse_second_router(config)

    # What is imported stays: to look for garbage in it takes a tenth of the time to start, and
    # again and again later.
    gc.disable()
    from weave_py.runtime.daemon import run

    gc.freeze()
    gc.enable()
    return run(config)


def _refuse_second_router(config: Config) -> None:
    if config.http_addr is not None and RouterClient(config.http_addr).listening():
        raise CommandError(
            f"weave-py is already running (on {config.http_addr.text}): you can stop it with "
            "'weave-py stop'"
        )


launch_command = click.Command(
    "launch",
    callback=launch,
    params=_parameters(),
    help=launch.__doc__,
    short_help="Run a router on this host.",
)
