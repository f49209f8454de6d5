"""`scripts/bench sleeve|fastdp|peers|scale|soak|start|stations`: which benchmark is wanted?"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from scripts.benchmarks import fastdp, peers, scale, sleeve, soak, start, stations
from weave_py.host.signals import ending
from weave_py.model.errors import WeaveError

BENCHMARKS = {
    "sleeve": sleeve.main,
    "fastdp": fastdp.main,
    "peers": peers.main,
    "scale": scale.main,
    "soak": soak.main,
    "start": start.main,
    "stations": stations.main,
}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in BENCHMARKS:
        print(f"usage: scripts/bench {'|'.join(BENCHMARKS)} [options]", file=sys.stderr)
        return 2
    for number in set(ending()) - {signal.SIGINT}:
        signal.signal(number, _end)
    try:
        return BENCHMARKS[argv[0]](argv[1:])
    except WeaveError as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scripts/bench: interrupted", file=sys.stderr)
        return 130


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)  # an exception, so that namespaces are removed on the way out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
