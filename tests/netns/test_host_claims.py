"""Do IPv6 addresses have one owner, and is a new owner heard of, as with IPv4?"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.kit.one_host import OneHost, mac_of, on, one_host, shell
from weave_py.model.errors import HostError
from weave_py.workloads.attach import attach, attachments, detach, expose, hide
from weave_py.workloads.conflicts import find_conflict
from weave_py.workloads.netns import run_inside

pytestmark = pytest.mark.netns


@pytest.fixture
def lab() -> Iterator[OneHost]:
    with one_host() as made:
        yield made


@pytest.mark.parametrize(
    ("taken", "free", "wide"),
    [
        ("10.2.1.1/24", "10.2.1.9/24", "10.2.1.1/16"),
        ("fd44::1/64", "fd44::9/64", "fd44::1/48"),
    ],
)
def test_an_address_in_use_is_refused(lab: OneHost, taken: str, free: str, wide: str) -> None:
    """t15: two containers, then a container and the host, want one IPv6 address."""
    host, first, second = lab
    on(host, lambda: attach("weave", 1376, first, [taken]))
    address = taken.partition("/")[0]
    refusal = (
        rf"^{address} is already in use on this network \(by MAC {mac_of(first)}\): "
        r"choose another address$"
    )
    with pytest.raises(HostError, match=refusal):
        on(host, lambda: attach("weave", 1376, second, [free, taken]))
    assert "ethwe" not in shell(second, "ip link")
    assert len(on(host, lambda: attachments("weave"))) == 1
    with pytest.raises(HostError, match=refusal):
        on(host, lambda: expose("weave", [free, wide]))
    assert on(host, lambda: hide("weave", [])) == []
    assert on(host, lambda: attach("weave", 1376, first, [taken])) == []  # its own: no conflict

    other = free.replace("9/", "2/")
    on(host, lambda: attach("weave", 1376, second, [other]))
    with pytest.raises(HostError, match="already in use"):
        on(host, lambda: attach("weave", 1376, second, [free, taken]))
    shown = shell(second, "ip address show ethwe")  # what was there before is kept
    assert other in shown
    assert free not in shown


@pytest.mark.parametrize("wanted", ["10.2.1.1", "fd44::1"])
def test_two_who_want_the_same_address_at_once(lab: OneHost, wanted: str) -> None:
    host, first, second = lab
    for namespace in (first, second):
        on(host, lambda to=namespace: attach("weave", 1376, to, []))  # type: ignore[misc]
    claims = []

    def probe() -> None:
        claims.append(find_conflict("ethwe", [ip_address(wanted)]))

    threads = [threading.Thread(target=run_inside, args=(each, probe)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(claim is not None for claim in claims)


def test_traffic_does_not_hide_the_answer(lab: OneHost) -> None:
    """t15: a flood of IPv6 into the interface pushes no answer out of the socket."""
    host, first, second = lab
    on(host, lambda: attach("weave", 1376, first, ["fd44::1/64"]))
    on(host, lambda: attach("weave", 1376, second, ["fd44::2/64"]))

    def flood() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            for _ in range(20_000):
                sock.sendto(bytes(1200), ("fd44::2", 9))

    flooding = threading.Thread(target=run_inside, args=(first, flood))
    flooding.start()
    try:
        with pytest.raises(HostError, match="fd44::1 is already in use"):
            on(host, lambda: attach("weave", 1376, second, ["fd44::1/64"]))
    finally:
        flooding.join()


@pytest.mark.parametrize("taken", ["10.2.1.1/24", "fd44::1/64"])
def test_an_exposed_address_is_refused_to_a_container(lab: OneHost, taken: str) -> None:
    """t15, the other way round: the bridge itself answers."""
    host, first, _ = lab
    on(host, lambda: expose("weave", [taken]))
    with pytest.raises(HostError, match=f"in use.*{mac_of(host, 'weave')}"):
        on(host, lambda: attach("weave", 1376, first, [taken]))


def test_an_address_is_free_again_where_ipv6_was_switched_off(lab: OneHost) -> None:
    """t15: a container without IPv6 can still ask, and one without the address does not answer."""
    host, first, second = lab
    shell(second, "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
    on(host, lambda: attach("weave", 1376, first, ["fd44::1/64"]))
    with pytest.raises(HostError, match="fd44::1 is already in use"):
        on(host, lambda: attach("weave", 1376, second, ["fd44::1/64"]))
    on(host, lambda: detach("weave", first, []))
    assert on(host, lambda: attach("weave", 1376, second, ["fd44::1/64"])) == ["fd44::1/64"]


@pytest.mark.parametrize(
    ("moving", "staying", "exposed"),
    [
        ("10.2.1.1/24", "10.2.1.2/24", "10.2.1.254/24"),
        ("fd44::1/64", "fd44::2/64", "fd44::fe/64"),
    ],
)
def test_neighbours_hear_of_a_move(lab: OneHost, moving: str, staying: str, exposed: str) -> None:
    """t14: between containers, and (the last lines) to the host."""
    host, first, second = lab
    address = moving.partition("/")[0]
    on(host, lambda: attach("weave", 1376, first, [moving]))
    # Attached all the time: a bridge that loses its last port forgets its neighbours.
    on(host, lambda: attach("weave", 1376, second, [staying]))
    on(host, lambda: expose("weave", [exposed]))
    assert " 0% packet loss" in shell(host, f"ping -c 1 -W 2 {address}")
    assert mac_of(first) in shell(host, f"ip neigh show {address}")
    on(host, lambda: detach("weave", first, [moving]))
    on(host, lambda: attach("weave", 1376, second, [moving]))
    assert mac_of(second) in shell(host, f"ip neigh show {address}")

    on(host, lambda: detach("weave", second, [moving]))
    on(host, lambda: attach("weave", 1376, first, [staying.replace("2/", "3/")]))
    shell(first, f"ip neigh replace {address} lladdr {mac_of(second)} dev ethwe nud stale")
    on(host, lambda: expose("weave", [moving]))
    assert mac_of(host, "weave") in shell(first, f"ip neigh show {address}")


def test_neighbours_are_looked_for_again_soon(lab: OneHost) -> None:
    """t14: where the announcement got lost; IPv6 as IPv4, host as container."""
    host, first, _ = lab
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24", "fd44::1/64"]))
    on(host, lambda: expose("weave", ["10.2.1.2/24"]))
    for namespace, ifname in ((first, "ethwe"), (host, "weave")):
        for family in ("ipv4", "ipv6"):
            settings = f"/proc/sys/net/{family}/neigh/{ifname}"
            names = ("base_reachable_time_ms", "delay_first_probe_time", "ucast_solicit")
            shown = shell(namespace, "; ".join(f"cat {settings}/{name}" for name in names))
            assert shown.split() == ["5000", "2", "1"]
