"""How do the handshakes of sessions travel? As a channel of unicasts, which prove themselves."""

from __future__ import annotations

from weave_py.mesh.authorizer import Authorizer, Claimant
from weave_py.mesh.channel import PeersChanged
from weave_py.mesh.topology import Topology
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import Effect
from weave_py.model.names import PeerName
from weave_py.router.convergence import Convergence
from weave_py.router.links import Links

SESSION = "session"


class SessionChannel:
    """A Channel (mesh.channel). What comes is a Noise message: it needs no signature."""

    name = SESSION

    def __init__(
        self, links: Links, convergence: Convergence, topology: Topology, authorizer: Authorizer
    ) -> None:
        self._links = links
        self._topology = topology
        self._authorizer = authorizer
        self._convergence = convergence

    def neighbour_joined(self, neighbour: PeerName, now: float) -> None:
        self._links.neighbour_joined(neighbour, now)

    def neighbour_left(self, neighbour: PeerName) -> None:
        """Sessions do not depend on who is a neighbour."""

    def receive_gossip_untrusted(self, neighbour: PeerName, body: bytes, now: float) -> None:
        """Sessions gossip nothing."""

    def receive_unicast_untrusted(
        self, source: PeerName, body: bytes, via: PeerName, now: float
    ) -> None:
        record = self._topology.record(source)
        if record is None or self._authorizer.refusal(Claimant(source, record.identity)):
            return
        self._convergence.make_link(source, now)
        self._links.receive_unicast_untrusted(source, body, now)

    def peers_changed(self, change: PeersChanged, now: float) -> None:
        """Links follow routes (router.convergence)."""

    def advance(self, now: float) -> None:
        """Links have deadlines of their own (Engine.advance)."""

    def next_deadline(self) -> Deadline | None:
        return None

    def take_messages(self) -> list[tuple[PeerName, bytes]]:
        return []

    def take_unicasts(self) -> list[tuple[PeerName, bytes]]:
        return self._links.take_unicasts()

    def take_effects(self) -> list[Effect]:
        return []
