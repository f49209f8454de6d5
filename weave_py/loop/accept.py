"""Who takes the connections that come in, also when there is no descriptor left for one?

trio's own loop would do, but for what it logs while descriptors are short: a traceback ten times
a second, for as long as somebody keeps them short.
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
_OF_A_CONNECTION = (
    *(errno.ECONNABORTED, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN),
    *(errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH),
)
"""Linux tells what befell a connection in the queue as if it were the listener's (accept(2))."""

_log = logging.getLogger(__name__)

Handler = Callable[[trio.SocketStream], Awaitable[object]]


async def serve_listeners(
    handler: Handler,
    listeners: Sequence[socket.socket],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `handler` for every connection, each in a task of its own, until cancelled. The
    listeners are ours from now on."""
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            listener.setblocking(False)
            nursery.start_soon(_accept, listener, handler, nursery)
        task_status.started()


def waiting(listener: socket.socket) -> Iterator[tuple[socket.socket, Any]]:
    """The connections in its queue, with their addresses; a batch at most. OSError if there is
    something wrong with more than one of them."""
    for _ in range(BATCH):
        try:
            yield listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _OF_A_CONNECTION:
                raise


class Patience:
    """What to do when a listener gives no connection."""

    def __init__(self) -> None:
        self._say_at = float("-inf")

    async def bear(self, error: OSError) -> None:
        """Wait a little if descriptors are short, and say so now and then; raise anything else."""
        if error.errno not in _SHORT:
            raise error
        if trio.current_time() >= self._say_at:
            self._say_at = trio.current_time() + SAY_EVERY
            event(_log, logging.WARNING, "connections must wait", error=os.strerror(error.errno))
        await trio.sleep(PAUSE)


async def _accept(listener: socket.socket, handler: Handler, nursery: trio.Nursery) -> None:
    patience = Patience()
    with listener:
        try:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    for connection, _ in waiting(listener):
                        nursery.start_soon(_serve, handler, connection)
                except OSError as error:
                    await patience.bear(error)
        finally:
            trio.lowlevel.notify_closing(listener)


async def _serve(handler: Handler, connection: socket.socket) -> None:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)
