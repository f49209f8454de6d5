"""Who takes the connections that come in, also when there is no descriptor left for one?

trio's own loop would do, but for what it logs while descriptors are short: a traceback ten times
a second, for as long as somebody keeps them short. And a connection that is not wanted should not
cost a task, a stream and a few steps of trio: of those anybody can make a thousand a second.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import trio

from weave_py.observe.log import event

PAUSE = 0.1
"""Seconds until we look again for a descriptor. Connections wait in the kernel meanwhile."""
SAY_EVERY = 5.0
"""Seconds: somebody may keep us short of them for long."""
BATCH = 64
"""Connections taken at a time; others have their turn in between."""
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_OF_THE_CONNECTION = (
    *(errno.ECONNABORTED, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN),
    *(errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH),
)
"""Linux tells of what befell a connection in the queue as if it were the listener's (accept(2))."""

_log = logging.getLogger(__name__)

Handler = Callable[[trio.SocketStream], Awaitable[object]]
Welcome = Callable[[socket.socket, Any], bool]
"""Whether this connection, from this address, is to be served. It may say a last word to it."""


def _everybody(_connection: socket.socket, _address: object) -> bool:
    return True


async def serve_listeners(
    handler: Handler,
    listeners: Sequence[socket.socket],
    welcome: Welcome = _everybody,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `handler` for every connection that is welcome, each in a task of its own, until
    cancelled. The listeners are ours from now on."""
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            listener.setblocking(False)
            nursery.start_soon(_accept, listener, handler, welcome, nursery)
        task_status.started()


async def _accept(
    listener: socket.socket, handler: Handler, welcome: Welcome, nursery: trio.Nursery
) -> None:
    say_at = trio.current_time()
    with listener:
        try:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    for connection, address in _waiting(listener):
                        if welcome(connection, address):
                            connection.setblocking(False)
                            nursery.start_soon(_serve, handler, connection)
                        else:
                            connection.close()
                except OSError as error:
                    if error.errno not in _SHORT:
                        raise
                    if trio.current_time() >= say_at:
                        say_at = trio.current_time() + SAY_EVERY
                        why = os.strerror(error.errno)
                        event(_log, logging.WARNING, "connections must wait", error=why)
                    await trio.sleep(PAUSE)
        finally:
            trio.lowlevel.notify_closing(listener)


def _waiting(listener: socket.socket) -> Iterator[tuple[socket.socket, Any]]:
    """The connections in the queue, a batch at most."""
    for _ in range(BATCH):
        try:
            yield listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _OF_THE_CONNECTION:
                raise


async def _serve(handler: Handler, connection: socket.socket) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)
