"""Who can slip a frame into the inner network by plain VXLAN? With a secret: nobody.

Findings F2 (a process or container of a member's host), F3 (devices that an open network left),
F11 (`nft flush ruleset`) of the attack review, by IPv4 and, between members whose underlay is IPv6,
by IPv6. For ESP: tests/esp/test_esp_injection.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from fastdp.kernel.xfrm import kernel_has_esp
from tests.kit.injecting import (
    PLACES,
    TRUSTED,
    attackers,
    attacks,
    delivered,
    nobody_reaches,
    tunnel_of,
)
from tests.kit.inside import inside
from tests.kit.routers import BRIDGE, devices, events, wait_path
from tests.kit.waiting import until
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

SECRET = "nobody else speaks here"
IN_CLEAR = LaunchOptions(password=SECRET, extra=("--trusted-subnets", TRUSTED))
SEALED = LaunchOptions(password=SECRET)
OPEN = LaunchOptions()
RESTORED_SECONDS = 2.0
LOOK_AT_NFT = ["nft", "list", "table", "inet", f"weave-py-{BRIDGE}"]


class Pair:
    """h1 and h2, members, whose kernels carry their frames."""

    def __init__(self, lab: Lab, directory: Path, options: LaunchOptions, version: int = 4) -> None:
        """`version`: of IP, of the underlay."""
        self.lab = lab
        self.version = version
        self.mesh = LabMesh(lab, directory)
        self.launch(options)
        for name in ("h1", "h2"):
            self.mesh.attach_one(self.mesh[name])
        self.wait("fastdp")
        self.tunnel = tunnel_of(lab, "h2")

    def launch(self, options: LaunchOptions) -> None:
        at = PLACES[self.version]
        for name, address, peers in (("h1", at.h1, []), ("h2", at.h2, [at.h1])):
            here = (*options.extra, "--host", address)
            self.mesh[name].options = replace(options, extra=here)
            self.mesh[name].launch(peers)
        for name in ("h1", "h2"):
            self.mesh[name].wait_ready()

    def wait(self, kind: str) -> None:
        for host, peer in (("h1", "h2"), ("h2", "h1")):
            wait_path(self.mesh[host], peer, kind, 20)

    def kill(self) -> None:
        for name in ("h1", "h2"):
            self.mesh[name].kill()

    def matrix(self) -> dict[str, int]:
        """How many frames each attack brings in."""
        return {
            name: delivered(self.lab, attack, self.tunnel)
            for name, attack in attacks(self.version).items()
        }

    def carried(self, host: str) -> set[str]:
        """The VXLAN devices of a router."""
        return {name for name in devices(self.lab, host) if name.startswith("wvx")}

    def ping(self, source: str) -> bool:
        argv = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "10.32.0.2"]
        return " 0% packet loss" in self.lab.exec(source, argv, check=False).stdout


def pair_of(stack: ExitStack, directory: Path, options: LaunchOptions, version: int = 4) -> Pair:
    lab = stack.enter_context(Lab(build("full", 3), ipv6=True))
    stack.enter_context(attackers(lab))
    pair = Pair(lab, directory, options, version)
    stack.callback(pair.mesh.stop)
    return pair


by_both = pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module", params=[4, 6], ids=["IPv4", "IPv6"])
def trusted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield pair_of(stack, tmp_path_factory.mktemp("trusted"), IN_CLEAR, request.param)


def nothing(matrix: dict[str, int]) -> None:
    print(matrix)
    assert {name: count for name, count in matrix.items() if count} == {}


@by_both
def test_without_a_secret_each_attack_works(tmp_path: Path, version: int) -> None:
    """Anybody may join an open network; and the zeros below would prove nothing otherwise."""
    with ExitStack() as stack:
        found = pair_of(stack, tmp_path, OPEN, version).matrix()
        print(found)
        assert all(found.values()), found


def test_nobody_speaks_between_trusted_subnets(trusted: Pair) -> None:
    nothing(trusted.matrix())
    trusted.wait("fastdp")
    assert trusted.ping("c1")


def test_the_hosts_own_processes_still_reach_the_containers(trusted: Pair) -> None:
    """Their frames' sockets are those of users, and VXLAN packets keep them."""
    trusted.mesh["h1"].cli("expose", "10.32.0.101/24")
    assert trusted.ping("h1")
    assert nobody_reaches(trusted.lab, "h1", "10.32.0.2")


