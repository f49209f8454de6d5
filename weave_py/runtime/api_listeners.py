"""Where does a router serve its control API?

Always at a socket of its own below /run, for root and the group `weave-py`: our commands need it.
Besides, where `--http-addr` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from weave_py.api.application import Application
from weave_py.api.listener import Listener, OpenListener, open_listener, usable_group
from weave_py.config.resolve import Config, HttpAddress
from weave_py.host.run_directory import api_socket


def listeners(config: Config, application: Application) -> list[Listener]:
    """All places, the router's own first."""
    group = usable_group()
    mode = 0o600 if group is None else 0o660  # (some run programs of strangers in root's group)
    own = Listener(
        address=HttpAddress("", 0, api_socket(config.bridge)),
        application=application,
        mode=mode,
        group=group,
    )
    if config.http_addr in (None, own.address):
        return [own]
    return [own, replace(own, address=config.http_addr, read_only=config.http_read_only)]


def open_all(wanted: Sequence[Listener]) -> list[OpenListener]:
    """Listen at all of them; HostError, and at none, if one cannot be had."""
    opened: list[OpenListener] = []
    try:
        for listener in wanted:
            opened.append(open_listener(listener))
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def text(config: Config) -> str:
    """For the log."""
    return ", ".join(
        listener.address.text + (" (read only)" if listener.read_only else "")
        for listener in listeners(config, Application([]))
    )
