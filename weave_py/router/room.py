"""Who has to go when there are too many control connections? The least useful one."""

from __future__ import annotations

from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.router.neighbours import Neighbours, Stream


def least_useful(
    neighbours: Neighbours, topology: Topology, targets: Targets, newcomer: Stream | None
) -> Stream | None:
    """Not a target of ours, and the one whose peer has the most others; the newcomer rather than
    an old one (or they would drive each other out for ever). But nobody is cut off: None if all
    need us."""
    ourself = topology.ourself.name
    spare = [
        (sum(n.name != ourself for n in record.neighbours), stream is newcomer, name, stream)
        for name, stream, _ in neighbours.established()
        for record in [topology.record(name)]
        if record is not None and not targets.leads_to(name)
    ]
    for _, _, name, stream in sorted(spare, key=lambda s: s[:3], reverse=True):
        if topology.is_reachable_without_us(name):
            return stream
    return None
