"""What may any part of the router want done? A line in the log, state kept, an answer given.

The engine's other outputs concern sockets, ports and sessions (`router.outputs`); these three are
all that channels and services need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Levels of `logging`, which engines do not import: they only name them.
DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something worth a line; `level` as in `logging`."""

    level: int
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeepState:
    """Keep this on disk, in place of what was kept under the name before."""

    name: str
    """A state file's (host.state.names)."""
    value: object
    """What msgpack and JSON both can say."""
    ticket: int = 0
    """Not 0: somebody waits for it; tell Engine.state_kept once it is on disk."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request that waits (Engine.request)."""

    ticket: int
    value: object


Effect = LogEvent | KeepState | Reply
