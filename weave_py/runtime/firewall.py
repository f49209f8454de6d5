"""Does the host's firewall let our frames pass, do our own rules stand, and is it still so? Looked
at all the while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import trio

from weave_py.host.firewall.keeper import Keeper
from weave_py.host.firewall.tables import KeptTable
from weave_py.host.firewall.watch import RulesWatch
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.firewall import FirewallView, GuardView
from weave_py.observe.log import event

LOOK_SECONDS = 3.0  # between looks, if the kernel says nothing
PAUSE_SECONDS = (0.5, 2.0)  # at least (rules rarely change alone) and at most
RETRY_SECONDS = 30.0  # between attempts to load rules of ours that were refused
SHARE = 10  # in between, looks take at most one part in so many of the time

_log = logging.getLogger(__name__)


class HostFirewall:
    """Of one bridge."""

    def __init__(
        self,
        bridge: str,
        host: HostThread,
        guards: Callable[[], Sequence[KeptTable]] = tuple,
    ) -> None:
        """`guards`: tables of ours that are to be in force; asked at every look."""
        self.view = FirewallView()
        self.guard = GuardView()
        self._bridge = bridge
        self._host = host
        self._wanted = guards
        self._guards: list[KeptTable] = []
        self._retry_at = float("inf")

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled: see to it that frames pass. Started once that is so at first."""
        keeper, first = Keeper(self._bridge), True
        with ExitStack() as opened:
            watch = None
            with suppress(HostError):  # a kernel without nftables, most likely
                watch = opened.enter_context(RulesWatch())
            while True:
                changed = watch is None or watch.drain()
                begun = trio.current_time()
                await self._keep_guards(changed)
                try:
                    view = await self._host.run(keeper.look, changed)
                except HostError as error:  # the bridge may just be missing
                    view = FirewallView(self.view.dropped, f"cannot be looked at: {error}")
                self._tell(view, keeper)
                if first:
                    task_status.started()
                    first = False
                least, most = PAUSE_SECONDS
                took = trio.current_time() - begun
                await trio.sleep(min(max(least, SHARE * took), most))
                with trio.move_on_after(LOOK_SECONDS - least):
                    if watch is None:
                        await trio.sleep_forever()
                    await trio.lowlevel.wait_readable(watch.sock)

    async def _keep_guards(self, changed: bool) -> None:
        """`changed`: nftables may have."""
        known = {guard.rules: guard for guard in self._guards}
        wanted = self._wanted()
        as_before = not changed and all(guard.rules in known for guard in wanted)
        if as_before and trio.current_time() < self._retry_at:
            return
        self._guards = [known.get(guard.rules, guard) for guard in wanted]
        before, missing = self.guard, list[str]()
        for guard in self._guards:
            try:
                was_there = guard.rules in known and not before.missing
                if await self._host.run(guard.restore) and was_there:
                    what = "rules about what containers may do were gone, and are loaded again"
                    event(_log, logging.WARNING, what, bridge=self._bridge)
            except HostError as error:
                missing.append(str(error))
        self._retry_at = trio.current_time() + RETRY_SECONDS if missing else float("inf")
        self.guard = GuardView(tuple(missing))
        if missing and self.guard != before:
            event(_log, logging.WARNING, "containers are not guarded", why=self.guard.detail)
        elif before.missing and not missing:
            event(_log, logging.INFO, "containers are guarded", bridge=self._bridge)

    def _tell(self, view: FirewallView, keeper: Keeper) -> None:
        if keeper.added:
            chains = ", ".join(place.text for place in keeper.added)
            event(_log, logging.INFO, "accept rule added to the host's firewall", chains=chains)
        before, self.view = self.view, view
        if view.code and view != before:
            event(_log, logging.WARNING, "the host's firewall drops frames", why=view.text)
        elif before.code and not view.code:
            event(_log, logging.INFO, "the host's firewall lets frames pass again")
