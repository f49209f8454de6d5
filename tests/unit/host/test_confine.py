"""What is left of a process's rights, its children's and its memory's? (F18, T40.)

Each case is a process of its own, as what is given up is given up.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weave_py.host.confine import NEEDED, Capability

SHOW = """
import os, resource, subprocess, sys, threading
from pathlib import Path
from weave_py.host.confine import confine, deny_dumps
def show(who):
    path = Path(f"/proc/thread-self/status")
    for line in path.read_text().splitlines():
        if line.startswith(("Cap", "NoNewPrivs")):
            print(who, *line.split())
"""
CHILD = """
subprocess.run(["sh", "-c", "sed -n 's/^/child /;/Cap/p;/NoNew/p' /proc/self/status"], check=True)
"""
MASK = sum(1 << capability for capability in NEEDED)
AS_A_USER = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def python(code: str, *start: str) -> dict[tuple[str, str], int]:
    """What a process that does this shows: (who, field) → value."""
    done = subprocess.run(
        [*start, sys.executable, "-c", SHOW + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {(who, field.rstrip(":")): int(value, 16) for who, field, value in lines}


def own() -> int:
    """The capabilities that we have ourselves."""
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapPrm:")
    ]
    return int(line.split()[1], 16)


def test_threads_and_children_have_what_is_needed_and_no_more() -> None:
    found = python(
        "confine([]); show('main')\n"
        "one = threading.Thread(target=show, args=('thread',)); one.start(); one.join()\n" + CHILD
    )
    for who in ("main", "thread", "child"):
        assert found[who, "CapPrm"] == own() & MASK
        assert found[who, "CapEff"] & ~MASK == 0
        assert found[who, "NoNewPrivs"] == 1
    assert found["main", "CapEff"] == own() & MASK
    if own() >> 8 & 1:  # CAP_SETPCAP
        assert found["main", "CapBnd"] == found["child", "CapBnd"] & MASK


@needs_root
def test_nobody_gets_anything_back() -> None:
    code = (
        "from weave_py.host import confine as module\n"
        "from weave_py.model.errors import HostError\n"
        "confine([])\n"
        "try:\n"
        "    module._set(effective=1 << 21, permitted=1 << 21)\n"  # CAP_SYS_ADMIN
        "except HostError:\n"
        "    show('main')\n"
    )
    assert python(code)["main", "CapPrm"] == MASK


@needs_root
@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (("setpriv", "--bounding-set", "-all,+net_admin"), {Capability.NET_ADMIN}),
        (("setpriv", "--bounding-set", "-all"), set()),
        (
            ("setpriv", "--bounding-set", "-all,+net_admin,+net_raw,+net_bind_service"),
            NEEDED,
        ),
        (("setpriv", "--no-new-privs"), NEEDED),
    ],
    ids=["net_admin", "none", "a container's", "no new ones"],
)
def test_what_is_missing_already_is_not_missed(
    start: tuple[str, ...], kept: set[Capability]
) -> None:
    found = python(f"assert len(confine([])) == {len(kept)}; show('main')", *start)
    assert found["main", "CapEff"] == found["main", "CapPrm"] == sum(1 << one for one in kept)


@needs_root
def test_a_router_in_somebodys_home_still_finds_its_files(tmp_path: Path) -> None:
    """As after `sudo ~/venv/bin/weave-py launch`: modules are imported later, too."""
    home = tmp_path / "home"
    mine = home / "state"
    mine.mkdir(parents=True)
    os.chown(home, 1000, 1000)
    home.chmod(0o700)
    read = 1 << Capability.DAC_READ_SEARCH
    assert (
        python(f"confine([{str(mine)!r}]); show('main'); os.listdir({str(mine)!r})")[
            "main", "CapEff"
        ]
        == MASK | read
    )
    missing = str(home / "none")
    assert python(f"confine([{missing!r}, '/']); show('main')")["main", "CapEff"] == MASK


def test_no_dump_and_nobody_looks_into_it() -> None:
    code = (
        "deny_dumps()\n"
        "import ctypes\n"
        "print('main', 'dumpable', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
        "print('main', 'core', sum(resource.getrlimit(resource.RLIMIT_CORE)))\n"
        "sys.stdout.flush()\n"
        "subprocess.run(['sh', '-c', 'echo child core $(ulimit -Hc)'], check=True)\n"
    )
    found = python(code)
    assert found == {("main", "dumpable"): 0, ("main", "core"): 0, ("child", "core"): 0}


@needs_root
@pytest.mark.parametrize("denies", [True, False])
def test_who_runs_as_the_same_user_does_not_look_into_it(denies: bool) -> None:
    """Environment, memory map, memory: readable otherwise, as the second case shows."""
    code = (
        "import ctypes, os, time; os.setgid(65534); os.setuid(65534);"
        "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0);"  # PR_SET_DUMPABLE, as after execve
        + "deny_dumps();" * denies
        + "print('ready', flush=True); time.sleep(30)"
    )
    victim = subprocess.Popen([sys.executable, "-c", SHOW + code], stdout=subprocess.PIPE)
    assert victim.stdout is not None
    try:
        assert victim.stdout.readline() == b"ready\n"
        for name in ("environ", "maps"):
            thief = [*AS_A_USER, "head", "-c1", f"/proc/{victim.pid}/{name}"]
            done = subprocess.run(thief, capture_output=True, text=True, check=False)
            assert ("Permission denied" in done.stderr) is denies, (name, done.stderr)
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()
