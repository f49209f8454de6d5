"""What has just happened? The router's log: one line an event, on standard error.

    INFO 2031-04-05T06:07:08.123Z path changed peer=8a:3e:…(host2) from=relay to=direct

A line is the level, the time in UTC, a message that is always the same for the same event, and
the particulars as `key=value`. Values from other hosts are escaped: nobody can forge a line.
Nobody waits for who reads it either (`observe.log_writer`).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from weave_py.observe.log_writer import never_wait_for_stderr
from weave_py.observe.text import printable

ROOT = "weave_py"
REDACTED = "<redacted>"
BURST = 30  # lines of one message
LEFT_OUT = "log lines left out: nobody read them"
_SECRET_WORDS = ("password", "secret", "token", "psk", "private")
_FIELDS = "weave_fields"


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send our events of `level` (debug, info, warning, error) and above to `stream`.

    Replaces what an earlier call set up; other libraries' loggers are left alone.
    """
    logger = logging.getLogger(ROOT)
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def take_stderr() -> None:
    """See to it that nothing in this process ever waits for who reads its standard error; what
    was left out is said. Before `configure`; for the rest of the process."""
    never_wait_for_stderr(_left_out_line)


def _left_out_line(count: int) -> str:
    record = logging.LogRecord(ROOT, logging.WARNING, "", 0, LEFT_OUT, (), None)
    setattr(record, _FIELDS, {"lines": count})
    return LineFormatter().format(record) + "\n"


def event(logger: logging.Logger, level: int, message: str, **fields: object) -> None:
    """Log `message` with particulars; what is named like a secret is redacted.

    Strangers can cause some events as often as they like: of each message there are BURST lines
    at once and then one a second, which says how many were left out.
    """
    if not logger.isEnabledFor(level):
        return
    left_out = _flood.left_out(message, time.monotonic())
    if left_out is None:
        return
    if left_out:
        fields["left_out"] = left_out
    logger.log(level, message, extra={_FIELDS: redact(fields)})


def unraisable(error: sys.UnraisableHookArgs) -> None:
    """For sys.unraisablehook: errors of destructors, in a line like all others. (A library that
    found no descriptor left cleans up what it had not made yet.)"""
    where = getattr(error.object, "__qualname__", type(error.object).__name__)
    fields = {"error": repr(error.exc_value), "of": where}
    event(logging.getLogger(ROOT), logging.WARNING, "error ignored", **fields)


class Flood:
    """Which events are too many? One token bucket per message; messages are our own constants."""

    def __init__(self, burst: int = BURST, per_second: float = 1.0) -> None:
        self._burst = burst
        self._per_second = per_second
        self._buckets: dict[str, tuple[float, float, int]] = {}

    def left_out(self, message: str, now: float) -> int | None:
        """How many like this were left out before it; None: leave this one out as well."""
        tokens, at, count = self._buckets.get(message, (float(self._burst), now, 0))
        tokens = min(tokens + (now - at) * self._per_second, self._burst)
        if tokens < 1:
            self._buckets[message] = (tokens, now, count + 1)
            return None
        self._buckets[message] = (tokens - 1, now, 0)
        return count


_flood = Flood()


def changed(logger: logging.Logger, what: str, before: str, after: str, **fields: object) -> None:
    """Log a change of state, one line; nothing if there is no change."""
    if before != after:
        particulars = {**fields, "from": before, "to": after}
        logger.info("%s changed", what, extra={_FIELDS: redact(particulars)})


def redact(fields: Mapping[str, object]) -> dict[str, object]:
    """`fields` with the values of secrets replaced; an absent secret (None) stays visible."""
    return {
        key: REDACTED if value is not None and _names_a_secret(key) else value
        for key, value in fields.items()
    }


def _names_a_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


class LineFormatter(logging.Formatter):
    """`LEVEL time message key=value…`; only a traceback takes further lines."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields: Mapping[str, object] = getattr(record, _FIELDS, {})
        line = " ".join(
            [
                record.levelname,
                time,
                printable(record.getMessage()),
                *(f"{key}={_value(value)}" for key, value in fields.items()),
            ]
        )
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


def _value(value: object) -> str:
    """A value that reads back as one word: quoted when it is empty or has spaces or quotes."""
    text = printable(f"{value:.3f}" if isinstance(value, float) else str(value))
    if text and not any(c in text for c in ' "=\\'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
