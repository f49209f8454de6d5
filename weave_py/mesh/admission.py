"""Who may try to get in, and how often? Budgets for those that have not proved anything yet.

Silence costs who keeps it a place (`mesh.waiting_room`), and nobody anything else. Rationed is
what costs us or tells them something: *answers* to first messages (five scalar multiplications
each), and *proofs*, each of which is a guess of the password unless it is right. Who is right gets
both back. A source pays (an IPv4 address; an IPv6 /64, which is what one customer has), its site
(an IPv6 /48) and all strangers together: however many networks a guesser has, the guesses that are
looked at are bounded.

Peers that we know have budgets of their own, which strangers cannot use up: for answers whoever
calls from where a known peer is; for proofs only the known peer there, by its static key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

MAX_BUCKETS = 10_000
"""Beyond that those that paid longest ago are forgotten: as slowly as all together may pay, these
have long been full again."""
MAX_KNOWN = 20_000  # sources, and peers at a source; those learned longest ago are forgotten


class Rate(NamedTuple):
    """A token bucket: so many at once, and then so many a second."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Ration:
    """What one source, one site, and all together may have."""

    source: Rate
    site: Rate
    total: Rate


ANSWERS = Ration(Rate(30, 10), Rate(60, 20), Rate(300, 200))
KNOWN_ANSWERS = Ration(Rate(100, 50), Rate(100, 50), Rate(300, 200))
PROOFS = Ration(Rate(5, 1), Rate(5, 1), Rate(8, 7))
KNOWN_PROOFS = Ration(Rate(3, 0.5), Rate(8, 2), Rate(8, 2))
"""Guesses a second in all: 7 + 2."""

Payers = tuple[tuple[Hashable, Rate], ...]


@lru_cache(maxsize=16_384)  # asked for each connection, and for each address of each record
def source_of(host: str) -> str:
    """What counts as one source: the address, or the /64 of an IPv6 one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))


@lru_cache(maxsize=1024)
def site_of(host: str) -> str:
    """What one owner may have many sources in: an IPv6 /48; of IPv4 the address itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, 48), strict=False))


class _Buckets:
    """Token buckets by what has to pay; the one that all share is never forgotten."""

    def __init__(self) -> None:
        self._spent: dict[Hashable, tuple[float, float]] = {}
        """Tokens that are missing, and as of when."""

    def has(self, payers: Payers, now: float) -> bool:
        """Whether there is a token of each."""
        return all(self._missing(key, rate, now) <= rate.burst - 1 for key, rate in payers)

    def take(self, payers: Payers, now: float) -> bool:
        """A token of each, or of none."""
        if not self.has(payers, now):
            return False
        missing = [self._missing(key, rate, now) for key, rate in payers]
        for gone, (key, _) in zip(missing, payers, strict=True):
            self._spent.pop(key, None)
            self._spent[key] = (gone + 1, now)  # behind those that paid longer ago
        while len(self._spent) > MAX_BUCKETS:
            del self._spent[next(iter(self._spent))]
        return True

    def give_back(self, payers: Payers, now: float) -> None:
        for key, rate in payers:
            missing = self._missing(key, rate, now) - 1
            if missing > 0:
                self._spent[key] = (missing, now)
            else:
                self._spent.pop(key, None)

    def _missing(self, key: Hashable, rate: Rate, now: float) -> float:
        missing, at = self._spent.get(key, (0.0, now))
        return max(missing - (now - at) * rate.per_second, 0.0)


class Admission:
    """The budgets, and who is known."""

    def __init__(self, *, is_open: bool) -> None:
        """`is_open`: a network without a password, in which a proof is no guess."""
        self.is_open = is_open
        self._answers = _Buckets()
        self._proofs = _Buckets()
        self._sources: dict[str, None] = {}
        self._peers: dict[tuple[str, bytes], None] = {}

    # --- who is known --------------------------------------------------------------------

    def know(self, hosts: Iterable[str], static: bytes = b"") -> None:
        """A peer is there: with this static key, if we know it. (Names are no addresses, and
        are passed over.)"""
        for host in hosts:
            try:
                source = source_of(host)
            except ValueError:
                continue
            _remember(self._sources, source)
            if static:
                _remember(self._peers, (source, static))

    def is_known(self, host: str) -> bool:
        """Whether a peer is, or was, where this comes from."""
        return source_of(host) in self._sources

    # --- what they may have --------------------------------------------------------------

    def visitor(self, host: str) -> Visitor:
        """Somebody who calls from there."""
        return Visitor(self, host)

    def attends_to(self, host: str, now: float) -> bool:
        """Whether a first message from there would be answered now. Nobody pays for the question:
        with it callers that will be turned away can be so before they cost anything."""
        is_known = self.is_known(host)
        payers = _payers(KNOWN_ANSWERS if is_known else ANSWERS, host, is_known, b"")
        return self._answers.has(payers, now)

    def take_answer(self, host: str, now: float) -> Payers | None:
        """Who paid for an answer to a first message; None: it is not to be answered."""
        is_known = self.is_known(host)
        ration = KNOWN_ANSWERS if is_known else ANSWERS
        payers = _payers(ration, host, is_known, b"")
        return payers if self._answers.take(payers, now) else None

    def take_proof(self, host: str, static: bytes, now: float) -> Payers | None:
        """Who paid for a look at a proof; None: nobody may look."""
        if self.is_open:
            return ()
        is_known = (source_of(host), static) in self._peers
        ration = KNOWN_PROOFS if is_known else PROOFS
        payers = _payers(ration, host, is_known, static if is_known else b"")
        return payers if self._proofs.take(payers, now) else None

    def was_right(self, answer: Payers, proof: Payers, now: float) -> None:
        """The proof was good: a member pays for nothing. (In an open network everybody is one,
        and can make us do much more than this.)"""
        self._answers.give_back(answer, now)
        self._proofs.give_back(proof, now)


class Visitor:
    """What one incoming connection has taken of the budgets: `mesh.handshake.Gate`."""

    def __init__(self, admission: Admission, host: str) -> None:
        self._admission = admission
        self._host = host
        self._answer: Payers = ()
        self._proof: Payers = ()

    def may_be_answered(self, now: float) -> bool:
        answer = self._admission.take_answer(self._host, now)
        self._answer = answer or ()
        return answer is not None

    def may_prove(self, static: bytes, now: float) -> bool:
        proof = self._admission.take_proof(self._host, static, now)
        self._proof = proof or ()
        return proof is not None

    def has_proved(self, static: bytes, now: float) -> None:
        self._admission.was_right(self._answer, self._proof, now)
        self._admission.know([self._host], static)


def _payers(ration: Ration, host: str, is_known: bool, static: bytes) -> Payers:
    """The total is the last to pay, and so the last to be forgotten."""
    source, site = source_of(host), site_of(host)
    total = ((is_known, ration.total),)
    if static:  # of the known peers at a source none pays for another
        return ((source, static), ration.source), *total
    if site == source:
        return ((is_known, source), ration.source), *total
    return ((is_known, source), ration.source), ((is_known, site), ration.site), *total


def _remember(known: dict[K, None], key: K) -> None:
    """Behind all that were learned longer ago."""
    known.pop(key, None)
    known[key] = None
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
