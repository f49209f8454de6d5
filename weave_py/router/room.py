"""Who has to go when there are too many control connections? The least useful ones."""

from __future__ import annotations

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
    order = {s[2]: s[3] for s in sorted(spare, key=lambda s: s[:3], reverse=True)}
    while order:
        # All those that go have to be reached through those that stay, not through each other.
        chosen = list(order)[:excess]
        safe = topology.reachable_without(chosen)
        if len(safe) == len(chosen):
            return [order[name] for name in chosen]
        for name in chosen:
            if name not in safe:
                del order[name]
    return []
