"""Which of our links may have a fast path, and over which of their ways?

What the router tells the fast paths of its links. A fast path has candidates of its own: all
straight ways of the sleeve that work, as far as VXLAN may be sent there. Of those, first what has
not been tried in vain, then what trusted subnets allow in clear, then the one that the sleeve uses.
Our address on each is the one that the kernel's route says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from fastdp.esp.keys import EpochKeys, esp_key
from fastdp.path.paths import FastPathForgotten, FastPaths, PathsOutput
from fastdp.path.reasons import Reason
from fastdp.path.values import Direct
from weave_py.link.link import Link
from weave_py.link.route_book import RouteBook
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import INFO, WARNING, LogEvent
from weave_py.model.fast import DesiredEsp, DesiredVxlan, FastHost
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName
from weave_py.router.settings import EngineSettings

TRY_FOR = 5.0  # seconds without an answer, after which another way has its turn
MTU_DIFFERS = "inner MTU differs from the peer's: packets above the smaller one are lost"


class FastLinks:
    """Feeds `paths`, one for each link that has had a session."""

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        settings: EngineSettings,
        is_secret: bool,
        routes: RouteBook | None = None,
        load: LocalLoad | None = None,
    ) -> None:
        """`routes` and `load`: the router's own."""
        self._routes = routes or RouteBook(is_asked=False)
        self._is_off = settings.fast_host is None
        self.host = settings.fast_host or FastHost(0, "disabled")
        """What this host can do."""
        self.paths = FastPaths(token_bytes, self.host, settings.mtu, settings.fast, load)
        self._is_secret = is_secret
        self._trusted = settings.trusted_subnets
        self._local: tuple[str, ...] = ()
        self._encrypted: dict[PeerName, bool] = {}
        self._chosen: dict[PeerName, tuple[Direct, float]] = {}
        """Which way each path takes, and since when."""
        self._failed: dict[PeerName, dict[str, float]] = {}
        """When each of a peer's addresses last had its turn in vain."""
        self._mtu = settings.mtu
        self._mtus: dict[PeerName, int] = {}
        self._offered: dict[PeerName, tuple[int, ...]] = {}
        """Session indexes of the epochs whose keys each path was offered last."""

    # --- in ------------------------------------------------------------------------------

    def adopt(self, found: Iterable[tuple[PeerName, DesiredVxlan]], now: float) -> None:
        """What a predecessor left running. Whether that had to be encrypted is known for sure
        once the sleeve reaches the peer; until then it is what the predecessor thought."""
        adopted = list(found)
        for peer, desired in adopted:
            if desired.remote is not None:
                self._encrypted[peer] = desired.remote.esp is not None
        self.paths.adopt(adopted, now)

    def set_local(self, hosts: Iterable[str]) -> None:
        """The underlay addresses of this host."""
        self._local = tuple(hosts)

    def set_host(self, host: FastHost, now: float) -> None:
        self.host = host
        self.paths.set_host(host, now)

    def link_changed(self, link: Link, now: float) -> None:
        """Tell it as often as you like."""
        if self._is_off or (link.session.current is None and self.paths.get(link.peer) is None):
            return  # nobody to agree with yet
        direct = self._choose(link, now)
        if direct is not None:
            self._encrypted[link.peer] = self._needs_keys(direct)
        encrypted = self.is_encrypted(link.peer)
        self.paths.permit(link.peer, direct, encrypted, now)
        if encrypted and self.host.esp:
            self._offer_keys(link, now)

    def mtu_news(self, peer: PeerName) -> LogEvent | None:
        """What to say once the peer has said what its inner MTU is (in its fast path's statuses,
        which it sends also where it has no fast path)."""
        status = path.peer if (path := self.paths.get(peer)) is not None else None
        if status is None or status.mtu == self._mtus.get(peer, self._mtu):
            return None
        self._mtus[peer] = status.mtu
        fields = {"peer": peer.hex(":"), "ours": self._mtu, "theirs": status.mtu}
        if status.mtu == self._mtu:
            return LogEvent(INFO, "inner MTU is the peer's again", fields)
        return LogEvent(WARNING, MTU_DIFFERS, fields)

    def forget(self, peer: PeerName) -> None:
        self._mtus.pop(peer, None)
        self.paths.forget(peer)
        self._encrypted.pop(peer, None)
        self._offered.pop(peer, None)
        self._chosen.pop(peer, None)
        self._failed.pop(peer, None)

    # --- out -----------------------------------------------------------------------------

    def is_encrypted(self, peer: PeerName) -> bool:
        """Whether plain VXLAN to the peer, where it was reached last, is forbidden."""
        return self._encrypted.get(peer, self._is_secret)

    def peer_mtu(self, peer: PeerName) -> int:
        """The peer's inner MTU; ours until it says otherwise."""
        return self._mtus.get(peer, self._mtu)

    def take_outputs(self) -> list[PathsOutput]:
        outputs = self.paths.take_outputs()
        for output in outputs:
            if isinstance(output, FastPathForgotten):
                self._encrypted.pop(output.peer, None)
        return outputs

    def next_deadline(self) -> Deadline | None:
        return self.paths.next_deadline()

    # --- inside --------------------------------------------------------------------------

    def _choose(self, link: Link, now: float) -> Direct | None:
        """The way for VXLAN to the peer; None if the sleeve itself needs a detour."""
        if not link.paths.is_direct:
            return None
        failed = self._note_failure(link.peer, now)
        known = self._chosen.get(link.peer)
        used = None if link.paths.best is None else link.paths.best.next_hop.endpoint
        ranks: dict[Direct, tuple[bool, float, bool, bool, bool]] = {}
        for path in link.paths.direct_ways:
            place = path.next_hop.endpoint
            local = None if place is None else self._local_towards(place.host, link.observed)
            if place is None or local is None:
                continue
            direct = Direct(local, place.host)
            sealed = self._needs_keys(direct)
            # The kernel's own probes tell sooner, and better, than the sleeve's whether it works.
            is_doubtful = path.is_doubtful(now) and (known is None or direct != known[0])
            rank = (
                sealed and not self.host.esp,
                failed.get(direct.host, float("-inf")),
                sealed,
                is_doubtful,
                used is None or direct.host != used.host,
            )
            ranks[direct] = min(rank, ranks.get(direct, rank))
        chosen = min(ranks, key=ranks.__getitem__, default=None)
        if chosen is not None and (known is None or known[0] != chosen):
            self._chosen[link.peer] = chosen, now
        return chosen

    def _note_failure(self, peer: PeerName, now: float) -> dict[str, float]:
        """When each of its addresses last had its turn in vain: now, perhaps, the chosen one."""
        failed = self._failed.setdefault(peer, {})
        path, known = self.paths.get(peer), self._chosen.get(peer)
        if path is None or known is None:
            return failed
        direct, since = known
        if path.why == Reason.NONE:
            failed.clear()
        elif path.why == Reason.UNANSWERED and now >= since + TRY_FOR:
            failed[direct.host] = now
            self._chosen[peer] = direct, now
        return failed

    def _local_towards(self, host: str, observed: Endpoint | None) -> str | None:
        """Our address on the way to `host`: as the kernel's route says; if it is not known, where
        the peer sees us, or (behind a NAT that shows another one) the most similar of that family
        (as RFC 6724 §5 has it, rule 8)."""
        alike = [h for h in self._local if (":" in h) == (":" in host)]
        for known in (self._routes.source(host), observed.host if observed else None):
            if known in alike:
                return known
        return max(alike, key=lambda h: _common_bits(h, host), default=None)

    def _needs_keys(self, direct: Direct) -> bool:
        """Whether what goes that way must be sealed. (Trusted subnets vouch for both ends.)"""
        trusted = self._is_trusted(direct.host) and self._is_trusted(direct.local)
        return self._is_secret and not trusted

    def _is_trusted(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in net for net in self._trusted if net.version == address.version)

    def _offer_keys(self, link: Link, now: float) -> None:
        epochs = link.session.epochs
        indexes = tuple(epoch.index for epoch in epochs)
        if not epochs or self._offered.get(link.peer) == indexes:
            return
        self._offered[link.peer] = indexes
        keys = [EpochKeys(e.index, e.theirs, e.send_key, e.receive_key) for e in epochs]
        inbound = tuple(esp_key(k.receive, k.ours) for k in keys)
        newest = keys[-1]
        desired = DesiredEsp(inbound, esp_key(newest.send, newest.theirs))
        self.paths.esp_offered(link.peer, desired, now)


def _common_bits(one: str, other: str) -> int:
    """Length of the longest prefix that two addresses of one family share."""
    a, b = (ipaddress.ip_address(host.partition("%")[0]) for host in (one, other))
    return a.max_prefixlen - (int(a) ^ int(b)).bit_length()
