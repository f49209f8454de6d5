"""How does what a router learns last, without anybody waiting for the disk?

A value for any declared state file (`host.state.names`) is handed over with `keep`, and written
in the background.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import trio

from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import state_file
from weave_py.loop.host_thread import HostThread
from weave_py.model.errors import StateError
from weave_py.observe.log import event

RETRY_SECONDS = 3.0
"""How often a disk that took nothing is tried again."""

_log = logging.getLogger(__name__)


class StateWriter:
    """Writes values down in the background, of each name the latest one only.

    A disk that takes nothing (full, read only) is said once, tried again and again, and stops
    nobody. What could not be written at the start waits here, too.
    """

    def __init__(
        self, state: StateDirectory, host: HostThread, unsaved: Mapping[str, object] | None = None
    ) -> None:
        """`unsaved`: name → value of what is still to be written."""
        self._state = state
        self._host = host
        self._pending: dict[str, object] = dict(unsaved or {})
        self._kept: dict[str, Callable[[], None]] = {}
        """Who waits for which name."""
        self._trouble = ""
        self._wake = trio.Event()
        if unsaved:
            self._trouble = "the disk took nothing at the start"
        self._writing = trio.Lock()

    def keep(self, name: str, value: object, kept: Callable[[], None] | None = None) -> None:
        """Have the state file `name` hold `value` soon; ValueError for a name that is not
        declared. `kept` is called once it is on disk, unless another value came first."""
        name = state_file(name).name
        self._pending[name] = value
        self._kept.pop(name, None)
        if kept is not None:
            self._kept[name] = kept
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; what is still to be written then, is left to `flush`."""
        while True:
            with trio.move_on_after(RETRY_SECONDS if self._trouble else math.inf):
                await self._wake.wait()
            self._wake = trio.Event()
            await self.flush()

    async def flush(self) -> str:
        """Write what has changed since it was last written; wait for what is being written.

        What is in the way, in one line; empty if all is on disk.
        """
        async with self._writing:
            trouble = ""
            for name in sorted(self._pending):
                trouble = await self._write(name) or trouble
            if trouble and not self._trouble:
                event(_log, logging.ERROR, "state not saved: tried again", error=trouble)
            if self._trouble and not trouble:
                event(_log, logging.INFO, "state saved after all")
            self._trouble = trouble
            return trouble

    async def _write(self, name: str) -> str:
        while name in self._pending:
            value = self._pending[name]
            try:
                await self._host.run(self._state.save, name, value)
            except StateError as error:
                return str(error)
            if self._pending[name] is value:
                del self._pending[name]
                if kept := self._kept.pop(name, None):
                    kept()
        tell_losses(self._state)
        return ""


def tell_losses(state: StateDirectory) -> None:
    """Log what was found damaged: one line a file."""
    while state.losses:
        loss = state.losses.pop(0)
        kept_as = ", ".join(loss.kept_as) or "nothing"
        what = "state file damaged: the other copy is used" if loss.used else "state file lost"
        event(_log, logging.ERROR, what, file=loss.name, error=loss.what, kept_as=kept_as)
