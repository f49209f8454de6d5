"""Is a router kept out by a health check that comes from its own address? (t66)

h1's router has a password. On h2 a load balancer's check opens and closes TCP 6783 of h1 all the
time, and sometimes keeps connections open; and there h2's router starts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.routers import established, events
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

VICTIM = "10.99.1.1"
CHECK = """
import itertools, socket, sys, time
kept = []
for number in itertools.count():
    try:
        stream = socket.create_connection((sys.argv[1], 6783), 1)
    except OSError:
        continue
    kept.append(stream)
    if number % 4:
        kept.pop().close()
    if len(kept) > 20:
        kept.pop(0).close()
    print(number, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Lab, Host, Host]]:
    options = LaunchOptions(password="let nobody in", fastdp=False, log_level="debug")
    with Lab(build("full", 2)) as lab:
        one, two = (Host(lab, name, tmp_path, options) for name in ("h1", "h2"))
        try:
            one.launch([])
            one.wait_ready()
            yield lab, one, two
        finally:
            two.stop()
            one.stop()


@pytest.mark.parametrize("pause", [1.0, 0.2, 0.02])
def test_a_router_joins_from_the_address_of_a_health_check(
    hosts: tuple[Lab, Host, Host], tmp_path: Path, pause: float
) -> None:
    """F8, t66: five checks a second kept it out (0 of 3 in 60 s), with 123 lines of log."""
    lab, one, two = hosts
    done = tmp_path / "checks"
    with done.open("wb") as log:
        check = lab.popen("h2", [sys.executable, "-c", CHECK, VICTIM, str(pause)], log=log)
    try:
        # As many as would have used up what a source was allowed to fail.
        until(lambda: done.read_text().count("\n") > min(8, 5 / pause), 15, "checks")
        until(lambda: events(one, "came to nothing"), 10, "the check is noticed")
        before = one.log_path.read_text().count("\n")
        for _ in range(2):
            two.launch([VICTIM])
            two.wait_ready()
            until(lambda: established(two) == ["h1"], 5, "h2 is in")
            two.stop()
    finally:
        check.kill()
        check.wait()
    assert len(events(one, "came to nothing")) == 1
    said = one.log_path.read_text().splitlines()[before:]
    assert not [line for line in said if "<-" in line and "during the handshake" in line]
