"""What do we say beside a command's result? One line on standard error, which fails nothing."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

import click


def note(text: str) -> None:
    say("weave-py: " + " ".join(text.split()))


def warning(text: str) -> None:
    note(f"warning: {text}")


def say(text: str) -> None:
    """To standard error. If not even that can be written, the exit status has to do."""
    try:
        click.echo(text, err=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO | None) -> None:
    """What could not be written is still buffered: the interpreter should not try again."""
    if stream is not None:
        with suppress(io.UnsupportedOperation):  # has no file below
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
