"""Do attached namespaces talk as if plugged into one switch, and does nothing stay behind?"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

import pytest

from weave_py.host.netlink import Netlink
from weave_py.host.refusal import refused
from weave_py.model.errors import HostError
from weave_py.workloads import arp
from weave_py.workloads.arp import find_conflict, ipv4_of
from weave_py.workloads.attach import attach, attachments, detach, expose, hide, host_ifname_of
from weave_py.workloads.netns import Namespace, own_namespace, resolve_namespace, run_inside

pytestmark = pytest.mark.netns

Result = TypeVar("Result")
_numbers = count()


def new_namespace() -> Namespace:
    name = f"wpha-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    return resolve_namespace(name)


@pytest.fixture
def lab() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """A host with a bridge, and two containers."""
    made: list[Namespace] = []
    try:
        for _ in range(3):
            made.append(new_namespace())
        run_inside(made[0], make_bridge)
        yield made[0], made[1], made[2]
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "delete", namespace.target], check=True)


Lab = tuple[Namespace, Namespace, Namespace]


def make_bridge() -> None:
    with Netlink() as netlink:
        netlink.ensure_bridge("weave", "8a:3e:00:00:00:01", 1376)


def shell(namespace: Namespace, command: str) -> str:
    def inside() -> str:
        done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    return run_inside(namespace, inside)


def on(host: Namespace, work: Callable[[], Result]) -> Result:
    return run_inside(host, work)


def test_run_inside_leaves_the_caller_alone(lab: Lab) -> None:
    host, first, _ = lab
    before, threads = own_namespace().identity, threading.active_count()
    assert run_inside(first, lambda: own_namespace().identity) == first.identity
    assert run_inside(host, lambda: run_inside(first, own_namespace)).identity == first.identity
    assert own_namespace().identity == before
    with pytest.raises(ZeroDivisionError):
        run_inside(first, lambda: 1 // 0)
    assert threading.active_count() == threads


def test_containers_talk(lab: Lab) -> None:
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


def test_repeating_is_harmless(lab: Lab) -> None:
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


def test_an_address_in_use_is_refused_and_nothing_stays(lab: Lab) -> None:
    host, first, second = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    mac = shell(first, "ip -o link show ethwe").partition("link/ether ")[2][:17]
    refusal = rf"^10.2.1.1 is already in use on this network \(by MAC {mac}\): choose another"
    with pytest.raises(HostError, match=refusal):
        on(host, lambda: attach("weave", 1376, second, ["10.2.1.9/24", "10.2.1.1/24"]))
    assert "ethwe" not in shell(second, "ip link")
    assert len(on(host, lambda: attachments("weave"))) == 1
    with pytest.raises(HostError, match=refusal):
        on(host, lambda: expose("weave", ["10.2.1.1/16"]))
    assert on(host, lambda: hide("weave", [])) == []

    on(host, lambda: attach("weave", 1376, second, ["10.2.1.2/24"]))
    with pytest.raises(HostError, match="already in use"):
        on(host, lambda: attach("weave", 1376, second, ["10.2.1.3/24", "10.2.1.1/24"]))
    shown = shell(second, "ip address show ethwe")  # what was there before is kept
    assert "10.2.1.2" in shown
    assert "10.2.1.3" not in shown


def test_two_who_want_the_same_address_at_once(lab: Lab) -> None:
    host, first, second = lab
    for namespace in (first, second):
        on(host, lambda to=namespace: attach("weave", 1376, to, []))  # type: ignore[misc]
    claims = []

    def probe() -> None:
        claims.append(find_conflict("ethwe", ipv4_of(["10.2.1.1/24"])))

    threads = [threading.Thread(target=run_inside, args=(each, probe)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(claim is not None for claim in claims)


def test_neighbours_hear_of_a_move(lab: Lab) -> None:
    host, first, second = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    # Attached all the time: a bridge that loses its last port forgets its neighbours.
    on(host, lambda: attach("weave", 1376, second, ["10.2.1.2/24"]))
    on(host, lambda: expose("weave", ["10.2.1.254/24"]))
    assert " 0% packet loss" in shell(host, "ping -c 1 -W 2 10.2.1.1")
    mac = shell(second, "ip -o link show ethwe").partition("link/ether ")[2][:17]
    assert mac not in shell(host, "ip neigh show 10.2.1.1")
    on(host, lambda: detach("weave", first, ["10.2.1.1/24"]))
    on(host, lambda: attach("weave", 1376, second, ["10.2.1.1/24"]))
    assert mac in shell(host, "ip neigh show 10.2.1.1")


def test_detach(lab: Lab) -> None:
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


def test_expose_and_hide(lab: Lab) -> None:
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    both = ["10.2.1.254/24", "fd00::254/64"]
    assert on(host, lambda: expose("weave", both)) == both
    assert on(host, lambda: expose("weave", both)) == []
    assert " 0% packet loss" in shell(first, "ping -c 1 -W 2 10.2.1.254")
    assert on(host, lambda: hide("weave", both[:1])) == both[:1]
    assert on(host, lambda: hide("weave", both[:1])) == []
    assert on(host, lambda: hide("weave", [])) == both[1:]


def test_a_foreign_ethwe_is_left_alone(lab: Lab) -> None:
    host, first, _ = lab
    shell(first, "ip link add ethwe type bridge")
    with pytest.raises(HostError, match="has an interface ethwe that we did not make"):
        on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    assert re.search(r"ethwe.*", shell(first, "ip -d link show type bridge"))


def test_a_second_bridge_does_not_steal(lab: Lab) -> None:
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    shell(host, "ip link add weave2 type bridge")
    with pytest.raises(HostError, match="is attached to bridge weave: detach it first"):
        on(host, lambda: attach("weave2", 1376, first, ["10.3.1.1/24"]))
    with pytest.raises(HostError, match="is not attached to bridge weave2"):
        on(host, lambda: detach("weave2", first, []))
    assert len(on(host, lambda: attachments("weave"))) == 1


def test_ipv6_where_the_container_engine_switched_it_off(lab: Lab) -> None:
    host, first, _ = lab
    shell(first, "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    assert on(host, lambda: attach("weave", 1376, first, ["fd00::1/64"])) == ["fd00::1/64"]


def test_a_failure_inside_undoes_the_pair(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    host, first, _ = lab

    def announce(ifname: str, addresses: object) -> None:
        raise refused("cannot speak ARP", 1, capability="CAP_NET_RAW")

    monkeypatch.setattr(arp, "announce", announce)
    with pytest.raises(HostError, match="CAP_NET_RAW"):
        on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    assert on(host, lambda: attachments("weave")) == []
    assert "ethwe" not in shell(first, "ip link")
