"""Who can have a frame of their own sealed as ours, or slip it past ESP? Nobody.

Finding F2 of the attack review, on a kernel that has ESP; tests/netns/test_injection_matrix.py has
the other columns, and shows that each attack works where there is no secret.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.esp.test_esp_router import OPTIONS, PATIENCE, wait_sealed, wait_started
from tests.kit.injecting import PLACES, attackers, attacks, delivered, nobody_reaches, tunnel_of
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build


@pytest.fixture(scope="module", params=[4, 6], ids=["IPv4", "IPv6"])
def version(request: pytest.FixtureRequest) -> int:
    """Of IP, in the underlay."""
    return int(request.param)


@pytest.fixture(scope="module")
def pair(version: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    """h1 and h2; h3 is a stranger."""
    at = PLACES[version]
    directory = tmp_path_factory.mktemp("injection")
    with (
        Lab(build("full", 3), ipv6=True) as lab,
        attackers(lab),
        LabMesh(lab, directory) as mesh,
    ):
        for name, address, peers in (("h1", at.h1, []), ("h2", at.h2, [at.h1])):
            host = mesh[name]
            host.options = LaunchOptions(password=OPTIONS.password, extra=("--host", address))
            host.launch(peers)
            wait_started(host, 1)
            mesh.attach_one(host)
        wait_sealed(mesh)
        yield mesh


def arrived(mesh: LabMesh, version: int) -> dict[str, int]:
    """How many frames each attack brings in, if any."""
    tunnel = tunnel_of(mesh.lab, "h2")
    found = {name: delivered(mesh.lab, attack, tunnel) for name, attack in attacks(version).items()}
    return {name: count for name, count in found.items() if count}


def test_nothing_is_sealed_for_others(pair: LabMesh, version: int) -> None:
    assert arrived(pair, version) == {}
    wait_sealed(pair)
    assert ping(pair.lab, "c1", "10.32.0.2", count=3).received == 3


def test_the_hosts_own_processes_still_reach_the_containers(pair: LabMesh) -> None:
    """Their frames' sockets are those of users, and VXLAN packets keep them."""
    pair["h1"].cli("expose", "10.32.0.101/24", timeout=PATIENCE)
    assert nobody_reaches(pair.lab, "h1", "10.32.0.2")


def test_dead_routers_leave_nobody_in(pair: LabMesh, version: int) -> None:
    for name in ("h1", "h2"):
        pair[name].kill()
    assert arrived(pair, version) == {}
    assert ping(pair.lab, "c1", "10.32.0.2", count=3).received == 3, "the kernels go on"
