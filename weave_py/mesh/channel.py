"""What can travel through the mesh beside the topology? Channels, by name.

The engine holds a mapping of channels and knows none of them: the topology, the sessions'
handshakes and every service are channels alike. It tells each what happened and carries what each
has to say.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Protocol

from weave_py.model.deadlines import Deadline
from weave_py.model.effects import Effect
from weave_py.model.names import PeerName


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """What has become of peers since the routes were last computed."""

    reachable: Set[PeerName] = frozenset()
    unreachable: Set[PeerName] = frozenset()
    forgotten: Set[PeerName] = frozenset()
    """Unreachable for so long that their records are not told to anybody any more."""
    born: Set[PeerName] = frozenset()
    """We did not know them, or they have started anew: their topology record has another UID."""

    def __bool__(self) -> bool:
        return bool(self.reachable or self.unreachable or self.forgotten or self.born)


class Channel(Protocol):
    """Sans-I/O. After each call the engine takes what there is to take."""

    @property
    def name(self) -> str:
        """As on the wire; at most 32 bytes."""

    def neighbour_joined(self, neighbour: PeerName, now: float) -> None:
        """We have a control connection with one that announced this channel."""

    def neighbour_left(self, neighbour: PeerName) -> None: ...

    def stream_writable(self, neighbour: PeerName, is_writable: bool, now: float) -> None:
        """The connection with it takes no more for now (gossip waits, as names), or does again."""

    def receive_gossip_untrusted(self, neighbour: PeerName, body: bytes, now: float) -> None:
        """From the neighbour itself, which is authentic; what it says need not be true. Never
        raises for what others did."""

    def receive_unicast_untrusted(
        self, source: PeerName, body: bytes, via: PeerName, now: float
    ) -> None:
        """`source` is whatever some member wrote; `via` is the neighbour that it came through."""

    def peers_changed(self, change: PeersChanged, now: float) -> None: ...

    def advance(self, now: float) -> None: ...

    def next_deadline(self) -> Deadline | None: ...

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        """(Neighbour, body of a gossip message) to be sent now."""

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        """(Destination, body) to be sent through the mesh now."""

    def take_effects(self) -> list[Effect]: ...
