"""Which peers hang together without us? Connected components: whom we may leave safely."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from weave_py.model.names import PeerName
from weave_py.wire.topology import PeerRecord


def components(
    records: Mapping[PeerName, PeerRecord], ourself: PeerName, names: Collection[PeerName]
) -> dict[PeerName, int]:
    """For each of these peers the number of its island: peers of the same one reach each other
    over connections that both ends claim, without us. Those without a record are left out.
    O(peers + connections), however many are asked for."""
    found: dict[PeerName, int] = {}
    seen = {ourself}
    wanted = {name for name in names if name in records and name != ourself}
    number = 0
    for first in sorted(wanted):
        if first in seen:
            continue
        number += 1
        seen.add(first)
        queue = [first]
        while queue and wanted:
            name = queue.pop()
            if name in wanted:
                wanted.discard(name)
                found[name] = number
            for other in records[name].claims:
                if other in seen or (theirs := records.get(other)) is None:
                    continue
                if name in theirs.claims:
                    seen.add(other)
                    queue.append(other)
    return found
