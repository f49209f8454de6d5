"""Which signals end a program, depending on who started it?"""

from __future__ import annotations

import signal
import subprocess
import sys
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM
from types import FrameType

import pytest

from tests.kit.dispositions import OF_CONCERN, handling, ignoring
from weave_py.host.signals import ending, heed_sigterm
from weave_py.lab.commands import environment

HEEDS = """
import signal, sys
from weave_py.host.signals import heed_sigterm
heed_sigterm()
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("ignored", "ends"),
    [
        ((), {SIGTERM, SIGINT, SIGHUP}),
        ((SIGHUP,), {SIGTERM, SIGINT}),  # nohup
        ((SIGINT, SIGQUIT), {SIGTERM, SIGHUP}),  # a script's &
        ((SIGTERM,), {SIGTERM, SIGINT, SIGHUP}),
        (OF_CONCERN, {SIGTERM}),
    ],
)
def test_what_a_terminal_sends_can_be_outlived_sigterm_cannot(
    ignored: tuple[signal.Signals, ...], ends: set[signal.Signals]
) -> None:
    with ignoring(*ignored):
        assert set(ending()) == ends


def test_sigterm_ends_a_program_that_has_only_begun_to_start() -> None:
    with ignoring(SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "-c", HEEDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(10) == -SIGTERM


def test_a_handler_of_ours_is_left_alone() -> None:
    def ours(number: int, frame: FrameType | None) -> None: ...

    with handling(ours, SIGTERM):
        heed_sigterm()
        assert signal.getsignal(SIGTERM) is ours
