"""Which targets does a router start with, and how are they kept?

As in Weave, `connect` and `forget` last: a router that is started again the same way (by hand
without peers, or by a unit file with the same ones) goes on with the targets it had. A *different*
list of peers on the command line replaces them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import trio

from weave_py.host.state.directory import StateDirectory
from weave_py.loop.host_thread import HostThread
from weave_py.model.effects import KeepState
from weave_py.model.errors import StateError
from weave_py.model.names import Target, parse_target
from weave_py.observe.log import event

FILE = "targets"
RETRY_SECONDS = 3.0
"""How often a disk that took nothing is tried again."""

_log = logging.getLogger(__name__)


class _Stored(NamedTuple):
    launched: list[str]
    targets: list[Target]


def initial_targets(
    state: StateDirectory, launched: Sequence[Target], resume: bool
) -> list[Target]:
    """The targets to begin with, given the peers on the command line."""
    stored = state.load(FILE, _stored)
    launched_texts = [target.text for target in launched]
    if stored is None:
        return list(launched)
    if resume or not launched_texts or launched_texts == stored.launched:
        return stored.targets
    return list(launched)


def _stored(payload: object) -> _Stored:
    try:
        if not isinstance(payload, dict):
            raise ValueError
        launched, targets = payload["launched"], payload["targets"]
        if not isinstance(launched, list) or not isinstance(targets, list):
            raise ValueError
        return _Stored(list(map(str, launched)), [parse_target(str(text)) for text in targets])
    except (KeyError, ValueError):
        raise ValueError("it does not hold targets") from None


class StateWriter:
    """Writes the targets down in the background, the latest ones only.

    A disk that takes nothing (full, read only) is said once, tried again and again, and stops
    nobody. What else could not be written at the start waits here, too.
    """

    def __init__(
        self,
        state: StateDirectory,
        host: HostThread,
        launched: Sequence[Target],
        unsaved: Mapping[str, object] | None = None,
    ) -> None:
        """`unsaved`: name → value of what else is still to be written."""
        self._state = state
        self._host = host
        self._launched = [target.text for target in launched]
        self._pending: dict[str, object] = dict(unsaved or {})
        self._trouble = ""
        self._wake = trio.Event()
        if unsaved:
            self._trouble = "the disk took nothing at the start"
        self._writing = trio.Lock()

    def save_soon(self, targets: tuple[str, ...]) -> None:
        self._pending[FILE] = {"launched": self._launched, "targets": list(targets)}
        self._wake.set()

    def keep(self, wanted: KeepState) -> None:
        """Write this soon."""
        assert isinstance(wanted.value, tuple)
        self.save_soon(wanted.value)

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
        while (value := self._pending.get(name)) is not None:
            try:
                await self._host.run(self._state.save, name, value)
            except StateError as error:
                return str(error)
            if self._pending[name] is value:
                del self._pending[name]
        tell_losses(self._state)
        return ""


def tell_losses(state: StateDirectory) -> None:
    """Log what was found damaged: one line a file."""
    while state.losses:
        loss = state.losses.pop(0)
        kept_as = ", ".join(loss.kept_as) or "nothing"
        what = "state file damaged: the other copy is used" if loss.used else "state file lost"
        event(_log, logging.ERROR, what, file=loss.name, error=loss.what, kept_as=kept_as)
