"""How do the benchmarks run weave-py routers and see what they know, cheaply?

Each router has its control API on a unix socket: unlike a port, it can be asked from outside the
namespace, without starting a process for every question.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from scripts.benchmarks.field import BRIDGE, Field
from weave_py.api.client import RouterClient
from weave_py.config.options import MTU
from weave_py.config.resolve import HttpAddress
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.model.errors import HostError, RequestRefused, RouterNotRunning
from weave_py.workloads.attach import GSO_MAX_BYTES

PASSWORD = "measured, not guessed"
POLL_SECONDS = 0.05
_PATH_ROW = re.compile(r"^\S+\((h\d+)\)\s+([a-z]+)\s", re.MULTILINE)
_PEER_ROW = re.compile(r"^\S+\((h\d+)\)( - unreachable!)?$", re.MULTILINE)


class Routers:
    """The routers of a field, one a host; stopped with the field's lab."""

    def __init__(
        self,
        field: Field,
        *,
        environment: Mapping[str, str] | None = None,
        password: str | None = PASSWORD,
        fastdp: bool = False,
    ) -> None:
        """Without `fastdp` all frames go by the sleeve; with it, a `password` wants ESP."""
        self.field = field
        self._password = password
        self._fastdp = fastdp
        field.plug(MTU.default, gso_max_size=GSO_MAX_BYTES)
        field.lab.daemon_environment.update(environment or {})
        self.hosts = {name: self._host(name) for name in field.lab.topology.hosts}

    def launch(self) -> float:
        """Start all of them, without a pause; time.monotonic() of the first."""
        started = time.monotonic()
        for host in self.hosts.values():
            host.launch()
        return started

    @property
    def processes(self) -> dict[str, tuple[int, ...]]:
        """Host → process ids, of those that were started."""
        return {name: (host.pid,) for name, host in self.hosts.items() if host.pid is not None}

    def path_kinds(self, name: str) -> dict[str, str] | None:
        """Other host → `fastdp`, `direct`, `relay`, `tcp` or `none`; None: no answer."""
        text = self._get(name, "/status/paths")
        return None if text is None else dict(_PATH_ROW.findall(text))

    def reachable(self, name: str) -> set[str] | None:
        """The hosts (its own among them) that a router holds reachable; None: no answer."""
        text = self._get(name, "/status/peers")
        if text is None:
            return None
        return {host for host, unreachable in _PEER_ROW.findall(text) if not unreachable}

    def wait(self, seconds: float, what: str, *tests: Callable[[str], bool]) -> list[float]:
        """Until each test has held once in every running router; when the last did, per test.

        A router is put to a test only once those before it have held there: asking costs it
        something. Seconds on time.monotonic(). HostError naming routers where one never held.
        """
        waiting = [set(self.running) for _ in tests]
        held_at = [0.0 for _ in tests]
        deadline = time.monotonic() + seconds
        while any(waiting):
            for number, test in enumerate(tests):
                earlier: set[str] = set().union(*waiting[:number])
                holding = {name for name in waiting[number] - earlier if test(name)}
                waiting[number] -= holding
                held_at[number] = time.monotonic() if holding else held_at[number]
            if any(waiting) and time.monotonic() > deadline:
                missing = sorted(set().union(*waiting))
                ends = "; ".join(f"{name}: {self.hosts[name].log_end()}" for name in missing[:2])
                raise HostError(f"after {seconds:g} s still not {what}: {missing}; logs: {ends}")
            time.sleep(POLL_SECONDS)
        return held_at

    @property
    def running(self) -> list[str]:
        return [name for name, host in self.hosts.items() if host.running]

    def _host(self, name: str) -> Host:
        extra = ("--http-addr", self._socket(name), "--bridge", BRIDGE)
        options = LaunchOptions(
            password=self._password, fastdp=self._fastdp, log_level="warning", extra=extra
        )
        return Host(self.field.lab, name, self.field.directory, options)

    def _socket(self, name: str) -> str:
        return str(self.field.directory / f"{name}.sock")

    def _get(self, name: str, path: str) -> str | None:
        try:
            return RouterClient(HttpAddress("", 0, self._socket(name))).get(path)
        except (RequestRefused, RouterNotRunning):
            return None  # not yet, or not any more
