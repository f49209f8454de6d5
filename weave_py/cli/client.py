"""Which router do commands talk to? The one at `--http-addr`."""

from __future__ import annotations

import os

from weave_py.api.client import RouterClient, not_running
from weave_py.config.options import BRIDGE, HTTP_ADDR
from weave_py.config.resolve import Settings


def client(http_addr: str | None) -> RouterClient:
    """The client for `--http-addr`, else `WEAVE_HTTP_ADDR`, else the default address."""
    settings = Settings({HTTP_ADDR.name: http_addr}, os.environ)
    address = settings.value(HTTP_ADDR)
    if address is not None:
        return RouterClient(address, lambda: settings.value(BRIDGE))
    switched_off = "the control API is switched off (WEAVE_HTTP_ADDR): name it with --http-addr"
    raise not_running(settings.value(BRIDGE), "can be asked (WEAVE_HTTP_ADDR is off)", switched_off)
