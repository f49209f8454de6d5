"""The entry point: help, words we do not have, exit statuses, and what is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from weave_py.cli.main import COMMANDS
from weave_py.cli.unknown_commands import _WEAVES, advice

Cli = Callable[..., tuple[int, str, str]]
HEAVY = (
    "trio",
    "pyroute2",
    "cryptography",
    "msgpack",
    "h11",
    "weave_py.runtime",
    "weave_py.router",
)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",), ("help", "--help")])
def test_help_lists_every_command(cli: Cli, words: tuple[str, ...]) -> None:
    status, out, err = cli(*words)
    assert (status, err) == (0, "")
    assert all(f"\n  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(cli: Cli, command: str) -> None:
    status, out, _ = cli(command, "--help")
    assert status == 0
    assert out.startswith(f"Usage: weave-py {command}")
    assert cli("help", command)[1] == out


def test_launch_help_tells_of_the_fast_datapath(cli: Cli) -> None:
    out = " ".join(cli("launch", "--help")[1].split())
    assert "Never let the kernel carry frames (VXLAN)" in out
    assert "--trusted-subnets" in out


def test_nothing_said_is_a_usage_error(cli: Cli) -> None:
    status, out, err = cli()
    assert (status, out) == (2, "")
    assert err.startswith("Usage:")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("launhc", "did you mean 'launch'?"),
        ("stauts", "did you mean 'status'?"),
        ("dns-add", "not served yet"),
        ("launch-router", "use 'weave-py launch'"),
        ("ps", "not listed yet"),
        ("xyzzy", "unknown command 'xyzzy'"),
    ],
)
def test_words_we_do_not_have(cli: Cli, word: str, hint: str) -> None:
    status, out, err = cli(word, "--whatever")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err


def test_no_word_is_both_ours_and_not() -> None:
    assert not set(_WEAVES) & set(COMMANDS)
    assert advice("qqqq", list(COMMANDS)) == "unknown command 'qqqq'"


@pytest.mark.parametrize("words", [["--help"], ["status"], ["launch", "--mtu", "1"], ["version"]])
def test_what_costs_time_is_not_imported(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from weave_py.__main__ import main\n"
        f"sys.argv = ['weave-py', *{words!r}]\n"
        "main()\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    environment = {"WEAVE_HTTP_ADDR": "/nonexistent/socket", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.endswith("LOADED []\n")


def test_the_module_exits_with_the_status() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "weave_py", "status"],
        capture_output=True,
        text=True,
        env={"WEAVE_HTTP_ADDR": "/nonexistent/socket", "PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "weave_py", "launch", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def weave(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line, its output redirected by a shell."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "weave_py", *words],
        capture_output=True,
        text=True,
        env={
            "WEAVE_HTTP_ADDR": "/nonexistent/socket",
            "WEAVE_BRIDGE": "wv-test-none",
            "PYTHONPATH": ":".join(sys.path),
        },
        check=False,
    )


@pytest.mark.parametrize("words", [["--help"], ["version"], ["sim", "--help"], ["status"]])
def test_an_output_that_is_closed_is_no_traceback(words: list[str]) -> None:
    done = weave(">&-", *words)
    assert done.returncode == (3 if words == ["status"] else 0)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["version"], ["--version"], ["launch", "--help"], ["help", "sim"]]
)
def test_an_output_that_is_full_is_said(words: list[str]) -> None:
    done = weave(">/dev/full", *words)
    assert (done.returncode, done.stderr) == (
        1,
        "weave-py: cannot write: No space left on device\n",
    )


@pytest.mark.parametrize("redirection", [">/dev/full 2>&1", ">&- 2>&-", "2>/dev/full", "2>&-"])
def test_the_status_is_right_though_nothing_can_be_said(redirection: str) -> None:
    assert weave(redirection, "status").returncode == 3
    assert weave(redirection, "--mut").returncode == 2


def test_what_a_terminal_cannot_show_becomes_question_marks() -> None:
    script = "from weave_py.cli.main import run\nrun(['version', '--help'])\nprint('8a:3e:…')\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert done.stdout.endswith("8a:3e:?\n")
