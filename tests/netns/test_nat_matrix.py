"""Do real routers behind real NATs find the path they should? Some telling pairs of the matrix.

docs/paths.md has all of them; scripts/benchmarks/nat_matrix.py makes that table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.lab.nat_pairs import find, started
from weave_py.lab.nats import Kind

SOON = 3.0  # seconds; usually it takes less than one
CONES = [
    Kind.FULL_CONE,
    Kind.RESTRICTED,
    Kind.PORT_RESTRICTED,
    Kind.FIREWALL,
    Kind.DOUBLE,
    Kind.MASQUERADE,
]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED, id="holes punched in NATs"),
        pytest.param(Kind.FIREWALL, Kind.DOUBLE, id="in a firewall and in two NATs"),
        *(pytest.param(Kind.MASQUERADE, kind, id=f"t69: linux and {kind}") for kind in CONES),
        pytest.param(Kind.SYMMETRIC, Kind.RESTRICTED, id="to a port nobody could foretell"),
        pytest.param(Kind.SYMMETRIC, Kind.PORT_RESTRICTED, id="no hole, hence a relay"),
        pytest.param(Kind.HAIRPIN, Kind.HAIRPIN, id="back in through one's own NAT"),
        pytest.param(Kind.NO_UDP, Kind.FULL_CONE, id="inside TCP to the peer"),
        pytest.param(Kind.TCP_OUT, Kind.PORT_RESTRICTED, id="inside TCP to a relay, on by UDP"),
        pytest.param(Kind.TCP_OUT, Kind.TCP_OUT, id="inside TCP both ways to a relay"),
    ],
)
def test_the_path_that_is_found(tmp_path: Path, one: Kind, other: Kind) -> None:
    with started(one, other, tmp_path) as (_, mesh):
        finding = find(one, other, mesh)
    assert finding.is_expected, finding
    assert finding.seconds < SOON
