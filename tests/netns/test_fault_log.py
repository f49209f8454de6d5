"""Whoever reads the log stands still (a paused terminal, a full pipe): does the router go on?"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.kit.routers import REACHABLE_SECONDS
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.pings import ping
from weave_py.lab.topology import build

PIPE_BYTES = 4096
LEFT_OUT = re.compile(rb"WARNING \S+ log lines left out: nobody read them lines=(\d+)\n")
ENOUGH = 1 << 22
"""Bytes; the router keeps far less."""


class Pipe(NamedTuple):
    reader: int
    writer: IO[bytes]

    def read_until(self, pattern: re.Pattern[bytes]) -> bytes:
        got = b""
        while not pattern.search(got) and len(got) < ENOUGH:
            got += os.read(self.reader, PIPE_BYTES)
        return got


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writer, "wb", buffering=0) as file:
        yield Pipe(reader, file)
    os.close(reader)


@pytest.mark.parametrize("fastdp", [False, True])
def test_a_router_whose_log_nobody_reads_goes_on(tmp_path: Path, pipe: Pipe, fastdp: bool) -> None:
    """t62: 249 of 250 pings were lost, and it did not answer."""
    options = LaunchOptions(fastdp=fastdp, program="tests.kit.talkative_daemon")
    with Lab(build("full", 2)) as lab, LabMesh(lab, tmp_path, options) as mesh:
        mesh["h1"].launch([], log=pipe.writer)  # nobody reads it from the start
        mesh["h2"].launch(["10.99.1.1"])
        mesh.wait_ready()
        mesh.attach()
        mesh.wait_reachable(REACHABLE_SECONDS)
        quick = ["-i", "0.02"]
        assert ping(lab, "c1", "10.32.0.2", count=100, options=quick).received == 100
        # The reader is back.
        found = LEFT_OUT.search(pipe.read_until(LEFT_OUT))
        assert found is not None
        assert int(found[1]) > 100
        # And stands still again: the router ends all the same, and takes everything down.
        assert mesh["h1"].stop() == 0
