"""Who has to go when there are too many control connections? Eviction of the least useful."""

from __future__ import annotations

from collections import Counter

from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.router.neighbours import Neighbours, Stream


def least_useful(
    neighbours: Neighbours,
    topology: Topology,
    targets: Targets,
    newcomer: Stream | None,
    excess: int,
) -> list[Stream]:
    """Up to `excess` streams: not to targets of ours, and those whose peers have the most others;
    the newcomer rather than an old one (or they would drive each other out for ever). But nobody
    is cut off: fewer, or none, if all need us."""
    ourself = topology.ourself.name
    spare = [
        (sum(n.name != ourself for n in record.neighbours), stream is newcomer, name, stream)
        for name, stream, _ in neighbours.established()
        for record in [topology.record(name)]
        if record is not None and not targets.leads_to(name)
    ]
    components = topology.components([name for _, _, name, _ in spare])
    sure = set(topology.sure_neighbours())
    kept = Counter(components[name] for name in sure)
    chosen: list[Stream] = []
    for _, _, name, stream in sorted(spare, key=lambda s: s[:3], reverse=True):
        if len(chosen) == excess:
            break
        component = components[name]
        # Somebody who stays has to lead there.
        if kept[component] > (name in sure):
            kept[component] -= name in sure
            chosen.append(stream)
    return chosen
