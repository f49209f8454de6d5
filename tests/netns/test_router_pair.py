"""Do two hosts become one Ethernet, and do `attach`, `detach`, `expose`, `hide` plug into it?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.routers import devices, established, started, the_line
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.pings import ping


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMesh]:
    options = LaunchOptions(password="two hosts are a network")
    with started("full", 2, tmp_path_factory.mktemp("pair"), options) as mesh:
        yield mesh


def addresses_in(mesh: LabMesh, name: str, device: str) -> list[str]:
    shown = mesh.lab.exec(name, ["ip", "-o", "-4", "addr", "show", "dev", device]).stdout
    return [line.split()[3] for line in shown.splitlines()]


def test_containers_of_two_hosts_ping_each_other(pair: LabMesh) -> None:
    for source, address in (("c1", "10.32.0.2"), ("c2", "10.32.0.1")):
        result = ping(pair.lab, source, address, count=10, options=["-i", "0.05"])
        assert (result.received, result.duplicates) == (10, 0)
    assert established(pair["h1"]) == ["h2"]
    assert established(pair["h2"]) == ["h1"]
    assert "direct" in pair["h1"].cli("status", "paths").stdout


def test_attaching_again_changes_nothing(pair: LabMesh) -> None:
    before = devices(pair.lab, "h1")
    for _ in range(2):
        done = pair["h1"].cli("attach", "10.32.0.1/24", str(pair.lab.path("c1")))
        assert done.stdout == "10.32.0.1\n"
    assert devices(pair.lab, "h1") == before
    assert addresses_in(pair, "c1", "ethwe") == ["10.32.0.1/24"]
    assert ping(pair.lab, "c2", "10.32.0.1", count=3).received == 3


def test_a_second_address_comes_and_goes(pair: LabMesh) -> None:
    pair["h1"].cli("attach", "10.32.0.51/24", str(pair.lab.path("c1")))
    assert addresses_in(pair, "c1", "ethwe") == ["10.32.0.1/24", "10.32.0.51/24"]
    assert ping(pair.lab, "c2", "10.32.0.51").reached
    pair["h1"].cli("detach", "10.32.0.51/24", str(pair.lab.path("c1")))
    assert addresses_in(pair, "c1", "ethwe") == ["10.32.0.1/24"]
    assert not ping(pair.lab, "c2", "10.32.0.51").reached
    assert ping(pair.lab, "c2", "10.32.0.1").reached


def test_a_detached_container_is_gone_and_comes_back(pair: LabMesh) -> None:
    path = str(pair.lab.path("c1"))
    assert pair["h1"].cli("detach", path).stdout == "10.32.0.1\n"
    assert "ethwe" not in devices(pair.lab, "c1")
    assert not any(name.startswith("vethwe") for name in devices(pair.lab, "h1"))
    assert not ping(pair.lab, "c2", "10.32.0.1").reached

    pair["h1"].cli("attach", "10.32.0.1/24", path)
    assert ping(pair.lab, "c2", "10.32.0.1", count=3).received == 3


def test_exposed_hosts_ping_hosts_and_containers_until_hidden(pair: LabMesh) -> None:
    assert not ping(pair.lab, "h1", "10.32.0.2").reached
    for number in ("1", "2"):
        done = pair[f"h{number}"].cli("expose", f"10.32.0.10{number}/24")
        assert done.stdout == f"10.32.0.10{number}\n"
    pair["h2"].cli("expose", "10.32.0.102/24")  # again
    for address in ("10.32.0.102", "10.32.0.1", "10.32.0.2"):
        assert ping(pair.lab, "h1", address, count=3).received == 3, address
    assert ping(pair.lab, "c2", "10.32.0.101", count=3).received == 3

    assert pair["h1"].cli("hide").stdout == "10.32.0.101\n"
    assert pair["h2"].cli("hide", "10.32.0.102/24").stdout == "10.32.0.102\n"
    assert addresses_in(pair, "h1", "weave") == addresses_in(pair, "h2", "weave") == []
    assert not ping(pair.lab, "c2", "10.32.0.101").reached
    assert ping(pair.lab, "c2", "10.32.0.1").reached


@pytest.mark.parametrize(
    ("moving", "watching"), [("10.44.0.9/24", "10.44.0.1/24"), ("fd44::9/64", "fd44::1/64")]
)
def test_an_address_that_moves_to_another_host(pair: LabMesh, moving: str, watching: str) -> None:
    """t14, t15: refused while it is in use on the other host, and found where it went."""
    address = moving.partition("/")[0]
    c1, c2 = (str(pair.lab.path(name)) for name in ("c1", "c2"))
    pair["h1"].cli("attach", watching, c1)
    pair["h2"].cli("attach", moving, c2)
    assert ping(pair.lab, "c1", address).reached
    for words in (["expose", moving], ["attach", moving, c1]):
        refusal = the_line(pair["h1"].cli(*words, check=False), 1)
        assert refusal.startswith(f"{address} is already in use on this network (by MAC ")

    pair["h2"].cli("detach", moving, c2)
    pair["h1"].cli("expose", moving)
    assert ping(pair.lab, "c1", address).reached
    pair["h1"].cli("hide", moving)
    pair["h2"].cli("expose", moving)
    assert ping(pair.lab, "c1", address).reached

    pair["h2"].cli("hide", moving)
    pair["h1"].cli("detach", watching, c1)
