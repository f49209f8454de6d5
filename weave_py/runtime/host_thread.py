"""Who talks to the kernel about devices? One thread at a time, off the trio loop.

pyroute2 is synchronous (its async side is asyncio, which trio cannot run), and its calls take
milliseconds; the import alone takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from weave_py.host.netlink import Netlink

P = ParamSpec("P")
T = TypeVar("T")


class HostThread:
    """Runs host functions one after the other. A context manager."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)
        self._netlink: Netlink | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in the thread."""
        return await trio.to_thread.run_sync(
            lambda: function(*args, **kwargs), limiter=self._limiter
        )

    async def netlink(
        self,
        function: Callable[Concatenate[Netlink, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `function(netlink, …)` in the thread."""
        return await self.run(lambda: function(self._open(), *args, **kwargs))

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def __enter__(self) -> HostThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Netlink:
        if self._netlink is None:
            from weave_py.host.netlink import Netlink

            self._netlink = Netlink()
        return self._netlink
