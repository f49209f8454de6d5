"""Who takes the connections that come in, also when there is no descriptor left for one?

trio's own loop would do, but for what it logs while descriptors are short: a traceback ten times
a second, for as long as somebody keeps them short.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Sequence

import trio

from weave_py.observe.log import event

PAUSE = 0.1
"""Seconds until we look again for a descriptor. Connections wait in the kernel meanwhile."""
SAY_EVERY = 5.0
"""Seconds: somebody may keep us short of them for long."""
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)

_log = logging.getLogger(__name__)

Handler = Callable[[trio.SocketStream], Awaitable[object]]


async def serve_listeners(
    handler: Handler,
    listeners: Sequence[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `handler` for every connection, each in a task of its own, until cancelled."""
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_accept, listener, handler, nursery)
        task_status.started(list(listeners))


async def _accept(listener: trio.SocketListener, handler: Handler, nursery: trio.Nursery) -> None:
    say_at = trio.current_time()
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _SHORT:
                    raise
                if trio.current_time() >= say_at:
                    say_at = trio.current_time() + SAY_EVERY
                    why = os.strerror(error.errno)
                    event(_log, logging.WARNING, "connections must wait", error=why)
                await trio.sleep(PAUSE)
            else:
                nursery.start_soon(_serve, handler, stream)


async def _serve(handler: Handler, stream: trio.SocketStream) -> None:
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)