def test_so_they_do_by_other_programs_vxlan(trusted: Pair) -> None:
    """On the same UDP port, to the same host."""
    lab = trusted.lab
    at = PLACES[trusted.version]
    # (Devices of one port have to agree about checksums.)
    checksums = "udp6zerocsumrx" if trusted.version == 6 else "noudp6zerocsumrx"
    for host, local, remote in ((1, at.h1, at.h2), (2, at.h2, at.h1)):
        for line in (
            f"link add theirs type vxlan id 4096 dstport 4789 local {local} remote {remote} "
            f"{checksums}",
            f"addr add 10.32.9.{host}/24 dev theirs",
            "link set theirs up",
        ):
            lab.exec(f"h{host}", ["ip", *line.split()])
    assert nobody_reaches(lab, "h1", "10.32.9.2", "h2")
    for name in ("h1", "h2"):
        lab.exec(name, ["ip", "link", "del", "theirs"])


@pytest.mark.parametrize(
    "what", [["flush", "ruleset"], ["delete", "table", "inet", "weave-py-weave"]]
)
def test_rules_that_somebody_takes_away_are_back_at_once(trusted: Pair, what: list[str]) -> None:
    # After somebody else's device came (above), the routers may still be changing ports, and a
    # change writes the rules anew without a word.
    trusted.wait("fastdp")
    trusted.tunnel = tunnel_of(trusted.lab, "h2")
    started = time.monotonic()
    trusted.lab.exec("h2", ["nft", *what])
    until(
        lambda: trusted.lab.exec("h2", LOOK_AT_NFT, check=False).returncode == 0,
        RESTORED_SECONDS,
        "the rules are back",
    )
    print(f"back after {time.monotonic() - started:.2f} s")
    # (What hid h2's container behind its address is gone with them, as in life.)
    nothing(trusted.matrix())
    assert events(trusted.mesh["h2"], "they are back")


def test_where_they_cannot_be_brought_back_there_is_no_fast_path(trusted: Pair) -> None:
    """Another program owns a table of that name, which the kernel lets nobody else touch."""
    trusted.wait("fastdp")
    table = f"table inet weave-py-{BRIDGE}"
    owner = subprocess.Popen(
        trusted.lab.enter("h2", ["nft", "-i"]), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with owner:
        assert owner.stdin is not None
        owner.stdin.write(f"delete {table}; add {table} {{ flags owner; }}\n".encode())
        owner.stdin.flush()
        until(lambda: not trusted.carried("h2"), RESTORED_SECONDS, "no VXLAN devices")
        nothing(trusted.matrix())
        trusted.wait("direct")
        assert trusted.ping("c1"), "by the sleeve"
        (said,) = events(trusted.mesh["h2"], "no fast paths until")
        print(said.level, said.text)
    trusted.wait("fastdp")
    trusted.tunnel = tunnel_of(trusted.lab, "h2")
    nothing(trusted.matrix())


def test_dead_routers_leave_nobody_in(trusted: Pair) -> None:
    trusted.tunnel = tunnel_of(trusted.lab, "h2")
    trusted.kill()
    nothing(trusted.matrix())
    assert trusted.ping("c1"), "the kernels go on"


@by_both
def test_what_an_open_network_left_takes_nothing_once_there_is_a_secret(
    tmp_path: Path, version: int
) -> None:
    """F3: its routers were killed; the new ones may not use VXLAN, or only between some hosts."""
    with ExitStack() as stack:
        pair = pair_of(stack, tmp_path, OPEN, version)
        pair.kill()
        pair.launch(SEALED)
        if inside(pair.lab, "h2", kernel_has_esp):
            pytest.skip("this kernel has ESP: it may use VXLAN")
        nothing(pair.matrix())
        assert not pair.carried("h2")
        pair.wait("direct")
        pair.kill()
        pair.launch(OPEN)
        pair.wait("fastdp")
        pair.tunnel = tunnel_of(pair.lab, "h2")
        assert all(pair.matrix().values())
        pair.kill()
        pair.launch(IN_CLEAR)
        nothing(pair.matrix())
        pair.wait("fastdp")
        nothing(pair.matrix())
