"""When is the firewall asked, when are frames sent, and what is said? (t08)"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from weave_py.host.firewall import keeper, legacy, nft, probe
from weave_py.host.firewall.keeper import FLAG_SECONDS, PROBE_SECONDS, Keeper
from weave_py.host.firewall.rules import Chain, Place
from weave_py.model.errors import HostError
from weave_py.model.firewall import FirewallView

PLACE = Place("nft", "ip", "filter", "FORWARD")
OLD = Place("iptables-legacy", "ip", "filter", "FORWARD")


@dataclass
class Host:
    """One with chains that drop by default."""

    filtered: frozenset[int] = frozenset((4, 6))
    own: frozenset[int] = frozenset()
    old: frozenset[int] = frozenset()
    chains: dict[Place, Chain] = field(default_factory=dict)
    stricter: bool = False
    refusal: str = ""
    asked: int = 0
    probed: int = 0
    now: float = 100.0

    def deny(self, place: Place) -> None:
        self.chains[place] = Chain(place, denies=True)

    def read(self, bridge: str) -> list[Chain]:
        self.asked += 1
        return [chain for chain in self.chains.values() if chain.place.tool == "nft"]

    def read_old(self, bridge: str, version: int) -> Chain:
        return self.chains[OLD]

    def insert(self, bridge: str, place: Place) -> None:
        if self.refusal:
            raise HostError(self.refusal)
        self.chains[place] = replace(self.chains[place], accepts=True, ours=(1,))

    def dropped(self, bridge: str, versions: frozenset[int]) -> tuple[int, ...]:
        self.probed += 1
        closed = any(not chain.accepts for chain in self.chains.values())
        return tuple(sorted(versions)) if self.stricter or closed else ()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(keeper, "setting", lambda: host.filtered)
    monkeypatch.setattr(keeper, "own_setting", lambda bridge: host.own)
    monkeypatch.setattr(legacy, "present", lambda: host.old)
    monkeypatch.setattr(legacy, "read", host.read_old)
    monkeypatch.setattr(legacy, "insert", host.insert)
    monkeypatch.setattr(nft, "read", host.read)
    monkeypatch.setattr(nft, "insert", host.insert)
    monkeypatch.setattr(probe, "dropped", host.dropped)
    return host


class Looks:
    def __init__(self, host: Host, bridge: str = "weave") -> None:
        self.keeper = Keeper(bridge, lambda: host.now)

    def __call__(self, changed: bool = False) -> FirewallView:
        return self.keeper.look(changed)


def test_nothing_is_asked_where_netfilter_sees_no_frames(host: Host) -> None:
    host.filtered = frozenset()
    host.deny(PLACE)
    look = Looks(host)
    assert look(True).text == "does not see the frames of the bridge"
    assert (host.asked, host.probed) == (0, 0)
    host.filtered = frozenset((4,))  # somebody loads br_netfilter: no rule has changed
    assert look().text == "lets frames pass: rule in ip filter FORWARD"
    assert look.keeper.added == [PLACE]


def test_a_bridge_may_ask_for_it_on_its_own(host: Host) -> None:
    host.filtered = frozenset()
    host.deny(PLACE)
    look = Looks(host)
    assert look().text == "does not see the frames of the bridge"
    host.own = frozenset((4,))
    host.now += FLAG_SECONDS
    assert look().text == "lets frames pass: rule in ip filter FORWARD"


def test_no_frame_is_sent_where_no_chain_could_drop_it(host: Host) -> None:
    look = Looks(host)
    assert look().text == "lets frames pass"
    assert host.probed == 0


def test_while_nothing_changes_no_command_runs(host: Host) -> None:
    host.deny(PLACE)
    look = Looks(host)
    look()
    assert look(True).text == "lets frames pass: rule in ip filter FORWARD"  # (our own change)
    asked, probed = host.asked, host.probed
    for _ in range(100):
        host.now += 3
        look()
    assert (host.asked, host.probed) == (asked, probed)


def test_rules_that_keep_changing_elsewhere_cost_few_probes(host: Host) -> None:
    host.deny(PLACE)
    look = Looks(host)
    for _ in range(100):
        host.now += 1
        look(True)
    assert host.probed <= 100 / PROBE_SECONDS + 2


def test_what_was_flushed_is_put_back(host: Host) -> None:
    host.deny(PLACE)
    look = Looks(host)
    look()
    host.deny(PLACE)
    assert look(True).code == ""
    assert look.keeper.added == [PLACE]


def test_old_tables_are_looked_at_every_time(host: Host) -> None:
    host.old = frozenset((4,))
    host.deny(OLD)
    look = Looks(host)
    assert "(iptables-legacy)" in look().text
    host.deny(OLD)
    look()
    assert look.keeper.added == [OLD]


def test_a_drop_elsewhere_is_named_until_it_is_gone(host: Host) -> None:
    host.deny(PLACE)
    host.stricter = True
    look = Looks(host)
    view = look()
    assert view.dropped == (4, 6)
    assert view.text.startswith("host-firewall: IPv4 and IPv6 frames between ports of weave are")
    assert "in spite of our rule in ip filter FORWARD" in view.text
    look(True)  # (our own change)
    host.stricter = False
    assert look().code == "host-firewall"  # (frames are not sent all the time)
    host.now += PROBE_SECONDS
    assert look().code == ""


def test_a_rule_that_is_refused_is_named_with_the_reason(host: Host) -> None:
    host.deny(PLACE)
    host.refusal = "nft: Operation not permitted"
    look = Looks(host)
    assert look().text.endswith("ip filter FORWARD: nft: Operation not permitted")
    host.refusal = ""
    assert look().code == ""  # tried again, whether or not anything was said


def test_a_bridge_that_no_rule_can_name(host: Host) -> None:
    host.deny(PLACE)
    view = Looks(host, "we*")()
    assert view.code == "host-firewall"
    assert "--bridge" in view.text


def test_without_nft_it_is_said_only_if_frames_are_dropped(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(bridge: str) -> list[Chain]:
        raise HostError("nft is missing")

    monkeypatch.setattr(nft, "read", read)
    assert Looks(host)().text == "lets frames pass"
    host.stricter = True
    assert "nft is missing: install nftables" in Looks(host)().text


def test_a_look_that_failed_is_done_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[int, ...]:
        raise HostError("there is no interface weave")

    host.deny(PLACE)
    look = Looks(host)
    with monkeypatch.context() as patched:
        patched.setattr(probe, "dropped", refuse)
        with pytest.raises(HostError):
            look()
    host.stricter = True
    assert look().code == "host-firewall"
