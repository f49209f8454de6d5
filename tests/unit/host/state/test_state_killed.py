"""Does a state file survive real ends: SIGKILL while it is written, and a disk with no room?"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weave_py.crypto.identity import Identity
from weave_py.host.state.directory import StateDirectory
from weave_py.lab.commands import environment

KILLS = 12

WRITES = """
import sys
from weave_py.host.state.directory import StateDirectory
state = StateDirectory(sys.argv[1])
number = state.load("targets", int) or 0
while True:
    number += 1
    state.save("targets", number)
    print(number, flush=True)
"""

HAS_NO_ROOM = """
import resource, sys
from weave_py.host.state.directory import StateDirectory
state = StateDirectory(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
state.keep("targets", "x" * 2000)
state.keep_identity(state.load_identity())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert state.load("targets", str) == "before"
print(state.trouble)
state.save("targets", state.unsaved["targets"])
"""


def script(text: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *words], stdout=subprocess.PIPE, text=True, env=environment()
    )


def test_killed_while_it_writes_nothing_that_was_saved_is_lost(tmp_path: Path) -> None:
    dice = random.Random(1)
    for _ in range(KILLS):
        with script(WRITES, str(tmp_path / "state")) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(dice.uniform(0, 0.03))
            process.kill()
            numbers = [int(line) for line in process.stdout.read().split()]
        state = StateDirectory(tmp_path / "state")
        found = state.load("targets", lambda payload: payload)
        assert state.losses == []
        assert isinstance(found, int)
        assert not numbers or found in (numbers[-1], numbers[-1] + 1)


@pytest.mark.parametrize("room", [0, 1, 100, 2000])
def test_a_disk_with_little_room_keeps_what_is_there(tmp_path: Path, room: int) -> None:
    state = StateDirectory(tmp_path / "state")
    state.save("targets", "before")
    identity = Identity.create(lambda n: bytes(range(n)))
    state.keep_identity(identity)
    with script(HAS_NO_ROOM, str(tmp_path / "state"), str(room)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0
    assert "File too large" in said
    assert state.load("targets", str) == "x" * 2000
    found = state.load_identity()
    assert found is not None
    assert found.secrets() == identity.secrets()
    assert not list(state.path.glob(".*"))
