"""What is a service? An engine of its own that shares the router's mesh: addresses, names, policy …

A service decides, sans-I/O, over two kinds of things: *records* that each peer owns and everybody
sees in the end (`Publish`; the router signs, spreads and repairs them, and drops those of peers
that are forgotten), and *authentic unicasts* to one peer (`Send`). The daemon and the simulation
pass services into the engine alike. docs/extending.md builds one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from weave_py.mesh.channel import PeersChanged
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import LogEvent, Reply
from weave_py.model.names import PeerName


@dataclass(frozen=True, slots=True)
class Publish:
    """Our record of this slot says this from now on; None: there is none any more. Slots and sizes
    are limited: see SLOTS and MAX_PAYLOAD of wire.owned_record."""

    slot: int
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Send:
    """Tell one peer. It arrives once or not at all, and the peer knows that it is from us."""

    peer: PeerName
    body: bytes


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep this as the service's state on disk *before* anything else that we want done from now
    on: so a promise that others have heard is never forgotten by a crash."""

    value: object


ServiceOutput = Publish | Send | Keep | Reply | LogEvent


class Authentic(NamedTuple):
    """A message that `sender` said, to us, in its present incarnation, and not heard before. Made
    only by `mesh.authentic_unicasts`."""

    sender: PeerName
    body: bytes


class Records(Protocol):
    """The channel's records, as far as we hold them."""

    def owners(self) -> Collection[PeerName]:
        """Peers that have a record, ourself among them."""

    def payloads(self, owner: PeerName) -> Mapping[int, bytes]:
        """Slot → payload of the owner's records."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a service has to start with."""

    ourself: PeerName
    records: Records
    state: object
    """What was last kept; None at the first start. It may be what an older version kept."""


class Service(Protocol):
    """After each call its outputs are taken, in order."""

    @property
    def name(self) -> str:
        """Of its channel; of its state file, too, if it keeps state."""

    def started(self, start: Start, now: float) -> None:
        """Before everything else. What earlier incarnations of ours published is gone."""

    def stopping(self, now: float) -> None:
        """The router is about to say goodbye: last words."""

    def records_changed(self, owners: Collection[PeerName], now: float) -> None:
        """Records of these peers are new, newer or gone."""

    def received(self, message: Authentic, now: float) -> None: ...

    def peers_changed(self, change: PeersChanged, now: float) -> None: ...

    def requested(self, ticket: int, request: object, now: float) -> None:
        """Somebody waits for a Reply with this ticket."""

    def cancelled(self, ticket: int, now: float) -> None:
        """Nobody waits any more."""

    def advance(self, now: float) -> None: ...

    def next_deadline(self) -> Deadline | None: ...

    def take_outputs(self) -> list[ServiceOutput]: ...

    def snapshot(self, now: float) -> object:
        """A frozen view for status and report."""
