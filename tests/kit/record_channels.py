"""How is a service's channel tried without a network? The test says what came, and when."""

from __future__ import annotations

from collections.abc import Iterable

from tests.kit.builders import identity, record
from tests.kit.counter_service import CounterService
from weave_py.mesh.authentic_unicasts import AuthenticUnicasts
from weave_py.mesh.gossip.owned_records import OwnedRecords
from weave_py.mesh.gossip.replicator import GossipSettings
from weave_py.mesh.service import Service
from weave_py.model.effects import Effect, KeepState
from weave_py.model.names import PeerName, PeerUID
from weave_py.router.record_channel import RecordChannel
from weave_py.router.unicast_budget import UnicastBudget
from weave_py.wire.topology import PeerRecord

NOW = 100.0
US, THEM = 1, 2


class NoGraph:
    """Nobody is connected with anybody."""

    def __len__(self) -> int:
        return 2

    def degree(self, peer: PeerName) -> int | None:
        return None

    def connected(self, peer: PeerName, among: object) -> tuple[PeerName, ...]:
        return ()


def name(number: int) -> PeerName:
    return identity(number).name


def channel(
    number: int = US,
    service: Service | None = None,
    known: Iterable[int] | dict[PeerName, PeerRecord] = (US, THEM),
) -> RecordChannel:
    """`known`: whose records there are, or these themselves."""
    records = known if isinstance(known, dict) else {name(n): record(n) for n in known}
    unicasts = AuthenticUnicasts(identity(number), PeerUID(10 + number), records.get)
    return RecordChannel(
        "counter",
        service,
        OwnedRecords("counter", identity(number), PeerUID(10 + number), records.get),
        NoGraph(),
        unicasts,
        UnicastBudget(),
        NOW,
        GossipSettings(),
    )


def started(number: int = US, state: object = None) -> RecordChannel:
    made = channel(number, CounterService())
    made.start(state, NOW)
    return made


def kept(effects: list[Effect]) -> list[KeepState]:
    return [effect for effect in effects if isinstance(effect, KeepState)]
