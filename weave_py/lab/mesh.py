"""How do a lab's hosts become one mesh with a container on each, and when does it work?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import PingResult, all_pairs, ping_pairs
from weave_py.lab.topology import container_of, host_number
from weave_py.model.errors import HostError

OVERLAY_PREFIX = "10.32.0"
ATTACHING_AT_ONCE = 4
"""Each is a command of its own, and wants an answer before its patience ends."""
KNOWN_PAUSE_SECONDS = 0.2


def overlay_address(name: str) -> str:
    """The overlay address of container (or host) number *i*: `10.32.0.i`."""
    return f"{OVERLAY_PREFIX}.{host_number(name)}"


class LabMesh:
    """The routers of a lab; a context manager that stops them. The lab itself is not ours."""

    def __init__(self, lab: Lab, directory: Path, options: LaunchOptions | None = None) -> None:
        self.lab = lab
        self.hosts: Mapping[str, Host] = {
            name: Host(lab, name, directory, options) for name in lab.topology.hosts
        }
        self.addresses: dict[str, str] = {}
        """Container → overlay address, of those attached."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def launch(self) -> None:
        """Start every router."""
        for host in self.hosts.values():
            host.launch()

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return once every router answers; HostError naming one that does not in time."""
        self._each(lambda host: host.wait_ready(seconds))

    def wait_known(self, seconds: float = 60.0) -> None:
        """Return once every router reaches every other; HostError naming one that does not."""
        deadline = time.monotonic() + seconds
        for host in self.hosts.values():
            while not self._knows_all(host):
                if time.monotonic() > deadline:
                    raise HostError(
                        f"{host.name} does not reach all others; its log ends: {host.log_end()}"
                    )
                time.sleep(KNOWN_PAUSE_SECONDS)

    def attach(self) -> None:
        """Put every container on the overlay: c1 as 10.32.0.1/24, and so on."""
        self._each(self.attach_one, ATTACHING_AT_ONCE)
        self.addresses = {name: overlay_address(name) for name in self.lab.topology.containers}

    def attach_one(self, host: Host) -> None:
        container = container_of(host.name)
        address = overlay_address(container)
        host.cli("attach", f"{address}/24", str(self.lab.path(container)))
        self.addresses[container] = address

    def wait_reachable(
        self,
        seconds: float,
        first: Callable[[tuple[str, str], PingResult], None] = lambda pair, result: None,
    ) -> None:
        """Ping until every attached container has reached every other one at least once.

        `first` is told about the first answer of all. HostError naming pairs still missing
        after `seconds`.
        """
        missing, told = all_pairs(self.addresses), False
        deadline = time.monotonic() + seconds
        while missing:
            results = ping_pairs(self.lab, self.addresses, missing)
            reached = {pair: result for pair, result in results.items() if result.reached}
            if reached and not told:
                first(*next(iter(reached.items())))
                told = True
            missing = [pair for pair in missing if pair not in reached]
            if missing and time.monotonic() > deadline:
                raise HostError(f"after {seconds:g} s still no ping from {_pairs_text(missing)}")

    def stop(self) -> None:
        """Stop every router, all at the same time."""
        self._each(lambda host: host.stop())

    def _knows_all(self, host: Host) -> bool:
        try:
            rows = host.get("/status/peers").splitlines()
        except HostError:
            return False  # busy, or gone: the caller's patience ends
        reached = [row for row in rows if not row.startswith(" ") and "unreachable" not in row]
        return len(reached) == len(self.hosts)

    def _each(self, action: Callable[[Host], object], at_once: int | None = None) -> None:
        """Do it to all hosts, all (or `at_once` of them) at the same time; the first exception
        comes out, the others go on alone."""
        pool = ThreadPoolExecutor(max_workers=at_once or len(self.hosts))
        try:
            for job in [pool.submit(action, host) for host in self.hosts.values()]:
                job.result()
        finally:  # Ctrl-C must not wait for a router that does not answer: stopping ends that
            pool.shutdown(wait=False, cancel_futures=True)


def _pairs_text(pairs: list[tuple[str, str]]) -> str:
    named = ", ".join(f"{source} to {target}" for source, target in pairs[:3])
    return named if len(pairs) <= 3 else f"{named} and {len(pairs) - 3} more"
