"""Does a service work in real routers: over the wire, on disk, and through the control API?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.routers import started
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh

API = "http://127.0.0.1:6784"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[LabMesh]:
    options = LaunchOptions(password="everybody counts", program="tests.kit.counter_daemon")
    with started("chain", 3, tmp_path, options) as made:
        yield made


def ask(host: Host, method: str, path: str) -> str:
    """The answer to a request that is made on the host."""
    script = (
        "import sys, urllib.request as u\n"
        "print(u.urlopen(u.Request(sys.argv[2], method=sys.argv[1]), timeout=60).read().decode())"
    )
    argv = [sys.executable, "-c", script, method, f"{API}{path}"]
    return host.lab.exec(host.name, argv, timeout=90).stdout.strip()


def counters(host: Host) -> list[int]:
    return sorted(json.loads(ask(host, "GET", "/counter")).values())


def wait(host: Host, expected: list[int]) -> None:
    until(lambda: counters(host) == expected, 30.0, f"{host.name} knows {expected}")


def test_the_toy_service_of_docs_extending(mesh: LabMesh) -> None:
    h1, h2, h3 = (mesh[name] for name in ("h1", "h2", "h3"))
    wait(h3, [0, 0, 0])
    assert ask(h1, "POST", "/counter/5") == "5"
    wait(h3, [0, 0, 5])
    assert ask(h3, "GET", f"/counter/{h1.report()['Router']['Name']}") == "5"
    # A kill and a new start: what was promised is still there, and others see it again.
    h1.kill()
    h1.launch()
    h1.wait_ready()
    wait(h1, [0, 0, 5])
    wait(h3, [0, 0, 5])
    assert ask(h1, "POST", "/counter/1") == "6"
    assert h2.running
