"""Which router do commands talk to?

The one on `--bridge`, at its own socket; the one at `--http-addr`, if that is given. What is only
in the environment (`WEAVE_HTTP_ADDR`, which is the router's setting, too) is asked where nothing
answers at that socket, or we may not use it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from weave_py.api.client import RouterClient
from weave_py.config.options import BRIDGE, HTTP_ADDR, HttpAddress
from weave_py.config.resolve import Settings
from weave_py.host.run_directory import api_socket


@dataclass(frozen=True, slots=True)
class RouterPlace:
    """The router that a command line means."""

    http_addr: str | None
    given_bridge: str | None

    @property
    def bridge(self) -> str:
        """The bridge that it works on: as we were told, not as anybody answers."""
        return self._settings().value(BRIDGE)

    def client(self) -> RouterClient:
        """How to ask it."""
        named = self._settings().value(HTTP_ADDR)
        own = HttpAddress("", 0, api_socket(self.bridge))
        if named is None:
            return self._at(own)
        if self.http_addr is None and self._at(own).listening():
            return self._at(own)
        return self._at(named)

    def _at(self, address: HttpAddress) -> RouterClient:
        return RouterClient(address, lambda: self.bridge)

    def _settings(self) -> Settings:
        flags = {HTTP_ADDR.name: self.http_addr, BRIDGE.name: self.given_bridge}
        return Settings(flags, os.environ)
