"""The command `weave-py`, also as `python -m weave_py`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process; its exit status."""
    from weave_py.cli.main import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
