"""Where the kernel cannot, or may not, carry frames: is that said in words, and does the sleeve?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from fastdp.kernel.devices import Kernel
from fastdp.kernel.selftest import PORTS
from fastdp.kernel.xfrm import kernel_has_esp
from fastdp.plan.operations import AddVxlan, VniTaken
from tests.kit.fast_hosts import real_hosts
from tests.kit.inside import inside, udp_socket
from tests.kit.routers import bring_up, devices, events, paths, started, wait_path
from tests.kit.waiting import until
from tests.netns.conftest import MakeLab
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

WITHOUT_NET_RAW = ("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw")
EVERYBODY = (sys.executable, "-m", "weave_py")
# Each host's trouble, its reason code, and what its log says.
TROUBLES = {
    "h2": ("no-vxlan", "this kernel has no VXLAN"),
    "h3": ("port-taken", "other programs have all the UDP ports"),
    "h4": ("no-privileges", "CAP_NET_RAW"),
    "h6": ("disabled", None),
}
ELSEWHERE = "h5"
"""Has only port 4789 taken: its VXLAN devices listen elsewhere."""


class Troubled(Host):
    """Launched by other words, or in another environment."""

    def _launch_words(self, peers: Sequence[str]) -> list[str]:
        words = super()._launch_words(peers)
        if self.name == "h2":
            words[: len(EVERYBODY)] = [sys.executable, "-m", "tests.kit.without_vxlan"]
        if self.name == "h4":
            words[:0] = WITHOUT_NET_RAW
        if self.name == "h6":
            words[:0] = ["env", "WEAVE_NO_FASTDP=1"]
        return words


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    directory = tmp_path_factory.mktemp("troubles")
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(build("full", 6)))
        for host, ports in (("h3", PORTS), (ELSEWHERE, PORTS[:1])):
            for port in ports:
                stack.enter_context(udp_socket(lab, host, "", port))
        found = stack.enter_context(LabMesh(lab, directory))
        found.hosts = {name: Troubled(lab, name, directory) for name in lab.topology.hosts}
        found.launch()
        bring_up(found)
        yield found


@pytest.mark.parametrize("name", TROUBLES)
def test_the_sleeve_works_and_says_why_it_is_not_better(mesh: LabMesh, name: str) -> None:
    """Every container reaches every other: `bring_up` has seen it."""
    code, words = TROUBLES[name]
    wait_path(mesh[name], "h1", "direct")
    until(lambda: paths(mesh[name])["h1"]["Why"] == code, 5, f"{name} says {code}")
    until(lambda: paths(mesh["h1"])[name]["Why"] == f"peer-{code}", 5, f"h1 says peer-{code}")
    assert not any(device.startswith("wvx") for device in devices(mesh.lab, name))
    said = events(mesh[name], "no fast datapath: all takes the sleeve")
    if words is None:
        assert said == []
        return
    (event,) = said
    print(event.level, event.text)
    assert words in event.text
    assert event.level == "WARNING"


def test_another_port_is_as_good(mesh: LabMesh) -> None:
    for host, peer in ((ELSEWHERE, "h1"), ("h1", ELSEWHERE)):
        wait_path(mesh[host], peer, "fastdp")
    (event,) = events(mesh[ELSEWHERE], "router started")
    print(event.text)
    assert f"vxlan_port={PORTS[1]}" in event.text
    (event,) = events(mesh["h1"], "router started")
    assert "vxlan_port=4789" in event.text


def test_a_vni_of_somebody_elses_device_is_told_apart(make_lab: MakeLab) -> None:
    lab = make_lab("full", 2)
    add = ["ip", "link", "add", "theirs", "type", "vxlan", "id", "7000"]
    lab.exec("h1", [*add, "dstport", "4789", "local", "10.99.1.1"])
    lab.exec("h1", ["ip", "link", "set", "theirs", "up"])
    with real_hosts(lab) as hosts:
        host = hosts["h1"]
        (peer,) = host.observe().taps

        def make(kernel: Kernel) -> None:
            mac = "02:00:00:00:00:01"
            kernel.apply(AddVxlan(peer, 7000, 4789, False, "10.99.1.1", mac, 1376))

        with pytest.raises(VniTaken, match="another device has VNI 7000 on UDP port 4789"):
            host.kernel(make)
        assert host.observe().vxlans == {}


def test_without_esp_a_secret_keeps_the_pair_on_the_sleeve(tmp_path: Path) -> None:
    options = LaunchOptions(password="no kernel may see this in clear")
    with started("full", 2, tmp_path, options) as mesh:
        if inside(mesh.lab, "h1", kernel_has_esp):
            pytest.skip("this kernel has ESP")
        for host, peer in (("h1", "h2"), ("h2", "h1")):
            wait_path(mesh[host], peer, "direct")
            assert paths(mesh[host])[peer]["Why"] == "no-kernel-esp"
            assert paths(mesh[host])[peer]["Kind"] == "direct"
            assert paths(mesh[host])[peer]["Cipher"] not in ("", "none")
            assert not any(name.startswith("wvx") for name in devices(mesh.lab, host))
        assert "no-kernel-esp" in mesh["h1"].cli("status", "paths").stdout
        (event,) = events(mesh["h1"], "this kernel has no ESP")
        print(event.level, event.text)


def test_only_peers_in_trusted_subnets_are_exempt(tmp_path: Path) -> None:
    """h1 and h2 share a trusted wire; h2 and h3 one that is not."""
    trusted = ("--trusted-subnets", "10.99.1.0/24")
    options = LaunchOptions(password="some wires are ours", extra=trusted)
    with started("chain", 3, tmp_path, options) as mesh:
        if inside(mesh.lab, "h1", kernel_has_esp):
            pytest.skip("this kernel has ESP: the other pair is fast, too")
        for host, peer in (("h1", "h2"), ("h2", "h1")):
            wait_path(mesh[host], peer, "fastdp")
        for host, peer in (("h2", "h3"), ("h3", "h2")):
            wait_path(mesh[host], peer, "direct")
            assert paths(mesh[host])[peer]["Why"] == "no-kernel-esp"
        rules = mesh.lab.exec("h3", ["nft", "list", "ruleset"]).stdout
        assert "ip saddr 10.99.1.0/24 accept" in rules, "h3's kernel takes VXLAN from nobody else"
