"""What may be asked of a running router? The service behind the control API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import trio

from fastdp.kernel import counters
from fastdp.plan.state import peer_of
from weave_py.config.resolve import Config
from weave_py.host.run_directory import api_socket
from weave_py.loop.control_stream import unresolvable
from weave_py.loop.host_thread import HostThread
from weave_py.model.abilities import Abilities
from weave_py.model.errors import HostError, StateError
from weave_py.model.names import PeerName, Target, parse_target
from weave_py.model.snapshot import MacView, RouterSnapshot
from weave_py.observe.report import ReportExtras
from weave_py.router.snapshot import snapshot
from weave_py.runtime.firewall import HostFirewall
from weave_py.runtime.pump import Pump

MOST_MACS: Final = 1000
"""That a report lists. Containers can make the bridge learn many more: what is said of them must
cost no more than what is worth reading."""


class RouterControl:
    """Implements api.router_routes.ControlService for a router."""

    def __init__(
        self,
        config: Config,
        pump: Pump,
        host: HostThread,
        shutdown: trio.Event,
        keep_targets: Callable[[], Awaitable[str]],
        abilities: Abilities,
        firewall: HostFirewall,
    ) -> None:
        """`keep_targets` returns when the targets, as they are now, are on disk, or why not."""
        self.is_ready = False
        self._config = config
        self._pump = pump
        self._host = host
        self._shutdown = shutdown
        self._keep_targets = keep_targets
        self._abilities = abilities
        self._firewall = firewall

    def snapshot(self) -> RouterSnapshot:
        datapath, engine = self._pump.datapath, self._pump.engine
        return snapshot(
            engine,
            mtu=self._config.mtu,
            trusted_subnets=tuple(str(net) for net in self._config.trusted_subnets),
            counters=datapath.counters.as_dict() if datapath else {},
            now=trio.current_time(),
            carried=counters.read([peer for peer, _ in engine.links.fast.paths]),
        )

    async def report_extras(self) -> ReportExtras:
        address = self._config.http_addr
        macs, count = await self._macs()
        return ReportExtras(
            bridge=self._config.bridge,
            mtu=self._config.mtu,
            ready=self.is_ready,
            macs=macs,
            mac_count=count,
            http_address=address.text if address else api_socket(self._config.bridge),
            state_dir=str(self._config.state_dir),
            abilities=replace(self._abilities, fast=self._pump.engine.links.fast.host),
            firewall=self._firewall.view,
            guard=self._firewall.guard,
        )

    async def connect(self, targets: list[str], replace: bool) -> list[str]:
        good: list[Target] = []
        errors: list[str] = []
        for text in targets:
            try:
                good.append(parse_target(text))
            except ValueError as error:
                errors.append(str(error))
        # Whether a name can be resolved now says nothing of tomorrow: it is a target all the same.
        errors += (await unresolvable(good)).values()
        # A typing error must not cost the targets that work.
        alone = replace and not errors
        if good or alone:
            engine = self._pump.engine
            self._pump.tell(lambda now: engine.connect(good, now, alone))
            # Before the answer: what was acknowledged outlives us.
            if reason := await self._keep_targets():
                errors.append(f"done, but not kept for the next start: {reason}")
        if replace and not alone:
            errors.append("so nothing was replaced: the other targets stay")
        return errors

    async def forget(self, targets: list[str]) -> None:
        self._pump.tell(self._pump.engine.forget, targets)
        if reason := await self._keep_targets():
            raise StateError(f"done, but not kept for the next start: {reason}")

    def stop(self) -> None:
        self._shutdown.set()

    async def _macs(self) -> tuple[tuple[MacView, ...], int]:
        """The first MACs that the bridge has learned, and how many there are."""
        bridge = self._config.bridge
        try:
            learned, count = await self._host.netlink(lambda n: n.macs(bridge, MOST_MACS))
        except HostError:
            return (), 0  # the bridge is gone: that shows elsewhere
        engine = self._pump.engine
        views = []
        for mac, ifname, age in learned:
            whose = peer_of(ifname)
            name = engine.name if whose is None else whose[1]
            views.append(MacView(mac, name, self._nickname(name), age))
        return tuple(views), count

    def _nickname(self, name: PeerName) -> str:
        record = self._pump.engine.topology.record(name)
        return record.nickname if record else ""
