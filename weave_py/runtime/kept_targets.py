"""Which targets does a router start with, and what is kept of them?

As in Weave, `connect` and `forget` last: a router that is started again the same way (by hand
without peers, or by a unit file with the same ones) goes on with the targets it had. A *different*
list of peers on the command line replaces them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weave_py.host.state.directory import StateDirectory
from weave_py.host.state.names import TARGETS
from weave_py.model.names import Target, parse_target


class _Stored(NamedTuple):
    launched: list[str]
    targets: list[Target]


def initial_targets(
    state: StateDirectory, launched: Sequence[Target], resume: bool
) -> list[Target]:
    """The targets to begin with, given the peers on the command line."""
    stored = state.load(TARGETS.name, _stored)
    launched_texts = [target.text for target in launched]
    if stored is None:
        return list(launched)
    if resume or not launched_texts or launched_texts == stored.launched:
        return stored.targets
    return list(launched)


def payload(launched: Sequence[Target], targets: Sequence[str]) -> dict[str, list[str]]:
    """What the state file holds: the targets now, and those of the command line."""
    return {"launched": [target.text for target in launched], "targets": list(targets)}


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
