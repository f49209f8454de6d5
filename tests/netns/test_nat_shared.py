"""Do hosts behind one NAT have direct paths with each other, and with those outside?

A gateway that leaves ports as they are can do so for one of two hosts only.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.kit.routers import wait_path
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.internet import APART_SECONDS, PUBLIC, PUBLIC_ADDRESS, Internet
from weave_py.lab.mesh import LabMesh
from weave_py.lab.nats import Kind

SOON = 10.0


@pytest.mark.parametrize("outside", [Kind.FIREWALL, Kind.MASQUERADE])
def test_two_behind_one_gateway_and_one_behind_another(tmp_path: Path, outside: Kind) -> None:
    """t57: h2 and h3 reached each other, but one of them stayed relayed to those outside."""
    options = LaunchOptions(password="two at one door", fastdp=False)
    internet = Internet([(Kind.MASQUERADE, 2), (outside, 1)], seconds=APART_SECONDS)
    with internet, LabMesh(internet, tmp_path, options) as mesh:
        mesh[PUBLIC].launch([])
        mesh[PUBLIC].wait_ready()
        names = ["h2", "h3", "h4"]
        for name in names:
            mesh[name].launch([PUBLIC_ADDRESS])
        mesh.wait_ready()
        for name, other in permutations(names, 2):
            wait_path(mesh[name], other, "direct", SOON)
