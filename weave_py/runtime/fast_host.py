"""What can this host's kernel do for the fast datapath, and how is it told?"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address

import trio

from fastdp import cleanup, descriptions
from fastdp.esp.desired import EspNetwork
from fastdp.esp.keeper import Keeper
from fastdp.kernel import nft, rule_events
from fastdp.kernel.devices import Kernel
from fastdp.kernel.nft import Guard
from fastdp.kernel.probe_socket import ProbeSocket
from fastdp.kernel.selftest import probe_host
from fastdp.kernel.xfrm import Xfrm, kernel_has_esp
from fastdp.reconciler import Reconciler
from weave_py.config.resolve import Config
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.model.fast import DesiredPort, DesiredVxlan, FastHost
from weave_py.model.names import PeerName
from weave_py.observe.log import event
from weave_py.runtime.peer_ports import PeerPorts
from weave_py.runtime.pump import Pump

MOVE_SECONDS = 0.2

_log = logging.getLogger(__name__)


def find_out(config: Config) -> FastHost:
    """Try what the fast datapath needs, and see to it that no stranger's VXLAN gets in. For the
    host thread."""
    host = _tried(config)
    if config.fastdp and not host.udp_port:
        why = descriptions.why_never(host.why)
        event(_log, logging.WARNING, "no fast datapath: all takes the sleeve", why=why)
    # What a predecessor that crashed, and was set up otherwise, has left.
    if config.password is None:
        with suppress(HostError):
            if host.udp_port:
                cleanup.remove_protection(config.bridge, host.udp_port)
            else:
                cleanup.remove(config.bridge)
    elif not _permitted(config, host):
        # Its devices would take VXLAN from anybody, and nothing is there to keep it out.
        # A network with a secret is better off without this router than with them.
        cleanup.remove(config.bridge)
    return host


@asynccontextmanager
async def reconciling(
    config: Config, thread: HostThread, host: FastHost
) -> AsyncIterator[Reconciler]:
    """Of this router's ports; for the host thread, where it is made and closed, too."""
    made = await thread.run(_reconciler, config, host)
    try:
        yield made
    finally:
        with trio.CancelScope(shield=True):
            await thread.run(made.close)


async def adopt(thread: HostThread, kernel: Reconciler, ports: PeerPorts, pump: Pump) -> None:
    """Go on with what a predecessor left running."""
    adopted = await thread.run(kernel.found)
    if adopted:
        event(_log, logging.INFO, "fast paths adopted", paths=len(adopted))
        for peer, desired in adopted:
            ports.want(DesiredPort(peer, desired))
        pump.tell(pump.engine.adopt_fast_paths, adopted)


def open_rule_events(config: Config, host: FastHost) -> socket.socket | None:
    """What tells at once when somebody changes the rules that keep strangers' VXLAN out; None
    where there are none, or the kernel does not tell (then `PeerPorts` only looks now and then)."""
    if _guard_of(config, host) is None:
        return None
    try:
        return rule_events.open_events()
    except HostError as error:
        event(_log, logging.WARNING, "changes of nft rules are noticed late", error=error)
        return None


def unguard(config: Config) -> None:
    """Once the VXLAN devices are gone."""
    with suppress(HostError):  # without nft there are no rules of ours either
        if config.password is not None:
            nft.remove(config.bridge)


class OtherPort:
    """Leaves a UDP port that others' VXLAN devices have come to, for another."""

    def __init__(
        self,
        config: Config,
        thread: HostThread,
        kernel: Reconciler,
        host: FastHost,
        tell: Callable[[FastHost], None],
    ) -> None:
        """`host`: what was found at the start. `tell` the engine, which tells the peers."""
        self._config = config
        self._thread = thread
        self._kernel = kernel
        self._host = host
        self._tell = tell

    async def make_room(
        self, wishes: Mapping[PeerName, DesiredVxlan | None], foreign: Collection[int]
    ) -> bool:
        """Whether we are elsewhere now. `foreign`: UDP ports to stay away from."""
        old = self._host
        host = await self._thread.run(self._elsewhere, {old.udp_port, *foreign})
        event(
            _log,
            logging.WARNING,
            "others' VXLAN devices have come to our UDP port: we go to another",
            port=old.udp_port,
            new=host.udp_port or host.why,
        )
        self._tell(host)
        # What peers still send to the old port arrives until they have heard of the new one.
        await trio.sleep(MOVE_SECONDS)
        try:
            await self._thread.run(self._move, host, wishes, trio.current_time())
        except HostError as error:
            event(_log, logging.ERROR, "VXLAN devices not moved", error=error)
            self._tell(old)
            return False
        self._host = host
        return True

    def _elsewhere(self, avoid: Collection[int]) -> FastHost:
        host = probe_host(self._config.bridge, avoid=avoid)
        return replace(host, esp=self._host.esp) if host.udp_port else host

    def _move(
        self, host: FastHost, wishes: Mapping[PeerName, DesiredVxlan | None], now: float
    ) -> None:
        guard = _guard_of(self._config, host)
        sealing = _sealing(self._config, host)
        self._kernel.move(wishes, host.udp_port, sealing, guard, now)
        if guard is None:
            unguard(self._config)


def _reconciler(config: Config, host: FastHost) -> Reconciler:
    network = _network(config, host)
    keeper = _guard_of(config, host)
    if keeper is not None:
        keeper.apply()  # again: from now on it is known how the kernel shows it
    return Reconciler(
        Kernel(config.bridge),
        config.bridge,
        config.mtu,
        host.udp_port,
        _sealing(config, host),
        keeper,
        lambda host: network.permits_clear(ip_address(host)),
    )


def _network(config: Config, host: FastHost) -> EspNetwork:
    trusted = tuple(config.trusted_subnets)
    return EspNetwork(host.udp_port, config.password is not None, trusted)


def _sealing(config: Config, host: FastHost) -> Keeper | None:
    return Keeper(_network(config, host), Xfrm()) if host.esp else None


def _permitted(config: Config, host: FastHost) -> bool:
    """Whether there may be VXLAN devices at all."""
    if config.password is None or not host.udp_port:
        return bool(host.udp_port)
    return host.esp or bool(config.trusted_subnets)


def _guard_of(config: Config, host: FastHost) -> Guard | None:
    """What keeps strangers' VXLAN out; None where nothing has to: in an open network, or where
    there are no VXLAN devices (other programs' are none of our business)."""
    if config.password is None or not _permitted(config, host):
        return None
    rules = nft.ruleset(
        config.bridge,
        host.udp_port,
        config.trusted_subnets,
        owner=os.geteuid(),
        decrypted=host.esp,
    )
    return Guard(config.bridge, rules)


def _tried(config: Config) -> FastHost:
    host = probe_host(config.bridge, enabled=config.fastdp)
    if not host.udp_port:
        return host
    try:
        ProbeSocket().close()
    except HostError as error:
        event(_log, logging.WARNING, "no probes for the fast datapath", error=error)
        return FastHost(0, "no-privileges")
    if config.password is None:
        return host  # an open network: anybody may join it anyway
    host = replace(host, esp=kernel_has_esp())
    if not _permitted(config, host):
        event(
            _log,
            logging.WARNING,
            "this kernel has no ESP: only the sleeve can carry encrypted traffic "
            "(load the modules esp4 and esp6, or see --trusted-subnets)",
        )
        return host  # nothing will ever be sent by VXLAN: the paths say why
    try:
        if made := _guard_of(config, host):
            made.apply()
    except HostError as error:
        event(_log, logging.WARNING, "no guard for the fast datapath", error=error)
        return FastHost(0, "no-guard")
    return host
