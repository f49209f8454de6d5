"""Does every container reach every other, and every broadcast each of them once, whatever the way?

h1 ══ h3, h1 ══ h4        fast
h3 ── (h1) ── h4          nothing passes between the two but by h1, the relay
h2                        behind a NAT: the sleeve, straight
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest

from tests.kit.fast_hosts import Stream
from tests.kit.routers import bring_up, events, wait_path
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.internet import PUBLIC, PUBLIC_ADDRESS, Internet
from weave_py.lab.mesh import LabMesh
from weave_py.lab.nats import Kind
from weave_py.lab.pings import all_pairs, ping_pairs
from weave_py.model.fast import VXLAN_PORT

FAST = (("h1", "h3"), ("h1", "h4"))
KINDS = {
    **dict.fromkeys(FAST, "fastdp"),
    ("h1", "h2"): "direct",
    ("h2", "h3"): "direct",
    ("h2", "h4"): "direct",
    ("h3", "h4"): "relay",
}
BROADCASTS = 1000
PAUSE = 0.007
GATEWAY = "g2"
VXLAN = f"udp dport {VXLAN_PORT}"
APART = 'iifname "in*" oifname "in*" drop'
# In which all that is small passes, so that nothing is lost when a path is left.
FULL_SIZED = f"{VXLAN} meta length > 1300 drop"
BLOCK = f"{VXLAN} drop"
FAILOVER = 1.0


class Mixed(Internet):
    """The internet, with a gateway that can be told to misbehave."""

    def __init__(self) -> None:
        super().__init__([(Kind.PORT_RESTRICTED, 1), (Kind.OPEN, 2)])

    def rule(self, *rules: str) -> None:
        lines = "\n".join((APART, *rules))
        text = f"""\
table inet faults
delete table inet faults
table inet faults {{
  chain forward {{
    type filter hook forward priority 10; policy accept;
    {lines}
  }}
}}
"""
        self.exec(GATEWAY, ["nft", "-f", "-"], stdin=text)


@pytest.fixture(scope="module")
def lab() -> Iterator[Mixed]:
    with Mixed() as found:
        found.rule()
        yield found


@pytest.fixture(scope="module")
def mesh(lab: Mixed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    with LabMesh(lab, tmp_path_factory.mktemp("mixed"), LaunchOptions()) as found:
        for name in lab.topology.hosts:
            found[name].launch([] if name == PUBLIC else [PUBLIC_ADDRESS])
        bring_up(found)
        settle(found)
        yield found


def settle(mesh: LabMesh) -> None:
    for (one, other), kind in KINDS.items():
        for host, peer in ((one, other), (other, one)):
            wait_path(mesh[host], peer, kind, 20)


def test_every_container_reaches_every_other(mesh: LabMesh) -> None:
    results = ping_pairs(mesh.lab, mesh.addresses, count=5)
    assert set(results) == set(all_pairs(mesh.addresses))
    for pair, result in results.items():
        assert (result.received, result.duplicates) == (5, 0), pair
    shown = mesh["h1"].cli("status", "connections").stdout
    assert "fastdp" in shown
    assert "sleeve" in shown


def broadcasting(mesh: LabMesh, count: int, disturb: list[str], every: float) -> dict[str, Stream]:
    """So many broadcasts from each container, while one rule after the other is in force."""
    lab = mesh.lab
    assert isinstance(lab, Mixed)
    hosts = list(lab.topology.hosts)
    streams = {
        name: Stream(lab, name, [h for h in hosts if h != name], "10.32.0.255", 5000 + i, PAUSE)
        for i, name in enumerate(hosts)
    }

    def faults() -> None:
        for rule in disturb:
            time.sleep(every)
            lab.rule(*filter(None, [rule]))
        lab.rule()

    thread = threading.Thread(target=faults)
    with ExitStack() as stack:
        thread.start()
        for stream in streams.values():
            stack.enter_context(stream)
        while min(stream.sent for stream in streams.values()) < count:
            time.sleep(0.05)
        thread.join()
    return streams


def flips(mesh: LabMesh) -> Counter[str]:
    return Counter(
        word
        for host in mesh.hosts.values()
        for event in events(host, "fast path ")
        for word in ("degraded", "fast ")
        if event.text.startswith(f"fast path {word}")
    )


def test_broadcasts_arrive_exactly_once_while_links_flip(mesh: LabMesh) -> None:
    settle(mesh)
    before = flips(mesh)
    # One way, then the other way and another link: what comes from h3, what goes to h4.
    rules = [
        f'iifname "in1" {FULL_SIZED}',
        "",
        f'oifname "in2" {FULL_SIZED}',
        "",
        f'oifname "in1" {FULL_SIZED}',
    ]
    streams = broadcasting(mesh, BROADCASTS, rules, every=1.5)
    happened = flips(mesh) - before
    sent = {name: stream.sent for name, stream in streams.items()}
    print(f"{sent} broadcasts, paths left and taken: {dict(happened)}")
    for name, stream in streams.items():
        assert stream.sent >= BROADCASTS
        assert set(stream.outcome().values()) == {(0, 0)}, (name, stream.outcome())
    assert happened["degraded"] >= 4
    assert happened["fast "] >= 2
    settle(mesh)


def test_nothing_arrives_twice_and_little_is_lost_where_links_break(mesh: LabMesh) -> None:
    """What was on its way into the hole is lost, for as long as it takes to notice."""
    settle(mesh)
    before = flips(mesh)
    rules = [f'iifname "in1" {BLOCK}', f'oifname "in2" {BLOCK}', ""]
    streams = broadcasting(mesh, BROADCASTS // 2, rules, every=1.0)
    print(f"paths left and taken: {dict(flips(mesh) - before)}")
    for name, stream in streams.items():
        for target, arrived in stream.arrived.items():
            doubled = arrived.total() - len(arrived)
            numbers = sorted(arrived)
            hole = max((b - a - 1 for a, b in pairwise(numbers)), default=0) * PAUSE
            lost = stream.sent - len(arrived)
            if lost:
                print(f"{name} → {target}: {lost} lost, longest hole {hole:.2f} s")
            assert doubled == 0, (name, target)
            assert hole <= FAILOVER, (name, target)
    happened = flips(mesh) - before
    assert happened["degraded"] >= 4
    settle(mesh)
    wait_path(mesh["h3"], "h4", "relay")
