"""Does `reset --force` leave alone what others plugged, wherever they did?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.one_host import OneHost, on, one_host, shell
from weave_py.workloads.attach import attach, host_ifname_of

pytestmark = pytest.mark.netns


@pytest.fixture
def lab() -> Iterator[OneHost]:
    with one_host() as made:
        shell(made[0], "ip link set lo up")  # where a router is looked for
        yield made


def reset(host: OneHost, bridge: str, state: Path) -> str:
    command = f"{sys.executable} -m weave_py reset --force --bridge {bridge} --state-dir {state}"
    return shell(host[0], command)


def plug_original(lab: OneHost, bridge: str) -> None:
    """As the original Weave Net does, with the container's process id in the name."""
    host, _, second = lab
    shell(
        host,
        f"ip link add vethwepl4242 type veth peer name ethwe netns {second.target}; "
        f"ip link set vethwepl4242 master {bridge} up",
    )


def test_a_foreign_bridge_keeps_its_ports(lab: OneHost, tmp_path: Path) -> None:
    """F15"""
    host, first, _ = lab
    shell(host, "ip link add theirs type bridge; ip link set theirs up")
    shell(host, "ip link add wvtest type veth peer name far0; ip link set wvtest master theirs")
    plug_original(lab, "theirs")
    assert reset(lab, "theirs", tmp_path / "none") == "there was nothing to delete\n"
    assert "master theirs" in shell(host, "ip link show vethwepl4242")
    assert "master theirs" in shell(host, "ip link show wvtest")

    on(host, lambda: attach("theirs", 1376, first, ["10.2.1.1/24"]))
    assert reset(lab, "theirs", tmp_path / "none") == "deleted 1 attachment to bridge theirs\n"
    assert host_ifname_of(first) not in shell(host, "ip link")
    assert "master theirs" in shell(host, "ip link show vethwepl4242")


def test_our_bridge_goes_with_what_we_plugged(lab: OneHost, tmp_path: Path) -> None:
    """F15: and a foreign port is only left without a bridge."""
    host, first, _ = lab
    plug_original(lab, "weave")
    on(host, lambda: attach("weave", 1376, first, ["10.2.1.1/24"]))
    assert reset(lab, "weave", tmp_path / "none") == "deleted bridge weave\n"
    left = shell(host, "ip -o link")
    assert "vethwepl4242" in left
    assert "weave" not in left.replace("vethwepl4242", "")
    assert host_ifname_of(first) not in left
    assert "ethwe" not in shell(first, "ip link")
