"""Is the unit file that we ship right, and as strict as it says? (F18, T41.)"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.under_unit import UNIT, settings
from weave_py.cli.exits import Exit
from weave_py.config.options import OPTIONS, PASSWORD_FILE, STATE_DIR
from weave_py.host.confine import NEEDED
from weave_py.host.run_directory import MODE, RUN_DIRECTORY

EXPOSURE = 2.5
"""At most, of 10, by systemd's own reckoning."""


def test_it_grants_what_the_router_keeps() -> None:
    granted = settings()["CapabilityBoundingSet"][0].split()
    assert sorted(granted) == sorted(f"CAP_{capability.name}" for capability in NEEDED)


def test_it_names_the_places_and_statuses_that_we_use() -> None:
    unit = settings()
    assert [f"/var/lib/{name}" for name in unit["StateDirectory"]] == [str(STATE_DIR.default)]
    assert [f"/run/{name}" for name in unit["RuntimeDirectory"]] == [str(RUN_DIRECTORY)]
    assert [int(mode, 8) for mode in unit["RuntimeDirectoryMode"]] == [MODE]
    statuses = set(map(int, unit["RestartPreventExitStatus"][0].split()))
    assert statuses == {Exit.USAGE, Exit.PERMISSION, Exit.CONFIG}
    assert unit["Environment"][0].startswith(f"{PASSWORD_FILE.variable}=/")
    variables = {option.variable for option in OPTIONS}
    assert set(re.findall(r"WEAVE_\w+", UNIT.read_text())) <= variables


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/usr/local/bin/weave-py", "/bin/true"))
    return path


def test_systemd_takes_it(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_leaves_little(installed: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=yes", str(installed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("needs systemd 250")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE
