"""`scripts/bench peers`: how does weave-py do beside what people would pick instead?

Runs run-peers (see `tool`) with our plug-in: it brings one tunnel after another up between the
same two hosts and puts each through the same measurements. Options not listed here go to it,
such as --measures tcp1,rr, --reps 3, --secs 10, --json FILE, --list, --clean, --no-install.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from scripts.benchmarks import tool

PLUGIN = Path(__file__).with_name("peers_plugin.py")
DEFAULT_PEERS = "vxlan,weave-py,openvpn-tap,tinc,fastd,quicktun,nebula,wireguard-go,veth"
PREFIX = "wpb"
"""Of the namespaces, so that a run of the tool by hand is not in the way."""
CLEANING_SECONDS = 15.0
QUICK = ("--reps", "1", "--secs", "2", "--udp-secs", "0.3", "--rr-secs", "1", "--noise", "99")


def main(argv: list[str]) -> int:
    # No abbreviations: what we do not know must reach the tool as it was typed.
    parser = argparse.ArgumentParser(
        prog="scripts/bench peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round: does it work?")
    add("--peers", default=DEFAULT_PEERS, help=f"comma-separated [{DEFAULT_PEERS}]")
    add("--anchor", default="vxlan", help="peer to which the ratios relate [vxlan]")
    options, rest = parser.parse_known_args(argv)
    words = [sys.executable, str(tool.find()), "--plugin", str(PLUGIN)]
    words += ["--peers", options.peers, "--anchor", options.anchor, "--prefix", PREFIX]
    words += [*(QUICK if options.quick else ()), *rest]
    return _run(words)


def _run(words: list[str]) -> int:
    """Run it to its end; when we are told to end, let it remove its namespaces first."""
    process = subprocess.Popen(words, env=_environment())
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached it too: another signal would only disturb it.
        _wait_or_terminate(process, CLEANING_SECONDS)
        raise
    except BaseException:
        _wait_or_terminate(process, 0)
        raise


def _wait_or_terminate(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def _environment() -> dict[str, str]:
    """Ours without what the user set for the router of this machine."""
    found = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WEAVE_") or name == tool.VARIABLE
    }
    # The routers are started in another directory, and must be those of this checkout.
    found["PYTHONPATH"] = ":".join([str(tool.ROOT), *filter(None, [found.get("PYTHONPATH")])])
    return found
