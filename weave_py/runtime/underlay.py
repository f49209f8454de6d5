"""Where can this host be reached, and which way to others? The engine is told as that changes.

The kernel tells of changes of addresses, routes and devices. Each has all looked at again, but
not so often that looking would be all that we do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

import trio

from fastdp.plan.state import peer_of
from weave_py.config.resolve import Config
from weave_py.host.underlay import RouteFinder, Underlay, look
from weave_py.host.underlay_watch import UnderlayWatch
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.underlay import OwnAddress, Route
from weave_py.runtime.pump import Pump

UNDERLAY_SECONDS = 300.0  # between looks at this host's addresses, if the kernel says nothing
RETRY_SECONDS = 5.0  # after a look at which there were none, or we could not look
SETTLE_SECONDS = 0.05  # addresses rarely change alone
LEISURE = 20.0  # times as long as a look takes we wait at least until the next


class HostUnderlay:
    """This host's addresses, and the ways to others'. A context manager."""

    def __init__(self, config: Config, host: HostThread) -> None:
        """HostError when the kernel refuses."""
        self._bridge = config.bridge
        self._only = config.host
        self._host = host
        self._finder = RouteFinder()
        self._inside: frozenset[int] = frozenset()

    def find(self, hosts: Iterable[str]) -> Mapping[str, Route]:
        """Which way the kernel sends to these, now. At once: for a few."""
        return self._finder.find(hosts, self._inside)

    async def find_many(self, hosts: Iterable[str]) -> Mapping[str, Route]:
        """The same without holding up anybody."""
        inside = self._inside

        def ask() -> Mapping[str, Route]:
            with RouteFinder() as finder:
                return finder.find(hosts, inside)

        return await self._host.run(ask)

    async def look(self) -> list[OwnAddress] | None:
        """This host's addresses, without those of inner networks; None if we cannot look."""
        try:
            found: Underlay = await self._host.run(look, self._bridge, _is_peers_port)
        except HostError:
            return None
        self._inside = found.inside
        if self._only:
            return [OwnAddress(self._only)]
        return sorted(found.addresses, key=lambda address: address.host)

    def close(self) -> None:
        self._finder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_peers_port(ifname: str) -> bool:
    return peer_of(ifname) is not None


async def watch_underlay(
    underlay: HostUnderlay,
    pump: Pump,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until cancelled: look whenever the kernel says that something has changed. Started once
    the engine has been told for the first time."""
    known: list[OwnAddress] = []
    is_first = True
    with UnderlayWatch() as watch:
        while True:
            watch.drain()
            began = trio.current_time()
            found = await underlay.look()
            if found and found != known:
                gone = {a.host for a in known} - {a.host for a in found}
                known = found
                pump.tell(pump.engine.set_local_addresses, found)
                pump.cut_streams_of(gone)
            elif not found and found is not None:
                known = []  # whatever comes is news then
            await _follow_routes(underlay, pump)
            pause = max(SETTLE_SECONDS, LEISURE * (trio.current_time() - began))
            if is_first:
                is_first = False
                task_status.started()
            with trio.move_on_after(UNDERLAY_SECONDS if found else RETRY_SECONDS):
                await trio.lowlevel.wait_readable(watch.sock)
            await trio.sleep(pause)


async def _follow_routes(underlay: HostUnderlay, pump: Pump) -> None:
    """Find out anew which way leads to all that matters."""
    hosts = {*pump.engine.route_hosts(), *pump.remotes()}
    if not hosts:
        return
    try:
        found = await underlay.find_many(sorted(hosts))
    except HostError:
        return  # as at a look that fails: what was found before stays
    pump.tell(pump.engine.routes_found, found)
    pump.cut_streams_inside(found)
