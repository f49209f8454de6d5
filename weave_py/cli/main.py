"""Which command is meant, and how does its failure look? The entry point of `weave-py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from weave_py import __version__
from weave_py.cli.exits import Exit, exit_for
from weave_py.cli.others import advice
from weave_py.model.errors import WeaveError

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
    try:
        result = weave_py.main(
            args=None if arguments is None else list(arguments),
            prog_name="weave-py",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.ClickException as error:
        _complain(_usage(error))
        return error.exit_code
    except WeaveError as error:
        _complain(str(error))
        return exit_for(error)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody is left to tell, nor is the interpreter to try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


def _complain(message: str) -> None:
    click.echo("weave-py: " + " ".join(message.split()), err=True)


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return message
    return f"{message.rstrip('.')} (see '{context.command_path} --help')"
