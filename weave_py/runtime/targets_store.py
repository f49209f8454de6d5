"""Which targets does a router start with, and how are they kept?

As in Weave, `connect` and `forget` last: a router that is started again the same way (by hand
without peers, or by a unit file with the same ones) goes on with the targets it had. A *different*
list of peers on the command line replaces them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from weave_py.host.state import StateDirectory
from weave_py.model.errors import StateError
from weave_py.model.names import Target, parse_target
from weave_py.observe.log import event
from weave_py.runtime.host_thread import HostThread

FILE = "targets"

_log = logging.getLogger(__name__)


def initial_targets(
    state: StateDirectory, launched: Sequence[Target], resume: bool
) -> list[Target]:
    """The targets to begin with, given the peers on the command line. StateError if what was
    stored is damaged."""
    stored = state.load(FILE)
    launched_texts = [target.text for target in launched]
    if stored is None:
        return list(launched)
    try:
        if not isinstance(stored, dict):
            raise ValueError("not a table")
        before = [str(text) for text in stored["launched"]]
        kept = [parse_target(str(text)) for text in stored["targets"]]
    except (KeyError, TypeError, ValueError):
        raise StateError(
            f"{state.path}/{FILE}.json does not hold targets: move it away to start without them"
        ) from None
    if resume or not launched_texts or launched_texts == before:
        return kept
    return list(launched)


class TargetsStore:
    """Writes the targets down in the background, the latest ones only."""

    def __init__(self, state: StateDirectory, host: HostThread, launched: Sequence[Target]) -> None:
        self._state = state
        self._host = host
        self._launched = [target.text for target in launched]
        self._latest: tuple[str, ...] | None = None
        self._wake = trio.Event()
        self._writing = trio.Lock()

    def save_soon(self, targets: tuple[str, ...]) -> None:
        self._latest = targets
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; what is still to be written then, is left to `flush`."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write what has changed since it was last written; wait for what is being written."""
        async with self._writing:
            while (latest := self._latest) is not None:
                value = {"launched": self._launched, "targets": list(latest)}
                try:
                    await self._host.run(self._state.save, FILE, value)
                except StateError as error:
                    event(_log, logging.ERROR, "targets not saved", error=error)
                if self._latest is latest:
                    self._latest = None
