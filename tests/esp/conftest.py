"""Fixtures for ESP on a real kernel: two members of a network, and a stranger, on one wire.

Skipped where the kernel has no ESP; `scripts/esp-lab` boots one that has, and runs them there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from fastdp.kernel.xfrm import kernel_has_esp
from tests.esp.esp_pair import EspPair
from weave_py.lab import unprivileged
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build
from weave_py.model.errors import HostError

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.netns)


@cache
def missing() -> str:
    try:
        has_esp = unprivileged.missing_privilege() is None and kernel_has_esp()
    except HostError as error:
        return str(error)
    return "" if has_esp else "no ESP (or no privileges) here: `scripts/esp-lab` boots a kernel"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if why := missing():
        if os.environ.get("WEAVE_PY_ESP_LAB"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Hosts h1 and h2, members, and h3, a stranger; all on one wire."""
    with Lab(build("full", 3), ipv6=True, offload=False) as made:
        yield made


@pytest.fixture
def make_pair(lab: Lab) -> Iterator[Callable[..., EspPair]]:
    """`make_pair(ipv6=…)`: h1 and h2 with a VXLAN device each and no state or policy yet."""
    pairs: list[EspPair] = []

    def make(*, ipv6: bool = False) -> EspPair:
        pairs.append(EspPair(lab, ipv6=ipv6))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()
    for host in lab.topology.hosts:  # what a test put there beside ours
        for what in ("state", "policy"):
            lab.exec(host, ["ip", "xfrm", what, "flush"])
