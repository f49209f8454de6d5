"""Where can this host be reached? The engine is told as soon as that changes."""

from __future__ import annotations

import trio

from weave_py.config.resolve import Config
from weave_py.host.address_watch import AddressWatch
from weave_py.runtime.pump import Pump
from weave_py.runtime.router_api import RouterControl

UNDERLAY_SECONDS = 300.0  # between looks at this host's addresses, if the kernel says nothing
RETRY_SECONDS = 5.0  # after a look at which there were none, or we could not look
SETTLE_SECONDS = 0.05  # addresses rarely change alone


async def watch_underlay(config: Config, pump: Pump, control: RouterControl) -> None:
    """Until cancelled: look at this host's addresses whenever the kernel says they changed."""
    known: list[str] = []
    with AddressWatch() as watch:
        while True:
            watch.drain()
            found = await control.underlay_addresses()
            hosts = [config.host] if config.host else found or []
            if hosts and hosts != known:
                gone, known = set(known).difference(hosts), hosts
                pump.tell(pump.engine.set_local_addresses, hosts)
                pump.cut_streams_of(gone)
            elif not hosts and found is not None:
                known = []  # whatever comes is news then
            with trio.move_on_after(UNDERLAY_SECONDS if found else RETRY_SECONDS):
                await trio.lowlevel.wait_readable(watch.sock)
            await trio.sleep(SETTLE_SECONDS)
