"""Which parts has the status? One line each: the command, the report, the API and the metrics
read it."""

from __future__ import annotations

from typing import Final

from weave_py.observe import connections, paths, peers, targets
from weave_py.observe.section import Section

SECTIONS: Final[tuple[Section, ...]] = (
    connections.SECTION,
    peers.SECTION,
    targets.SECTION,
    paths.SECTION,
)
