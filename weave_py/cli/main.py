"""Which command is meant, and how does its failure look? The entry point of `weave-py`."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from weave_py import __version__
from weave_py.cli.exits import Exit, exit_for
from weave_py.cli.notes import discard, note, say
from weave_py.cli.unknown_commands import advice
from weave_py.model.errors import WeaveError

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# Command → the module that has it; only the module of the command given is imported.
COMMANDS = {
    "launch": "launch",
    "connect": "control",
    "forget": "control",
    "status": "show",
    "report": "show",
    "version": "show",
    "attach": "workloads",
    "detach": "workloads",
    "expose": "workloads",
    "hide": "workloads",
    "stop": "control",
    "reset": "reset",
    "demo": "demo",
    "sim": "sim",
    "doctor": "doctor",
}


class LazyGroup(click.Group):
    """A group that imports its commands when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"weave_py.cli.{COMMANDS[cmd_name]}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "help":
            args = [*args[1:2], "--help"]
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(advice(args[0], list(COMMANDS)), ctx)
        if args == ["--help"]:
            click.echo(ctx.get_help())
            ctx.exit(0)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="weave-py %(version)s")
def weave_py() -> None:
    """Hosts anywhere, plugged into one Ethernet.

    Start a router on every host with `weave-py launch [PEER...]`; attach containers to it with
    `weave-py attach`.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; its exit status. Expected errors become one line on stderr."""
    _prepare_output()
    try:
        result = weave_py.main(
            args=None if arguments is None else list(arguments),
            prog_name="weave-py",
            standalone_mode=False,
        )
        if sys.stdout is not None:
            sys.stdout.flush()
        return result if isinstance(result, int) else Exit.OK
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return Exit.USAGE
    except click.ClickException as error:
        note(_usage(error))
        return error.exit_code
    except WeaveError as error:
        note(str(error))
        return exit_for(error)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell.
        discard(sys.stdout)
        return Exit.FAILED
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        discard(sys.stdout)
        note(f"cannot write: {error.strerror}")
        return Exit.FAILED


def _prepare_output() -> None:
    """Make the most of what we were given to write to."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Closed (`>&-`): the next file or socket would get its number, and be written to.
            os.open(os.devnull, os.O_RDWR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal gets question marks


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    return f"{message.rstrip('.')} (see '{context.command_path} --help')"
