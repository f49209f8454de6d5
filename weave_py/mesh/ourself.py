"""What do we say about ourselves? Our own topology record, its versions and its signature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from weave_py.crypto.identity import Identity
from weave_py.model.names import MAX_NEIGHBOURS, Endpoint, PeerUID
from weave_py.wire.gossip import MAX_RECORD_BYTES, U63, RecordVersion
from weave_py.wire.topology import MAX_ENDPOINTS, Neighbour, PeerRecord, SignedRecord, encode_record

RECORD_CONTEXT = b"weave-py topology record v1"

# A cost is published again only when it has moved out of this range of the published one: round
# trips wobble, and every change is a message to every peer and a new route computation.
COST_FACTOR = 2.0
COST_STEP_MS = 5
LONGEST_NEIGHBOUR = 80  # bytes in a record, or less
ROOMY = 100  # neighbours that fit in any case


class Ourself:
    """Owner of our record: `update` replaces its content, `signed` is what to gossip."""

    def __init__(
        self,
        identity: Identity,
        uid: PeerUID,
        incarnation: int,
        nickname: str,
        suites: Sequence[int],
    ) -> None:
        self._identity = identity
        self._record = PeerRecord(
            identity=identity.public,
            static=identity.static_public,
            certificate=identity.certificate,
            uid=uid,
            order=RecordVersion(incarnation, 0),
            nickname=nickname,
            endpoints=(),
            neighbours=(),
            suites=tuple(suites),
        )
        self._rival: RecordVersion | None = None
        self.name = identity.name
        self.signed = self._sign(self._record)

    @property
    def record(self) -> PeerRecord:
        return self.signed.record

    @property
    def is_outranked(self) -> bool:
        """Others hold a record of ours that is newer than ours."""
        return self._rival is not None and self._rival >= self.record.order

    def update(
        self,
        endpoints: Iterable[Endpoint],
        neighbours: Iterable[Neighbour],
        *,
        outrank: bool = False,
    ) -> bool:
        """Set what changes over time; True if that made a new version. With `outrank` it is newer
        than any record of ours that is about."""
        published = {n.name: n.cost for n in self.record.neighbours}
        steady = sorted(
            n._replace(cost=_steady_cost(published.get(n.name), n.cost)) for n in neighbours
        )
        endpoints_now = tuple(endpoints)[:MAX_ENDPOINTS]
        neighbours_now = self._fitting(endpoints_now, tuple(steady)[:MAX_NEIGHBOURS])
        order = self.record.order
        if outrank and self._rival is not None and self._rival >= order:
            incarnation, version = self._rival
            order = RecordVersion(min(incarnation + 1, U63), version if incarnation == U63 else 0)
        elif (endpoints_now, neighbours_now) == (self.record.endpoints, self.record.neighbours):
            return False
        version = min(order.version + 1, U63)
        self._publish(endpoints_now, neighbours_now, order._replace(version=version))
        return True

    def rival_seen(self, order: RecordVersion) -> None:
        """An authentic record of ours that we did not make: an earlier life's, after the state
        directory went back in time, or that of a router with a copy of it."""
        if self._rival is None or order > self._rival:
            self._rival = order

    def _fitting(
        self, endpoints: tuple[Endpoint, ...], neighbours: tuple[Neighbour, ...]
    ) -> tuple[Neighbour, ...]:
        """As many neighbours as others read of one record."""
        while len(neighbours) > ROOMY:
            latest = RecordVersion(U63, U63)
            excess = len(encode_record(self._saying(endpoints, neighbours, latest)))
            excess -= MAX_RECORD_BYTES
            if excess <= 0:
                break
            neighbours = neighbours[: -(excess // LONGEST_NEIGHBOUR + 1)]
        return neighbours

    def _publish(
        self,
        endpoints: tuple[Endpoint, ...],
        neighbours: tuple[Neighbour, ...],
        order: RecordVersion,
    ) -> None:
        self.signed = self._sign(self._saying(endpoints, neighbours, order))

    def _saying(
        self,
        endpoints: tuple[Endpoint, ...],
        neighbours: tuple[Neighbour, ...],
        order: RecordVersion,
    ) -> PeerRecord:
        return replace(self.record, endpoints=endpoints, neighbours=neighbours, order=order)

    def _sign(self, record: PeerRecord) -> SignedRecord:
        body = encode_record(record)
        return SignedRecord(body, self._identity.sign(RECORD_CONTEXT, body), record)


def _steady_cost(published: int | None, measured: int) -> int:
    if not published or not measured:
        return measured or published or 0
    near = abs(measured - published) < COST_STEP_MS
    similar = published / COST_FACTOR < measured < published * COST_FACTOR
    return published if near or similar else measured
