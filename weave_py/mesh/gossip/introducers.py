"""Who pays for a record? The neighbour that brought it: identities are free, connections are not.

An account for each neighbour says how many records it has brought, and how many bytes they are. A
record is charged to the neighbour that brought its present version. That of a peer we are connected
with ourselves is charged to nobody: it has proved to be there, and there are only so many. What a
neighbour brought that has left stays, on one account for all of these (`GONE`), until others bring
newer versions.

A neighbour may bring `records`, whatever others do, and more up to its fair share of all there is
room for: so a large network may lie behind one connection. Once all room is taken, what nobody
answers for makes room first, and then something of the neighbour that has brought the most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from weave_py.model.names import PeerName
from weave_py.wire.gossip import RecordKey, owner_of

TOO_MANY = "more records than one neighbour may bring"
GONE = PeerName(b"")
_DIRECT = PeerName(b"\0")


@dataclass(frozen=True, slots=True)
class IntroducerQuota:
    """Of one channel's records. A decoded topology record takes about five times its bytes: the
    default makes 60 MiB at most, and 15 MiB for one neighbour among several."""

    records: int = 2000
    """That a neighbour may bring in any case (with all records: as far as there is room)."""
    bytes: int = 3 * 1024 * 1024
    all_records: int = 10_000
    all_bytes: int = 12 * 1024 * 1024


@dataclass(slots=True)
class _Account:
    records: dict[RecordKey, int] = field(default_factory=dict)
    """Bytes of each, those brought first in front."""
    bytes: int = 0
    spare: dict[RecordKey, None] = field(default_factory=dict)
    """Those nobody needs now, the longest first."""

    def __bool__(self) -> bool:
        return bool(self.records)


class Introducers:
    """The accounts of one store. It asks who `must_give`, and then tells what it keeps."""

    def __init__(self, quota: IntroducerQuota | None = None) -> None:
        self._quota = quota or IntroducerQuota()
        self._present: set[PeerName] = set()
        self._accounts: dict[PeerName, _Account] = {GONE: _Account(), _DIRECT: _Account()}
        self._charged: dict[RecordKey, PeerName] = {}
        self.bytes = 0
        """Of the records that somebody pays for."""

    # --- in ------------------------------------------------------------------------------

    def joined(self, neighbour: PeerName) -> None:
        """We are connected with it."""
        self._present.add(neighbour)
        self._move([k for k in self._keys_of(neighbour) if k in self._charged], _DIRECT)

    def left(self, neighbour: PeerName) -> None:
        self._present.discard(neighbour)
        account = self._accounts.get(neighbour, _Account())
        self._move([*account.records, *self._keys_of(neighbour)], GONE)
        self._accounts.pop(neighbour, None)

    def keep(self, key: RecordKey, via: PeerName | None, size: int) -> None:
        """This version of the record is kept, which `via` has brought."""
        self.drop(key)
        name = self.payer(key, via)
        account = self._accounts.setdefault(name, _Account())
        account.records[key] = size
        account.bytes += size
        self.bytes += size * (name != _DIRECT)
        self._charged[key] = name

    def drop(self, key: RecordKey) -> None:
        """The record is not kept any more."""
        name = self._charged.pop(key, None)
        if name is None:
            return
        account = self._accounts[name]
        size = account.records.pop(key)
        account.bytes -= size
        self.bytes -= size * (name != _DIRECT)
        account.spare.pop(key, None)
        if not account and name not in (GONE, _DIRECT):
            del self._accounts[name]

    def spare(self, key: RecordKey) -> None:
        """Nobody needs it at the moment: its peer cannot be reached."""
        name = self._charged.get(key)
        if name is not None:
            self._accounts[name].spare[key] = None

    def needed(self, key: RecordKey) -> None:
        name = self._charged.get(key)
        if name is not None:
            self._accounts[name].spare.pop(key, None)

    # --- out -----------------------------------------------------------------------------

    def __len__(self) -> int:
        """Records that somebody pays for."""
        return len(self._charged) - len(self._accounts[_DIRECT].records)

    def usage(self, neighbour: PeerName) -> tuple[int, int]:
        """Records and bytes that are charged to a neighbour (or to `GONE`)."""
        account = self._accounts.get(neighbour, _Account())
        return len(account.records), account.bytes

    def is_full(self, via: PeerName | None) -> bool:
        """Whether a record more from this neighbour would be too much."""
        account = self._accounts.get(via or GONE, _Account())
        records, size = self._limits()
        return len(account.records) >= records or account.bytes >= size

    def payer(self, key: RecordKey, via: PeerName | None) -> PeerName:
        """Whose account a record that `via` brings is on (not only a neighbour's: see `GONE`)."""
        if owner_of(key) in self._present:
            return _DIRECT
        return via if via is not None and via in self._present else GONE

    def must_give(self, key: RecordKey, via: PeerName | None, size: int) -> PeerName | None:
        """On whose account something has to go so that `via` can bring this record: perhaps its
        own. None: nothing has to."""
        if self.may_keep(key, via, size):
            return None
        name = self.payer(key, via)
        own = self._accounts.get(name, _Account())
        if not self._fits(own, name, key, size, *self._limits()):
            return name
        # It has room of its own, but there is none left at all.
        if self._accounts[GONE]:
            return GONE
        others = {n: a for n, a in self._accounts.items() if n not in (GONE, _DIRECT)}
        largest = max(others, key=lambda n: self._weight(others[n]), default=name)
        return largest if self._weight(others.get(largest, own)) > self._weight(own) else name

    def first_spare(self, account: PeerName, but: RecordKey) -> RecordKey | None:
        """What nobody has needed for longest of what is on an account."""
        spare = self._accounts.get(account, _Account()).spare
        return next((key for key in spare if key != but), None)

    def latest(self, account: PeerName, but: RecordKey) -> Iterator[RecordKey]:
        """All that is on an account, the last that came first."""
        records = self._accounts.get(account, _Account()).records
        return (key for key in reversed(records) if key != but)

    def most_records(self) -> int:
        """That a neighbour may bring now."""
        return self._limits()[0]

    def may_keep(self, key: RecordKey, via: PeerName | None, size: int) -> bool:
        """Whether `via` may bring this version of the record without anything else going."""
        name = self.payer(key, via)
        if name == _DIRECT:
            return True
        account, quota = self._accounts.get(name, _Account()), self._quota
        if not self._fits(account, name, key, size, *self._limits()):
            return False
        old = self._charged.get(key)
        paid = self._accounts[old].records[key] if old not in (None, _DIRECT) else None
        records = len(self) + (paid is None)
        return records <= quota.all_records and self.bytes - (paid or 0) + size <= quota.all_bytes

    # --- inside --------------------------------------------------------------------------

    def _limits(self) -> tuple[int, int]:
        """What one neighbour may bring now."""
        quota, share = self._quota, max(len(self._present), 1)
        return (
            min(max(quota.records, quota.all_records // share), quota.all_records),
            min(max(quota.bytes, quota.all_bytes // share), quota.all_bytes),
        )

    def _fits(
        self,
        account: _Account,
        name: PeerName,
        key: RecordKey,
        size: int,
        most_records: int,
        most_bytes: int,
    ) -> bool:
        if name == GONE:
            return True
        paid = account.records.get(key)
        return (
            len(account.records) + (paid is None) <= most_records
            and account.bytes - (paid or 0) + size <= most_bytes
        )

    def _weight(self, account: _Account) -> float:
        """Share of all the room there is."""
        quota = self._quota
        return max(len(account.records) / quota.all_records, account.bytes / quota.all_bytes)

    def _keys_of(self, owner: PeerName) -> list[RecordKey]:
        return [key for key in self._charged if owner_of(key) == owner]

    def _move(self, keys: Iterable[RecordKey], to: PeerName) -> None:
        for key in keys:
            name = self._charged[key]
            if name == to:
                continue
            source = self._accounts[name]
            target = self._accounts.setdefault(to, _Account())
            size = source.records.pop(key)
            source.bytes -= size
            target.records[key] = size
            target.bytes += size
            self.bytes += size * ((to != _DIRECT) - (name != _DIRECT))
            if key in source.spare:
                del source.spare[key]
                target.spare[key] = None
            self._charged[key] = to
