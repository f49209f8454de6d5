"""`python -m weave_py.lab`: the demo without the rest of the command line.

It is what the demo starts again inside a user namespace; `weave-py demo` is for people.
"""

from __future__ import annotations

import argparse
import os
import sys

from weave_py.lab.demo import run_demo
from weave_py.lab.profiles import PROFILES
from weave_py.lab.topology import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m weave_py.lab", description=__doc__)
    parser.add_argument("--hosts", type=int, default=3, metavar="N")
    parser.add_argument("--topology", choices=KINDS, default="chain")
    names = [profile.name for profile in PROFILES]
    parser.add_argument("--profile", choices=names, default=names[0])
    parser.add_argument("--once", action="store_true", help="end by itself")
    parser.add_argument("--keep-logs", action="store_true")
    given = parser.parse_args()
    password = os.environ.get("WEAVE_PASSWORD")
    return run_demo(
        given.hosts, given.topology, given.once, password, given.keep_logs, given.profile
    )


if __name__ == "__main__":
    sys.exit(main())
