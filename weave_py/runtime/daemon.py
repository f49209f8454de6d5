"""How does a router start and stop? The ladder: each rung is there before the next one needs it.

    state ⊃ bridge ⊃ sockets ⊃ engine, roads ⊃ streams, ports ⊃ control API

The order of nesting is the order of starting, and the reverse of stopping. SIGTERM sets an event;
it cancels nothing, so that the router can say goodbye while everything still works.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import trio

from fastdp.events import open_events
from fastdp.probes import ProbeSocket
from fastdp.state import peer_of
from weave_py import __version__
from weave_py.config import Config
from weave_py.crypto.membership import Membership, password_strength_warning
from weave_py.host.address_watch import AddressWatch
from weave_py.host.limits import raise_descriptor_limit
from weave_py.host.locks import claim_bridge
from weave_py.host.privileges import check_privileges
from weave_py.host.state import StateDirectory
from weave_py.host.udp import UdpSocket, open_tcp_listeners, open_udp
from weave_py.model.abilities import Abilities
from weave_py.model.errors import HostError, WeaveError
from weave_py.model.names import PeerUID, Target, name_text
from weave_py.observe.log import configure, event
from weave_py.router.engine import Engine
from weave_py.router.settings import EngineSettings
from weave_py.runtime.accepting import serve_listeners
from weave_py.runtime.control import RouterControl
from weave_py.runtime.fast_host import adopt, find_out, reconciling, unguard
from weave_py.runtime.host_thread import HostThread
from weave_py.runtime.http import control_listeners, serve_http
from weave_py.runtime.main_loop import MainLoop
from weave_py.runtime.peer_ports import PeerPorts
from weave_py.runtime.pump import Pump
from weave_py.runtime.recall import recall
from weave_py.runtime.roads import Roads
from weave_py.runtime.self_test import suites_by_speed, tap_offloads
from weave_py.runtime.streams import unresolvable
from weave_py.runtime.targets_store import TargetsStore

if TYPE_CHECKING:
    from weave_py.host.netlink import Netlink

GOODBYE_SECONDS = 1.0
UNDERLAY_SECONDS = 30.0  # between looks at this host's addresses, if the kernel says nothing
SETTLE_SECONDS = 0.05  # addresses rarely change alone

_log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Run a router until SIGTERM, SIGINT or a `stop`; returns the exit status.

    WeaveError says in one line why it cannot run.
    """
    configure(config.log_level)
    os.umask(0o077)
    raise_descriptor_limit()
    try:
        loop = MainLoop()
        loop.run(_main, config, loop)
    except BaseExceptionGroup as group:
        # One of our own errors speaks for itself; anything else is a bug and shows its traceback.
        expected, bugs = group.split(WeaveError)
        if expected is not None and bugs is None:
            raise _first(expected) from None
        raise
    return 0


def _first(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, WeaveError)
    return error


async def _main(config: Config, loop: MainLoop) -> None:
    check_privileges()
    # A mistyped peer should be told to whoever typed it. (Stored ones are called again and again.)
    for trouble in (await unresolvable(config.peers)).values():
        raise HostError(f"{trouble}: check the name, or give the peer's address")
    shutdown = trio.Event()
    with ExitStack() as rungs:
        host = rungs.enter_context(HostThread())
        state = await host.run(StateDirectory, config.state_dir)
        rungs.enter_context(state.lock())
        rungs.enter_context(claim_bridge(config.bridge))
        known = await host.run(recall, state, config, secrets.token_bytes)
        sockets = rungs.enter_context(_sockets(config))
        membership = await _membership(config)
        fast_host = await host.run(find_out, config)
        suites = suites_by_speed(time.perf_counter)
        udp, listeners = sockets
        abilities = Abilities(
            await host.run(tap_offloads),
            all(one.gso for one in udp),
            all(one.gro for one in udp),
            tuple((suite.text, speed) for suite, speed in suites),
            fast_host,
        )
        engine = Engine(
            known.identity,
            membership,
            uid=PeerUID(secrets.randbits(63) + 1),
            epoch=known.epoch,
            nickname=config.name_alias or config.nickname,
            port=config.port,
            suites=[int(suite) for suite, _ in suites],
            token_bytes=secrets.token_bytes,
            now=trio.current_time(),
            settings=EngineSettings(
                discovery=config.discovery,
                conn_limit=config.conn_limit,
                record_datagrams=config.record_datagrams,
                fast_host=fast_host,
                mtu=config.mtu,
                trusted_subnets=config.trusted_subnets,
            ),
        )
        store = TargetsStore(state, host, config.peers, known.unsaved)
        async with (
            _bridge(config, host, name_text(known.identity.name)),
            reconciling(config, host, fast_host) as kernel,
        ):
            events = rungs.enter_context(open_events())
            pump = Pump(engine, config.host, store.save_soon, loop)
            ports = PeerPorts(host, kernel, config.bridge, pump.on_ports)
            probes = None
            if fast_host.udp_port:
                probes = ProbeSocket()
                rungs.callback(probes.close)
            roads = Roads(
                known.identity.name,
                loop.epoll,
                udp,
                pump.on_controls,
                pump.on_woken,
                pump.tcp_way,
                probes,
                pump.on_probes,
                ports.lost,
            )
            rungs.callback(roads.close)
            pump.use(roads, ports)
            await adopt(host, kernel, ports, pump)
            control = RouterControl(config, pump, host, shutdown, store.flush, abilities)
            await _serve(
                config,
                loop,
                pump,
                roads,
                ports,
                events,
                store,
                listeners,
                control,
                shutdown,
                known.targets,
            )
            await host.run(unguard, config)


