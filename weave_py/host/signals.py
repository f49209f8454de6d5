"""Which signals end a program of ours? Not those that whoever started it wants it to outlive.

A terminal sends SIGINT (Ctrl-C) and SIGHUP (it goes) to all that were started from it. `nohup`
ignores the one for what it starts, a script's shell the other for what it starts with `&`, and
that is inherited. SIGTERM comes from nobody by the way: who sends it means us, so that we must
hear it however we were started, or only SIGKILL would be left, and no goodbye.
"""

from __future__ import annotations

import signal

_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP)


def ending() -> tuple[signal.Signals, ...]:
    """SIGTERM, and of SIGINT and SIGHUP those that are not ignored now."""
    heard = (each for each in _OF_TERMINALS if signal.getsignal(each) is not signal.SIG_IGN)
    return (signal.SIGTERM, *heard)


def heed_sigterm() -> None:
    """Let it end us at once until somebody handles it, also if it was ignored when we started."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
