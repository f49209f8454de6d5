"""What does it cost a network when a container floods it with MACs? (Finding F6.)

c1 floods from h1; c2 and c3 are on other hosts and ping each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import container_frames as frames
from tests.kit.answering_paths import rss_mib
from tests.kit.inside import inside
from tests.kit.pinging import Pinging
from tests.kit.routers import BRIDGE, events, started, wait_path
from tests.kit.standstills import clock
from weave_py.host.firewall.port_guard import MACS_AT_ONCE, MACS_PER_SECOND
from weave_py.lab import http_get
from weave_py.lab.hosts import HTTP_PORT, OK, Host, LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.observe.sections import SECTIONS

FLOOD, PER_SECOND = 30_000, 6_000.0
OTHERS = 200
"""MACs that a bridge knows otherwise; far fewer."""
MORE_MIB = 16
MOST_BYTES = 1 << 19
MOST_LISTED = 1000
ROUTES = ("/status", "/report", "/metrics", "/healthz", *(f"/status/{s.name}" for s in SECTIONS))


@pytest.fixture(scope="module", params=["sleeve", "fastdp"])
def mesh(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabMesh]:
    options = LaunchOptions(fastdp=request.param == "fastdp")
    with started("full", 3, tmp_path_factory.mktemp("macs"), options) as mesh:
        for name, peer in (("h1", "h2"), ("h2", "h3")):
            wait_path(mesh[name], peer, "direct" if request.param == "sleeve" else "fastdp", 20)
        yield mesh


def ask(host: Host, path: str) -> bytes:
    code, body = inside(host.lab, host.name, lambda: http_get.get(HTTP_PORT, path, 5.0))
    assert code == OK
    return body


def known(mesh: LabMesh, host: str) -> str:
    return mesh.lab.exec(host, ["bridge", "fdb", "show", "br", BRIDGE]).stdout


def test_a_flood_is_bounded_and_so_is_what_is_said_of_it(mesh: LabMesh, tmp_path: Path) -> None:
    """F6: there were as many entries as frames, on every host; one `status` then took 12 s, 400 MiB
    and the control connections."""
    before = {name: rss_mib(host) for name, host in mesh.hosts.items()}
    pinging = Pinging(mesh.lab, "c2", "10.32.0.3", tmp_path / "pings")
    with pinging:
        pinging.wait_answer(clock(), 10, 5)
        seconds = frames.flood_macs(mesh.lab, "c1", FLOOD, 1, PER_SECOND)
        for host in mesh.hosts.values():
            bodies = {path: ask(host, path) for path in ROUTES}
            assert max(map(len, bodies.values())) < MOST_BYTES
            router = json.loads(bodies["/report"])["Router"]
            most = MACS_AT_ONCE + MACS_PER_SECOND * (seconds + 10) + OTHERS
            print(host.name, router["MACCount"], rss_mib(host) - before[host.name])
            assert MACS_AT_ONCE / 2 < router["MACCount"] < most
            assert len(router["MACs"]) == MOST_LISTED
            assert len(known(mesh, host.name).splitlines()) < most + OTHERS
        result = pinging.stop()
    print(f"{pinging.lost} of {result.sent} pings lost")
    assert pinging.lost == 0
    for host in mesh.hosts.values():
        assert rss_mib(host) - before[host.name] < MORE_MIB
        assert not events(host, "connection ended")


def test_who_floods_takes_no_place_of_others(mesh: LabMesh) -> None:
    """F6: newcomers are learned, here and elsewhere, so that frames for them are not flooded."""
    mac = bytes.fromhex("020000aaaaaa")
    frames.flood_macs(mesh.lab, "c1", FLOOD // 10, 1 << 24, PER_SECOND)
    with frames.packet_socket(mesh.lab, "c2") as sock:
        for _ in range(3):
            sock.send(frames.BROADCAST + mac + b"\x88\xb6" + bytes(46))
    assert mesh["h1"].cli("status").returncode == 0  # by now they are there
    for host in mesh.hosts:
        assert mac.hex(":") in known(mesh, host), host