async def _serve(
    config: Config,
    loop: MainLoop,
    pump: Pump,
    roads: Roads,
    ports: PeerPorts,
    events: socket.socket,
    store: TargetsStore,
    listeners: list[socket.socket],
    control: RouterControl,
    shutdown: trio.Event,
    targets: list[Target],
) -> None:
    """The upper rungs: everything that is a task."""
    api = control_listeners(config.http_addr) if config.http_addr else []
    async with trio.open_nursery() as nursery:
        await nursery.start(pump.run)
        nursery.start_soon(loop.drive, roads.turn)
        nursery.start_soon(ports.run, roads, events)
        nursery.start_soon(store.run)
        nursery.start_soon(_watch_underlay, config, pump, control)
        streams = [trio.SocketListener(trio.socket.from_stdlib_socket(s)) for s in listeners]
        nursery.start_soon(serve_listeners, pump.serve_stream, streams)
        if api:
            nursery.start_soon(serve_http, api, control)
        nursery.start_soon(_wait_for_signals, shutdown)
        pump.tell(pump.engine.connect, targets)
        _announce(config, pump.engine)
        control.is_ready = True
        await shutdown.wait()
        event(_log, logging.INFO, "shutting down")
        await pump.say_goodbye(GOODBYE_SECONDS)
        await store.flush()
        roads.close()
        nursery.cancel_scope.cancel()
    await ports.remove_all()


def _announce(config: Config, engine: Engine) -> None:
    event(
        _log,
        logging.INFO,
        "router started",
        version=__version__,
        name=f"{name_text(engine.name)}({engine.nickname})",
        port=config.port,
        bridge=config.bridge,
        mtu=config.mtu,
        vxlan_port=engine.settings.fast_host.udp_port if engine.settings.fast_host else 0,
        encryption="required" if engine.is_secret else "on, but anyone may join (no password)",
        api=config.http_addr.text if config.http_addr else "off",
    )


async def _membership(config: Config) -> Membership:
    if config.password is None:
        return Membership.open_network()
    warning = password_strength_warning(config.password)
    if warning:
        event(_log, logging.WARNING, warning)
    # Strengthening takes a sixth of a second and 64 MiB.
    return await trio.to_thread.run_sync(Membership.from_password, config.password)


@contextmanager
def _sockets(config: Config) -> Iterator[tuple[list[UdpSocket], list[socket.socket]]]:
    with ExitStack() as opened:
        listeners = open_tcp_listeners(config.host, config.port)
        for listener in listeners:
            opened.callback(listener.close)
        udp = open_udp(config.host, config.port)
        for one in udp:
            opened.callback(one.close)
        yield udp, listeners


@asynccontextmanager
async def _bridge(config: Config, host: HostThread, mac: str) -> AsyncIterator[None]:
    """The bridge; removed at the end, unless containers are still plugged into it."""
    await host.netlink(lambda n: n.ensure_bridge(config.bridge, mac, config.mtu))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await host.netlink(lambda n: _leave_bridge(n, config.bridge))


def _leave_bridge(netlink: Netlink, bridge: str) -> None:
    try:
        others = [p.ifname for p in netlink.ports(bridge) if peer_of(p.ifname) is None]
        if not others and not netlink.addresses(bridge):
            netlink.delete_bridge(bridge)
        else:
            event(_log, logging.INFO, "bridge kept: still in use", bridge=bridge, ports=len(others))
    except HostError as error:
        event(_log, logging.WARNING, "bridge not removed", error=error)


async def _watch_underlay(config: Config, pump: Pump, control: RouterControl) -> None:
    """Tell the engine where this host can be reached, as soon as that changes."""
    known: list[str] = []
    with AddressWatch() as watch:
        while True:
            watch.drain()
            found = await control.underlay_addresses()
            hosts = [config.host] if config.host else found
            if hosts and hosts != known:  # none: not for long, or we could not look
                gone, known = set(known).difference(hosts), hosts
                pump.tell(pump.engine.set_local_addresses, hosts)
                pump.cut_streams_of(gone)
            with trio.move_on_after(UNDERLAY_SECONDS):
                await trio.lowlevel.wait_readable(watch.sock)
            await trio.sleep(SETTLE_SECONDS)


async def _wait_for_signals(shutdown: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            shutdown.set()
