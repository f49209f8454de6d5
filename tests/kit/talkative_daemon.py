"""A router whose main thread says a megabyte a second to its log, from the start."""

from __future__ import annotations

import logging
import signal
import sys

from weave_py.cli.main import run

SECONDS = 0.01
LINES = 10
WORDS = "blah " * 200

_log = logging.getLogger("weave_py.talkative")


def talk(*_: object) -> None:
    for _line in range(LINES):
        _log.info(WORDS)


if __name__ == "__main__":
    if "launch" in sys.argv:
        signal.signal(signal.SIGALRM, talk)
        signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    status = run()
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.exit(status)
