"""Which of our links may have a fast path? What the router tells the fast paths of its links."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from fastdp.esp.keys import EpochKeys, esp_key
from fastdp.path.paths import FastPathForgotten, FastPaths, PathsOutput
from fastdp.path.values import Direct
from weave_py.link.link import Link
from weave_py.model.deadlines import Deadline
from weave_py.model.effects import INFO, WARNING, LogEvent
from weave_py.model.fast import DesiredEsp, DesiredVxlan, FastHost
from weave_py.model.load import LocalLoad
from weave_py.model.names import Endpoint, PeerName
from weave_py.router.settings import EngineSettings

MTU_DIFFERS = "inner MTU differs from the peer's: packets above the smaller one are lost"


class FastLinks:
    """Feeds `paths`, one for each link that has had a session."""

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        settings: EngineSettings,
        is_secret: bool,
        load: LocalLoad | None = None,
    ) -> None:
        """`load`: the router's own."""
        self._is_off = settings.fast_host is None
        self.host = settings.fast_host or FastHost(0, "disabled")
        """What this host can do."""
        self.paths = FastPaths(token_bytes, self.host, settings.mtu, settings.fast, load)
        self._is_secret = is_secret
        self._trusted = settings.trusted_subnets
        self._local: tuple[str, ...] = ()
        self._encrypted: dict[PeerName, bool] = {}
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
        direct = self._direct(link)
        if direct is not None:
            self._encrypted[link.peer] = self._is_secret and not self._is_trusted(direct.host)
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

    def _direct(self, link: Link) -> Direct | None:
        best = link.paths.best
        if best is None or best.next_hop.endpoint is None:
            return None
        host = best.next_hop.endpoint.host
        local = self._local_towards(host, link.observed)
        return None if local is None else Direct(local, host)

    def _local_towards(self, host: str, observed: Endpoint | None) -> str | None:
        """Our address on the way to `host`: where the peer sees us, or (behind a NAT that shows
        another one) the most similar of that family (as RFC 6724 §5 has it, rule 8)."""
        if observed is not None and observed.host in self._local:
            return observed.host
        alike = [h for h in self._local if (":" in h) == (":" in host)]
        return max(alike, key=lambda h: _common_bits(h, host), default=None)

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
