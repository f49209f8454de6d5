"""What does a router import? Only what it needs: each pays for it at every start, and for ever."""

from __future__ import annotations

import subprocess
import sys

from weave_py.lab.commands import environment

ALL_OF_A_ROUTER = """
import sys
import weave_py.cli.launch, weave_py.runtime.daemon, weave_py.host.netlink
print(*sys.modules)
"""
NOT_NEEDED = {
    "argparse",
    "asyncio",
    "email",
    "http.client",
    "hypothesis",
    "multiprocessing",
    "pyroute2",
    "unittest",
    "weave_py.lab",
    "weave_py.sim",
    "weave_py.workloads.attach",
}


def test_a_router_imports_what_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL_OF_A_ROUTER],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    found = set(done.stdout.split())
    assert "trio" in found
    assert found & NOT_NEEDED == set()
