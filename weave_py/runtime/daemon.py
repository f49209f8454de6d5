"""How does a router start and stop? The ladder: each rung is there before the next one needs it.

    claim ⊃ sockets ⊃ state ⊃ bridge ⊃ engine, datapath ⊃ streams, ports ⊃ control API

The order of nesting is the order of starting, and the reverse of stopping. SIGTERM (or SIGINT, or
SIGHUP when the terminal goes: host/signals.py) sets an event; it cancels nothing, so that the
router can say goodbye while everything still works.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import trio

from fastdp.kernel.events import open_events
from fastdp.kernel.probe_socket import ProbeSocket
from weave_py import __version__
from weave_py.api.application import Application
from weave_py.api.listener import GROUP, check_free
from weave_py.api.router_routes import router_routes
from weave_py.api.server import serve_api
from weave_py.config.resolve import Config
from weave_py.crypto.membership import Membership, password_strength_warning
from weave_py.datapath.datapath import Datapath
from weave_py.host import signals
from weave_py.host.confine import confine, deny_dumps, join_group
from weave_py.host.firewall.guards import guards_of
from weave_py.host.firewall.tables import KeptTable
from weave_py.host.limits import raise_descriptor_limit
from weave_py.host.locks import claim_bridge
from weave_py.host.privileges import check_privileges
from weave_py.host.self_test import Ranking, suites_by_speed, tap_offloads
from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import TARGETS, service_state
from weave_py.host.udp import UdpSocket, open_tcp_listeners, open_udp
from weave_py.loop.control_stream import unresolvable
from weave_py.loop.door import Door
from weave_py.loop.host_thread import HostThread
from weave_py.loop.main_loop import MainLoop
from weave_py.mesh.handshake import TURNED_AWAY
from weave_py.mesh.service import Service
from weave_py.model.abilities import Abilities
from weave_py.model.errors import WeaveError
from weave_py.model.fast import FastHost
from weave_py.model.names import PeerUID, Target, name_text
from weave_py.observe.log import configure, event, take_stderr, unraisable
from weave_py.router.engine import Engine
from weave_py.router.settings import EngineSettings
from weave_py.runtime import api_listeners, kept_targets
from weave_py.runtime.bridge import bridge, restore_bridge
from weave_py.runtime.fast_host import (
    OtherPort,
    adopt,
    find_out,
    open_rule_events,
    reconciling,
    unguard,
)
from weave_py.runtime.firewall import HostFirewall
from weave_py.runtime.peer_ports import PeerPorts
from weave_py.runtime.pump import Pump
from weave_py.runtime.replies import Replies
from weave_py.runtime.router_api import RouterControl
from weave_py.runtime.services import OFFERS, Offer, Requests
from weave_py.runtime.start_state import StartState, read_start_state, service_states
from weave_py.runtime.state_writer import StateWriter
from weave_py.runtime.underlay import HostUnderlay, watch_underlay

GOODBYE_SECONDS = 1.0

_Sockets = tuple[list[UdpSocket], list[socket.socket]]
"""UDP, and TCP to accept from."""

_log = logging.getLogger(__name__)


def run(config: Config, offers: Sequence[Offer] = OFFERS) -> int:
    """Run a router, with these services, until SIGTERM, SIGINT or a `stop`; the exit status.

    WeaveError says in one line why it cannot run.
    """
    deny_dumps()
    signals.heed_sigterm()
    sys.unraisablehook = unraisable
    os.umask(0o077)
    raise_descriptor_limit()
    check_privileges()
    # What takes rights that a router does not need afterwards; there is one thread as yet.
    with claim_bridge(config.bridge), _sockets(config) as sockets:
        state = StateDirectory(config.state_dir)
        join_group(GROUP)
        kept = confine([str(config.state_dir), os.path.dirname(__file__), *sys.path])
        take_stderr()
        configure(config.log_level)
        event(_log, logging.DEBUG, "rights given up", kept=", ".join(sorted(c.name for c in kept)))
        in_loop(_main, config, offers, state, sockets)
    return 0


def in_loop(main: Callable[..., Awaitable[None]], *args: object) -> None:
    """`main(loop, …)` to its end. One of our own errors speaks for itself; anything else is a bug
    and shows its traceback."""
    try:
        loop = MainLoop()
        loop.run(main, loop, *args)
    except BaseExceptionGroup as group:
        expected, bugs = group.split(WeaveError)
        if expected is not None and bugs is None:
            raise _first(expected) from None
        raise


def _first(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, WeaveError)
    return error


@dataclass(frozen=True, slots=True)
class _Router:
    """What the upper rungs stand on."""

    config: Config
    loop: MainLoop
    pump: Pump
    datapath: Datapath
    ports: PeerPorts
    store: StateWriter
    control: RouterControl
    firewall: HostFirewall
    underlay: HostUnderlay
    shutdown: trio.Event
    events: socket.socket
    """What the kernel tells of its devices."""
    rules: socket.socket | None
    """What it tells of nft's rules, where there are any of ours."""
    listeners: list[socket.socket]
    application: Application
    """What the API answers."""


async def _main(
    loop: MainLoop,
    config: Config,
    offers: Sequence[Offer],
    state: StateDirectory,
    sockets: _Sockets,
) -> None:
    udp, listeners = sockets
    shutdown = trio.Event()
    with ExitStack() as rungs:
        host = rungs.enter_context(HostThread())
        rungs.enter_context(state.lock())
        known = await host.run(read_start_state, state, config, secrets.token_bytes)
        membership = await _membership(config)
        fast_host = await host.run(find_out, config)
        suites = suites_by_speed(time.perf_counter)
        abilities = await _abilities(host, udp, suites, fast_host)
        services = [offer.make(config) for offer in offers]
        states = await host.run(service_states, state, [service.name for service in services])
        engine = _engine(config, known, membership, suites, fast_host, services, states)
        replies = Replies()
        store = StateWriter(state, host, known.unsaved)
        async with (
            bridge(config, host, name_text(known.identity.name)),
            reconciling(config, host, fast_host) as kernel,
        ):
            events = rungs.enter_context(open_events())
            rules = open_rule_events(config, fast_host)
            if rules is not None:
                rungs.enter_context(rules)
            underlay = rungs.enter_context(HostUnderlay(config, host))
            pump = Pump(
                engine,
                config.host,
                partial(_keep, store, config),
                loop,
                underlay.find,
                replies.reply,
            )
            mac = name_text(known.identity.name)
            ports = PeerPorts(
                host,
                kernel,
                config.bridge,
                pump.on_ports,
                partial(restore_bridge, config, mac),
                make_room=OtherPort(config, host, kernel, fast_host, pump.on_fast_host).make_room,
            )
            probes = None
            if fast_host.udp_port:
                probes = ProbeSocket()
                rungs.callback(probes.close)
            datapath = Datapath(
                known.identity.name,
                loop.epoll,
                udp,
                pump.on_controls,
                pump.on_woken,
                pump.tcp_tunnel,
                probes,
                pump.on_probes,
                ports.lost,
            )
            rungs.callback(datapath.close)
            pump.use(datapath, ports)
            await adopt(host, kernel, ports, pump)
            firewall = HostFirewall(config.bridge, host, partial(_guards, config, engine))
            control = RouterControl(config, pump, host, shutdown, store.flush, abilities, firewall)
            routes = [
                *router_routes(control),
                *(
                    route
                    for offer, service in zip(offers, services, strict=True)
                    for route in offer.routes(Requests(service.name, pump, replies))
                ),
            ]
            router = _Router(
                config,
                loop,
                pump,
                datapath,
                ports,
                store,
                control,
                firewall,
                underlay,
                shutdown,
                events,
                rules,
                listeners,
                Application(routes),
            )
            if await _serve(router, known.targets):
                await host.run(unguard, config)


def _guards(config: Config, engine: Engine) -> list[KeptTable]:
    """What containers must not do, as of now: VXLAN may go to another port."""
    api = config.http_addr.port if config.http_addr else 0
    ports = [port for port in (config.port, engine.links.fast.host.udp_port, api) if port]
    return guards_of(config.bridge, ports, config.allow_routers)


def _keep(
    store: StateWriter,
    config: Config,
    name: str,
    value: object,
    kept: Callable[[], None] | None,
) -> None:
    """Have what the engine wants kept written down."""
    if name == TARGETS.name:
        assert isinstance(value, tuple)
        store.keep(name, kept_targets.payload(config.peers, value), kept)
    else:
        store.keep(service_state(name).name, value, kept)


