"""Who talks to the kernel about devices? One thread, off the trio loop.

What is asked of the kernel may take milliseconds, with hundreds of devices tens of them, and nft is
a process to wait for. Always the same thread, one after the other: devices are made, changed and
removed in the order in which that was wanted, by sockets that know of no other thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from weave_py.host.netlink import Netlink

P = ParamSpec("P")
T = TypeVar("T")


class HostThread:
    """Runs host functions one after the other. A context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host")
        self._turn = trio.Lock()
        self._netlink: Netlink | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in the thread. Once it is called, cancellation waits for its end."""
        async with self._turn:
            done, token = trio.Event(), trio.lowlevel.current_trio_token()
            future = self._thread.submit(function, *args, **kwargs)
            future.add_done_callback(lambda _: token.run_sync_soon(done.set))
            with trio.CancelScope(shield=True):
                await done.wait()
            return future.result()

    async def netlink(
        self,
        function: Callable[Concatenate[Netlink, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `function(netlink, …)` in the thread."""
        return await self.run(lambda: function(self._open(), *args, **kwargs))

    def close(self) -> None:
        self._thread.submit(self._close_netlink).result()
        self._thread.shutdown()

    def __enter__(self) -> HostThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Netlink:
        if self._netlink is None:
            from weave_py.host.netlink import Netlink

            self._netlink = Netlink()
        return self._netlink

    def _close_netlink(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
