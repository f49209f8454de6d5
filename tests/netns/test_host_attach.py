"""Do attached namespaces talk as if plugged into one switch, and does nothing stay behind?"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from tests.kit.one_host import OneHost, on, one_host, shell
from weave_py.host.refusal import refused
from weave_py.model.errors import HostError
from weave_py.workloads import conflicts
from weave_py.workloads.attach import attach, attachments, detach, expose, hide, host_ifname_of
from weave_py.workloads.netns import own_namespace, run_inside

pytestmark = pytest.mark.netns


@pytest.fixture
def lab() -> Iterator[OneHost]:
    with one_host() as made:
        yield made


def test_run_inside_leaves_the_caller_alone(lab: OneHost) -> None:
    host, first, _ = lab
    before, threads = own_namespace().identity, threading.active_count()
    assert run_inside(first, lambda: own_namespace().identity) == first.identity
    assert run_inside(host, lambda: run_inside(first, own_namespace)).identity == first.identity
    assert own_namespace().identity == before
    with pytest.raises(ZeroDivisionError):
        run_inside(first, lambda: 1 // 0)
    assert threading.active_count() == threads


def test_containers_talk(lab: OneHost) -> None:
    host, first, second = lab
    assert on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24", "fd00::1/64"])) == [
        "10.2.1.1/24",
        "fd00::1/64",
    ]
    on(host, lambda: attach("weave", 1376, second, ["10.2.1.2/24", "fd00::2/64"]))
    assert " 0% packet loss" in shell(second, "ping -c 1 -W 2 10.2.1.1")
    assert " 0% packet loss" in shell(second, "ping -6 -c 1 -W 2 fd00::1")

    inside = shell(first, "ip -d link show ethwe; ip route; ip address show ethwe scope global")
    for part in ("mtu 1376", "gso_max_size 61440", "224.0.0.0/4 dev ethwe", "UP"):
        assert part in inside
    assert "tentative" not in inside
    base = "/proc/sys/net/ipv4/neigh/ethwe"
    values = shell(
        first,
        f"cat {base}/base_reachable_time {base}/delay_first_probe_time {base}/ucast_solicit",
    )
    assert values.split() == ["5", "2", "1"]

    ifname = host_ifname_of(first)
    outside = shell(host, f"ip -d link show {ifname}; ip address show {ifname}")
    for part in ("master weave", "isolated off", "gso_max_size 61440"):
        assert part in outside
    assert "inet6" not in outside
    found = on(host, lambda: attachments("weave"))
    assert [(each.ifname, each.namespace_inode) for each in found] == [
        (ifname, first.inode),
        (host_ifname_of(second), second.inode),
    ]


def test_repeating_is_harmless(lab: OneHost) -> None:
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"], multicast_route=False))
    before = shell(first, "ip -o link show ethwe")
    assert "224.0.0.0" not in shell(first, "ip route")
    assert on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"])) == []
    assert on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24", "10.2.2.1/24"])) == [
        "10.2.2.1/24"
    ]
    assert shell(first, "ip -o link show ethwe") == before
    assert "224.0.0.0/4 dev ethwe" in shell(first, "ip route")
    assert len(on(host, lambda: attachments("weave"))) == 1


def test_detach(lab: OneHost) -> None:
    host, first, _ = lab
    three = ["10.2.1.1/24", "10.2.1.2/24", "fd00::1/64"]
    on(host, lambda: attach("weave", 1376, first, three))
    assert on(host, lambda: detach("weave", first, ["10.2.1.1/24", "10.9.9.9/24"])) == three[:1]
    assert "10.2.1.2" in shell(first, "ip address show ethwe")
    assert on(host, lambda: detach("weave", first, [])) == three[1:]
    assert "ethwe" not in shell(first, "ip link")
    assert on(host, lambda: attachments("weave")) == []
    with pytest.raises(HostError, match="is not attached to bridge weave"):
        on(host, lambda: detach("weave", first, []))


def test_expose_and_hide(lab: OneHost) -> None:
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    both = ["10.2.1.254/24", "fd00::254/64"]
    assert on(host, lambda: expose("weave", both)) == both
    assert on(host, lambda: expose("weave", both)) == []
    assert " 0% packet loss" in shell(first, "ping -c 1 -W 2 10.2.1.254")
    assert on(host, lambda: hide("weave", both[:1])) == both[:1]
    assert on(host, lambda: hide("weave", both[:1])) == []
    assert on(host, lambda: hide("weave", [])) == both[1:]


def test_a_foreign_ethwe_is_left_alone(lab: OneHost) -> None:
    host, first, _ = lab
    shell(first, "ip link add ethwe type bridge")
    with pytest.raises(HostError, match="has an interface ethwe that we did not make"):
        on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    assert re.search(r"ethwe.*", shell(first, "ip -d link show type bridge"))


def test_a_second_bridge_does_not_steal(lab: OneHost) -> None:
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    shell(host, "ip link add weave2 type bridge")
    with pytest.raises(HostError, match="is attached to bridge weave: detach it first"):
        on(host, lambda: attach("weave2", 1376, first, ["10.3.1.1/24"]))
    with pytest.raises(HostError, match="is not attached to bridge weave2"):
        on(host, lambda: detach("weave2", first, []))
    assert len(on(host, lambda: attachments("weave"))) == 1


def test_ipv6_where_the_container_engine_switched_it_off(lab: OneHost) -> None:
    host, first, _ = lab
    shell(first, "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    assert on(host, lambda: attach("weave", 1376, first, ["fd00::1/64"])) == ["fd00::1/64"]


def test_a_failure_inside_undoes_the_pair(lab: OneHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host, first, _ = lab

    def announce(ifname: str, addresses: object) -> None:
        raise refused("cannot speak ARP", 1, capability="CAP_NET_RAW")

    monkeypatch.setattr(conflicts, "announce", announce)
    with pytest.raises(HostError, match="CAP_NET_RAW"):
        on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    assert on(host, lambda: attachments("weave")) == []
    assert "ethwe" not in shell(first, "ip link")
