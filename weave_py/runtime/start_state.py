"""Who are we, how often did we start, and whom are we to call? What the state directory knows.

A router starts whatever happened to its state: with the generation before of what is damaged,
and without what is lost altogether, which it says. Only what a person must decide stops it (files
that others can read or change, files of a newer version).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from weave_py.config.resolve import Config
from weave_py.crypto.identity import Identity
from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import service_state
from weave_py.model.names import Target, name_text
from weave_py.observe.log import event
from weave_py.runtime.kept_targets import initial_targets
from weave_py.runtime.state_writer import tell_losses

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartState:
    identity: Identity
    incarnation: int
    targets: list[Target]
    unsaved: Mapping[str, object]
    """Name → value of what the disk did not take."""


def read_start_state(
    state: StateDirectory, config: Config, token_bytes: Callable[[int], bytes]
) -> StartState:
    """Read everything, then write what this start changes. StateError for what stops us."""
    try:
        identity = state.load_identity()
        was_lost = any(not loss.used for loss in state.losses)
        targets = initial_targets(state, config.peers, config.resume)
        incarnation = state.next_incarnation()
    finally:
        tell_losses(state)
    if identity is None:
        identity = Identity.create(token_bytes)
        state.keep_identity(identity)
        if was_lost:
            event(
                _log,
                logging.ERROR,
                "identity lost: this router is a new peer, with a new name",
                name=name_text(identity.name),
            )
    if state.unsaved:
        event(_log, logging.ERROR, "state not saved: tried again", error=state.trouble)
    return StartState(identity, incarnation, targets, dict(state.unsaved))


def service_states(state: StateDirectory, names: Iterable[str]) -> dict[str, object]:
    """What each of these services kept last, if anything. StateError for what stops us."""
    try:
        found = {name: state.load(service_state(name).name, lambda value: value) for name in names}
    finally:
        tell_losses(state)
    return {name: value for name, value in found.items() if value is not None}
