"""Do tests, and what they start, see signals as usual, however pytest was started?"""

from __future__ import annotations

import subprocess
import sys

from tests.kit.dispositions import OF_CONCERN, ignoring
from weave_py.lab.commands import environment

INSIDE = """
import os, signal, sys
from tests.kit import dispositions
dispositions.inherit_defaults()
signal.raise_signal(signal.SIGHUP)  # we go on
os.execv("/bin/sh", ["sh", "-c", "grep SigIgn /proc/self/status"])
"""


def test_what_tests_start_ignores_nothing_although_pytest_does() -> None:
    with ignoring(*OF_CONCERN):
        done = subprocess.run(
            [sys.executable, "-c", INSIDE], capture_output=True, text=True, env=environment()
        )
    assert done.returncode == 0, done.stderr
    mask = int(done.stdout.split()[1], 16)
    assert not mask & sum(1 << number - 1 for number in OF_CONCERN), done.stdout
