"""Which listeners are there, and how many clients may each of them have?

Every listener has places of its own, so that who may use one cannot keep others from another.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from functools import partial

import h11
import trio

from weave_py.api.exchange import Door, Exchange
from weave_py.api.guard import Hosts, allowed_hosts
from weave_py.api.listener import OpenListener
from weave_py.loop.accept import serve_listeners

Stream = trio.abc.HalfCloseableStream
_log = logging.getLogger(__name__)


async def serve_api(
    listeners: Sequence[OpenListener],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests on all listeners until cancelled. No client can make it end."""
    try:
        async with trio.open_nursery() as nursery:
            for each in listeners:
                await nursery.start(_serve_listener, each)
            task_status.started()
    finally:
        for each in listeners:
            each.remove()


async def _serve_listener(opened: OpenListener, *, task_status: trio.TaskStatus[None]) -> None:
    door = Door(opened.listener.served, opened.listener.connections, opened.listener.streams)
    await serve_listeners(partial(_serve, door), [opened.socket], task_status=task_status)


async def _serve(door: Door, stream: trio.SocketStream) -> None:
    await serve_connection(stream, door, _hosts(stream))


def _hosts(stream: trio.SocketStream) -> Hosts:
    if stream.socket.family == socket.AF_UNIX:
        return None
    host, port = stream.socket.getsockname()[:2]
    return allowed_hosts(host, port)


async def serve_connection(stream: Stream, door: Door, hosts: Hosts) -> None:
    """Answer the one request of a connection and close it; raises nothing but Cancelled.

    A stream of events gives back the place of a request, and has one of its own kind.
    """
    exchange = Exchange(stream, door, hosts)
    try:
        async with stream:
            with door.slots.taken() as has_place:
                events = await exchange.run() if has_place else None
            if not has_place:
                await exchange.turn_away()
            elif events is not None:
                await exchange.feed(events)
    except (
        OSError,
        trio.BrokenResourceError,
        trio.ClosedResourceError,
        h11.ProtocolError,
    ) as error:
        _log.debug("a client of the control API went away: %s", error)
    except Exception:
        _log.exception("error in the control API")