async def _serve(router: _Router, targets: list[Target]) -> bool:
    """The upper rungs: everything that is a task. Whether no port is left in the end."""
    config, pump, datapath, ports = router.config, router.pump, router.datapath, router.ports
    control, store = router.control, router.store
    api = api_listeners.open_all(api_listeners.listeners(config, router.application))
    async with trio.open_nursery() as nursery:
        await nursery.start(router.firewall.run)
        await nursery.start(pump.run)
        nursery.start_soon(router.loop.drive, datapath.turn)
        nursery.start_soon(ports.run, datapath, router.events, router.rules)
        nursery.start_soon(store.run)
        await nursery.start(watch_underlay, router.underlay, pump)
        nursery.start_soon(Door(pump, router.loop, TURNED_AWAY).run, router.listeners)
        nursery.start_soon(serve_api, api)
        nursery.start_soon(_wait_for_signals, router.shutdown)
        pump.tell(pump.engine.connect, targets)
        nursery.start_soon(_warn_of_names, targets)
        _announce(config, pump.engine)
        control.is_ready = True
        await router.shutdown.wait()
        event(_log, logging.INFO, "shutting down")
        await pump.say_goodbye(GOODBYE_SECONDS)
        await store.flush()
        datapath.close()
        nursery.cancel_scope.cancel()
    return await ports.remove_all()


async def _warn_of_names(targets: Sequence[Target]) -> None:
    """A mistyped peer should be told to whoever typed it; it may also be a name server that starts
    later than we do, so nothing waits for it."""
    for text, trouble in (await unresolvable(targets)).items():
        event(_log, logging.WARNING, "target not found", target=text, error=trouble)


async def _abilities(
    host: HostThread, udp: list[UdpSocket], suites: Ranking, fast_host: FastHost
) -> Abilities:
    return Abilities(
        await host.run(tap_offloads),
        all(one.gso for one in udp),
        all(one.gro for one in udp),
        tuple((suite.text, speed) for suite, speed in suites),
        fast_host,
    )


def _engine(
    config: Config,
    known: StartState,
    membership: Membership,
    suites: Ranking,
    fast_host: FastHost,
    services: Sequence[Service],
    states: Mapping[str, object],
) -> Engine:
    return Engine(
        known.identity,
        membership,
        uid=PeerUID(secrets.randbits(63) + 1),
        incarnation=known.incarnation,
        nickname=config.name_alias or config.nickname,
        port=config.port,
        suites=[int(suite) for suite, _ in suites],
        token_bytes=secrets.token_bytes,
        now=trio.current_time(),
        settings=EngineSettings(
            discovery=config.discovery,
            conn_limit=config.conn_limit,
            record_datagrams=config.record_datagrams,
            asks_routes=True,
            fast_host=fast_host,
            mtu=config.mtu,
            trusted_subnets=config.trusted_subnets,
        ),
        services=services,
        states=states,
    )


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
        encryption=_encryption(engine),
        api=api_listeners.text(config),
    )


def _encryption(engine: Engine) -> str:
    if engine.is_secret:
        return "required"
    fast = engine.settings.fast_host
    where = "the kernel carries frames in clear" if fast and fast.udp_port else "frames are sealed"
    return f"not required (no password): anyone may join, {where}"


async def _membership(config: Config) -> Membership:
    if config.password is None:
        return Membership.open_network()
    warning = password_strength_warning(config.password)
    if warning:
        event(_log, logging.WARNING, warning)
    # Strengthening takes a sixth of a second and 64 MiB.
    return await trio.to_thread.run_sync(Membership.from_password, config.password)


@contextmanager
def _sockets(config: Config) -> Iterator[_Sockets]:
    if config.http_addr and not config.http_addr.path:
        check_free(config.http_addr)
    with ExitStack() as opened:
        listeners = open_tcp_listeners(config.host, config.port)
        for listener in listeners:
            opened.callback(listener.close)
        udp = open_udp(config.host, config.port)
        for one in udp:
            opened.callback(one.close)
        yield udp, listeners


async def _wait_for_signals(shutdown: trio.Event) -> None:
    with trio.open_signal_receiver(*signals.ending()) as came:
        async for _ in came:
            shutdown.set()
