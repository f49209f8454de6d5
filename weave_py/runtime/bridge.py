"""Who makes the bridge, and who removes it? The router, unless others are plugged into it."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from fastdp.plan.state import peer_of
from weave_py.config.resolve import Config
from weave_py.host.firewall.guards import remove as remove_guards
from weave_py.host.firewall.keeper import remove as remove_rules
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import HostError
from weave_py.observe.log import event

if TYPE_CHECKING:
    from weave_py.host.netlink import Netlink

_log = logging.getLogger(__name__)


@asynccontextmanager
async def bridge(config: Config, host: HostThread, mac: str) -> AsyncIterator[None]:
    """The bridge; removed at the end, unless containers are still plugged into it, or somebody
    else made it."""
    created = await host.netlink(lambda n: n.ensure_bridge(config.bridge, mac, config.mtu))
    if not created and not await host.netlink(lambda n: n.is_our_bridge(config.bridge)):
        what = "bridge was there before: its MAC address and MTU are now ours, and it will be kept"
        event(_log, logging.WARNING, what, bridge=config.bridge)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await host.netlink(lambda n: _leave_bridge(n, config.bridge))


def restore_bridge(config: Config, mac: str) -> bool:
    """Make the bridge again if somebody has deleted it; whether that was needed. For the host
    thread."""
    try:
        socket.if_nametoindex(config.bridge)
        return False
    except OSError:
        from weave_py.host.netlink import Netlink

        with Netlink() as netlink:
            return netlink.ensure_bridge(config.bridge, mac, config.mtu)


def _leave_bridge(netlink: Netlink, bridge: str) -> None:
    try:
        others = [p.ifname for p in netlink.ports(bridge) if peer_of(p.ifname) is None]
        if not others and not netlink.addresses(bridge) and netlink.is_our_bridge(bridge):
            netlink.delete_bridge(bridge)
            _forget_rules(bridge)
        else:
            event(_log, logging.INFO, "bridge kept", bridge=bridge, ports=len(others))
    except HostError as error:
        event(_log, logging.WARNING, "bridge not removed", error=error)


def _forget_rules(bridge: str) -> None:
    """Our rules in the host's firewall: containers need them, and are held back by them, as long
    as there is the bridge."""
    for remove in (remove_rules, remove_guards):
        try:
            remove(bridge)
        except HostError as error:
            event(_log, logging.WARNING, "rules not removed", error=error)
