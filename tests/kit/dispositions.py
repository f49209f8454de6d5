"""What do signals do to a test, and to what it starts? The same, however pytest was started.

`nohup` and a script's `&` start what they start with SIGHUP or SIGINT ignored, and so would
everything be that a test starts, and tests that end it by such a signal would wait for ever. A
handler is not inherited as what is ignored is: with one that does nothing pytest goes on, as
whoever started it wants, and what it starts has the defaults.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

OF_CONCERN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def _go_on(number: int, frame: FrameType | None) -> None:
    pass


def inherit_defaults() -> None:
    """From now on, processes that are started (not forked) have the default of each signal."""
    for number in OF_CONCERN:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _go_on)


@contextmanager
def handling(handler: signal._HANDLER, *numbers: signal.Signals) -> Iterator[None]:
    """While it lasts, that happens when one of these signals comes."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def ignoring(*numbers: signal.Signals) -> AbstractContextManager[None]:
    """As from a shell after `trap '' …`: for us, and for what is started."""
    return handling(signal.SIG_IGN, *numbers)


def sigint_interrupts() -> AbstractContextManager[None]:
    """SIGINT raises KeyboardInterrupt, as in a program that was started in the foreground."""
    return handling(signal.default_int_handler, signal.SIGINT)
