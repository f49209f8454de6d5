"""How does our accept rule stay in the host's firewall, and what is said when that is not enough?

Each look costs a few system calls; commands run only when the kernel said that rules have changed
(or every time, where there are tables of the old kind: those say nothing), and frames are sent
only where there is a chain that could drop them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from weave_py.host.firewall import legacy, nft, probe
from weave_py.host.firewall.rules import (
    NO_VERSION,
    Chain,
    Place,
    Versions,
    is_plain,
    missing,
    versions_text,
)
from weave_py.host.sysctl import read_sysctl
from weave_py.model.errors import HostError
from weave_py.model.firewall import FirewallView

if TYPE_CHECKING:
    from weave_py.host.netlink import Netlink

PROBE_SECONDS: Final = 10.0
"""Between two probes, while nothing shows that could have changed their outcome."""
FLAG_SECONDS: Final = 30.0
"""Between two looks at the bridge's own setting, which hardly anybody uses."""

UNSEEN: Final = "does not see the frames of the bridge"
OPEN: Final = "lets frames pass"

_CALLS: Final = {4: "bridge/bridge-nf-call-iptables", 6: "bridge/bridge-nf-call-ip6tables"}


class Keeper:
    """For one thread, in its network namespace."""

    def __init__(self, bridge: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bridge = bridge
        self._clock = clock
        self._own = NO_VERSION
        self._own_at = float("-inf")
        self._tables: tuple[Versions, Versions] | None = None
        """What netfilter sees of the bridge, and the old tables, at the last look."""
        self._found: tuple[list[Chain], list[str]] | None = None
        self._probe_due = False
        self._probed_at = float("-inf")
        self._view = FirewallView()
        self.added: list[Place] = []
        """Where the last look put our rule."""

    def look(self, rules_changed: bool) -> FirewallView:
        """Put our rule where it is missing. `rules_changed`: whether nftables may have."""
        self.added = []
        tables = self._filtered(), legacy.present()
        changed = rules_changed or tables != self._tables
        self._tables = None  # should we not get to the end, all is to be done again
        self._probe_due |= changed
        versions, old = tables
        if not versions:
            self._found, self._view = None, FirewallView(detail=UNSEEN)
        elif changed or versions & old or self._view.dropped:
            self._view = self._examine(versions, old)
        self._tables = tables
        return self._view

    def _filtered(self) -> Versions:
        if self._clock() - self._own_at >= FLAG_SECONDS:
            # (A socket of its own each time: answers pile up in one that is kept.)
            self._own, self._own_at = own_setting(self._bridge), self._clock()
        return self._own | setting()

    def _examine(self, versions: Versions, old: Versions) -> FirewallView:
        chains, complaints = read_all(self._bridge, old & versions)
        chains = [chain for chain in chains if chain.place.versions & versions]
        added, refusals = insert(self._bridge, missing(chains, versions))
        self.added = added
        changed = bool(added) or (chains, complaints) != self._found
        self._found = chains, complaints
        complaints = complaints + refusals
        if not chains and not complaints:
            return FirewallView(detail=OPEN)
        now = self._clock()
        due = self._probe_due or self._view.dropped
        if not changed and not (due and now - self._probed_at >= PROBE_SECONDS):
            return self._view
        lost = probe.dropped(self._bridge, versions)
        self._probe_due, self._probed_at = False, now
        accepting = added + [chain.place for chain in chains if chain.accepts]
        return described(lost, self._bridge, accepting, complaints)


def setting() -> Versions:
    """The IP versions whose packets pass the FORWARD chains although only bridged, in this network
    namespace. A bridge's own setting can only add to it."""
    return frozenset(
        version for version, name in _CALLS.items() if read_sysctl(name) not in (None, "0")
    )


def own_setting(bridge: str) -> Versions:
    """The same for one bridge."""
    from weave_py.host.netlink import Netlink

    with Netlink() as netlink:
        calls = netlink.calls_netfilter(bridge)
    return frozenset(version for version, does in zip((4, 6), calls, strict=True) if does)


def read_all(bridge: str, old: Versions) -> tuple[list[Chain], list[str]]:
    """Every chain of the FORWARD hook that can be read, and what could not be."""
    chains: list[Chain] = []
    complaints: list[str] = []
    try:
        chains += nft.read(bridge)
    except HostError as error:
        complaints.append(f"{error}: install nftables" if "missing" in str(error) else str(error))
    for version in sorted(old):
        try:
            chains.append(legacy.read(bridge, version))
        except HostError as error:
            complaints.append(str(error))
    return chains, complaints


def insert(bridge: str, places: list[Place]) -> tuple[list[Place], list[str]]:
    """Where our rule was put, and why elsewhere it was not."""
    if places and not is_plain(bridge):
        return [], [f"no rule can name bridge {bridge}: call it otherwise (--bridge)"]
    done: list[Place] = []
    complaints: list[str] = []
    for place in places:
        try:
            (nft if place.tool == "nft" else legacy).insert(bridge, place)
            done.append(place)
        except HostError as error:
            complaints.append(f"{place.text}: {error}")
    return done, complaints


def remove(bridge: str) -> None:
    """Take our rules away wherever they are; none, and no tool, is fine. HostError if one stays."""
    chains, _ = read_all(bridge, legacy.present())
    for chain in chains:
        if chain.ours:
            (nft if chain.place.tool == "nft" else legacy).delete(chain)


def described(
    lost: tuple[int, ...], bridge: str, accepting: list[Place], complaints: list[str]
) -> FirewallView:
    """In a line: what does not pass and why, or what lets it pass."""
    where = ", ".join(place.text for place in accepting)
    if not lost:
        by = f": rule in {where}" if where else ""
        return FirewallView(detail=f"{OPEN}{by}")
    what = f"{versions_text(lost)} frames between ports of {bridge} are dropped"
    if complaints:
        return FirewallView(lost, f"{what}, and our rule is missing: {'; '.join(complaints)}")
    beside = f" in spite of our rule in {where}" if where else ""
    return FirewallView(
        lost, f"{what}{beside}: by another rule: look for it with 'nft list ruleset'"
    )


def examine(bridge: str) -> FirewallView:
    """For `doctor`: through the bridge as it is, or (if there is none) one that is there for the
    moment, with the rules that a router would add. HostError if that cannot be tried."""
    from weave_py.host.netlink import Netlink

    with Netlink() as netlink:
        if netlink.link_exists(bridge):
            versions = setting() | own_setting(bridge)
            chains, complaints = read_all(bridge, legacy.present() & versions)
            accepting = [chain.place for chain in chains if chain.accepts]
            for place in missing(chains, versions):
                complaints.append(f"{place.text}: a running router would add it")
            return described(probe.dropped(bridge), bridge, accepting, complaints)
        return _tried(netlink, f"wvt-{os.getpid()}")


def _tried(netlink: Netlink, bridge: str) -> FirewallView:
    netlink.ensure_bridge(bridge, "02:00:00:00:00:01", 1500)
    try:
        versions = setting()
        chains, complaints = read_all(bridge, legacy.present() & versions)
        added, refusals = insert(bridge, missing(chains, versions))
        lost = probe.dropped(bridge)
        return described(lost, "the bridge", added, complaints + refusals)
    finally:
        with suppress(HostError):
            remove(bridge)
        netlink.delete_bridge(bridge)
