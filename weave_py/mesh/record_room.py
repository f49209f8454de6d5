"""Whose topology record makes room for whose? When a neighbour, or everybody, has brought enough.

What nobody needs goes first. Then a neighbour that is full may bring a peer in a branch that has
had less than its share (`mesh.branches`), instead of the largest branch's last; and when there is
no room at all, the neighbour that has brought the most gives such a one. Whoever is refused is not
asked for again for a while, unless it has something newer to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from weave_py.crypto.identity import peer_name_of
from weave_py.mesh.branches import Branches, Way
from weave_py.mesh.gossip.introducers import TOO_MANY, IntroducerQuota, Introducers
from weave_py.model.errors import PeerError
from weave_py.model.names import PeerName
from weave_py.wire.gossip import RecordKey, RecordVersion, owner_of, record_key
from weave_py.wire.topology import SignedRecord

TURNED_AWAY = 30.0  # seconds


class _Refused(NamedTuple):
    order: RecordVersion
    until: float


class RecordRoom:
    """The room for all records but ours."""

    def __init__(
        self,
        quota: IntroducerQuota,
        way_to: Callable[[PeerName], tuple[PeerName, ...]],
        drop: Callable[[PeerName], None],
    ) -> None:
        """`way_to`: how a peer is reached, empty if it is not; `drop` is told whose record goes."""
        self.introducers = Introducers(quota)
        self._most = quota.all_records
        self._way_to = way_to
        self._drop = drop
        self._branches: dict[PeerName, Branches] = {}
        """Those of the records that full neighbours have brought."""
        self._turned_away: dict[PeerName, _Refused] = {}
        """Peers there was no room for, the last ones last."""

    def routes_changed(self) -> None:
        """Peers may be reached otherwise."""
        self._branches.clear()

    def has_turned_away(
        self, name: PeerName, order: RecordVersion, via: PeerName | None, now: float
    ) -> bool:
        """Whether this record of a peer, or a later one, was refused lately, and would be again."""
        refused = self._turned_away.get(name)
        if refused is None or now >= refused.until or order > refused.order:
            return False
        return via is not None and self.introducers.is_full(via)

    def make(
        self, signed: SignedRecord, via: PeerName | None, led_by: Iterable[PeerName], now: float
    ) -> None:
        """For this authentic record, which `via` has brought: others go, or PeerError. `led_by`:
        peers we reach that have a connection with its owner, as both say."""
        name, size, ledger = (
            peer_name_of(signed.record.identity),
            len(signed.body),
            self.introducers,
        )
        key = record_key(name)
        payer, account = ledger.payer(key, via), ledger.must_give(key, via, size)
        if account is None:
            return
        way = self._way_behind(payer, name)
        for other in () if way else led_by:
            way = (*self._way_behind(payer, other), name)
            break
        # Who cannot be reached takes nobody's room, or records of the lost would drive each other
        # out, come back from neighbours as news, and never be forgotten.
        if not way:
            raise PeerError(TOO_MANY)
        while account is not None:
            victim = ledger.first_spare(account, key)
            if victim is None and (account != payer or self._is_entitled(way, account)):
                victim = self._of_largest_branch(account, key)
            if victim is None:
                self._turn_away(name, _Refused(signed.order, now + TURNED_AWAY))
                raise PeerError(TOO_MANY)
            self._drop(owner_of(victim))
            account = ledger.must_give(key, via, size)
        self._branches.pop(payer, None)

    # --- inside --------------------------------------------------------------------------

    def _turn_away(self, name: PeerName, refused: _Refused) -> None:
        self._turned_away.pop(name, None)
        self._turned_away[name] = refused
        if len(self._turned_away) > self._most:
            del self._turned_away[next(iter(self._turned_away))]

    def _is_entitled(self, way: Way, account: PeerName) -> bool:
        branches = self._branches.get(account)
        if branches is None:
            branches = self._branches[account] = self._branches_behind(account)
        return branches.is_entitled(way, self.introducers.most_records(), is_whole=False)

    def _of_largest_branch(self, account: PeerName, but: RecordKey) -> RecordKey | None:
        """The last that came of the largest branch on this account."""
        self._branches.pop(account, None)
        held = list(self.introducers.latest(account, but))
        largest = self._branches_behind(account).largest()
        ways = ((key, self._way_behind(account, owner_of(key))) for key in held)
        return next((key for key, way in ways if largest in way), next(iter(held), None))

    def _branches_behind(self, account: PeerName) -> Branches:
        keys = self.introducers.latest(account, RecordKey(b""))
        return Branches(self._way_behind(account, owner_of(key)) for key in keys)

    def _way_behind(self, account: PeerName, name: PeerName) -> tuple[PeerName, ...]:
        """The way to a peer from the neighbour with this account on."""
        way = self._way_to(name)
        return way[1:] if way[:1] == (account,) else way
