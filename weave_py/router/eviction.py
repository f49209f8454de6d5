"""Who has to go when there are too many control connections? Eviction of the least useful.

The limit is absolute. Half of the places are reserved: for configured targets, and for those we
have been connected with longest, so whoever comes in numbers does not drive everybody else out. Of
the others go, in this order:

0. who has not told its record;
1. who came from an address, or an IPv6 /64, from which `FEW` older ones are here already;
2. who would be reached without us: new ones first, then those with the most other neighbours; the
   newcomer rather than an old one (or they would drive each other out for ever);
3. who needs us, the last that came first. Anybody can look like that, at no cost.

A few newcomers do not count for a moment: they are heard out, and so hear of others to call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, islice

from weave_py.mesh.admission import source_of
from weave_py.mesh.targets import Targets
from weave_py.mesh.topology import Topology
from weave_py.model.names import PeerName
from weave_py.router.neighbours import Neighbours, Stream

FEW = 4  # discovered connections that came in from one address, where places are rare
YOUNG = 180.0  # seconds
HEARD_OUT = 8  # newcomers at a time
HEARING = 1.0  # seconds

Neighbour = tuple[PeerName, Stream]


def too_many(
    neighbours: Neighbours,
    topology: Topology,
    targets: Targets,
    newcomer: Stream | None,
    limit: int,
    now: float,
) -> list[Stream]:
    """The streams that have to go so that `limit` neighbours are left, the least useful first; to
    be asked again after `HEARING`."""
    streams = [(name, stream) for name, stream, _ in neighbours.established()]
    if len(streams) <= limit:
        return []
    by_age = sorted(streams, key=lambda s: s[1].joined_at)
    spared = [s for s in by_age if now < s[1].joined_at + HEARING][-HEARD_OUT:]
    counted = [s for s in by_age if s not in spared]
    excess = len(counted) - limit
    silent = [s for s in counted if topology.record(s[0]) is None]
    heard = [s for s in counted if s not in silent]
    order = chain(
        (stream for _, stream in reversed(silent)),
        _in_order(heard, topology, targets, newcomer, limit, now),
    )
    return list(islice(order, max(excess, 0)))


def _in_order(
    heard: Collection[Neighbour],
    topology: Topology,
    targets: Targets,
    newcomer: Stream | None,
    limit: int,
    now: float,
) -> Iterator[Stream]:
    by_age = sorted(heard, key=lambda s: (s[1] is newcomer, s[1].joined_at, s[0]))
    by_merit = sorted(by_age, key=lambda s: not targets.leads_to(s[0]))
    places = limit // 2
    reserved, others = by_merit[:places], by_merit[places:]
    crowd = list(_crowd(others, reserved))
    yield from (stream for _, stream in reversed(crowd))
    others = [s for s in others if s not in crowd]
    needless = list(_needless(others, heard, crowd, topology, targets, newcomer, now))
    yield from (stream for _, stream in needless)
    yield from (stream for s in reversed(others) if s not in needless for stream in (s[1],))


def _crowd(others: Collection[Neighbour], reserved: Collection[Neighbour]) -> Iterator[Neighbour]:
    """Those that came in from an address from which a few older ones are here. (Oldest first.)"""
    here: Counter[str] = Counter(filter(None, (_source(stream) for _, stream in reserved)))
    for name, stream in sorted(others, key=lambda s: s[1].joined_at):
        source = _source(stream)
        if source is None:
            continue
        here[source] += 1
        if here[source] > FEW:
            yield name, stream


def _source(stream: Stream) -> str | None:
    connection = stream.connection
    if connection is None or connection.outbound:
        return None
    return source_of(connection.remote.host)


def _needless(
    others: Collection[Neighbour],
    heard: Collection[Neighbour],
    crowd: Collection[Neighbour],
    topology: Topology,
    targets: Targets,
    newcomer: Stream | None,
    now: float,
) -> Iterator[Neighbour]:
    """Those who will be reached all the same, because somebody stays who leads there."""
    ourself = topology.ourself.name
    stay = {name for name, _ in heard} - {name for name, _ in crowd}
    components = topology.components([name for name, _ in others])
    sure = set(topology.sure_neighbours(stay))
    kept = Counter(components[name] for name in sure)

    def usefulness(neighbour: Neighbour) -> tuple[bool, bool, int, bool, PeerName]:
        name, stream = neighbour
        record = topology.record(name)
        count = 0 if record is None else sum(n.name != ourself for n in record.neighbours)
        is_young = stream.joined_at + YOUNG > now
        return not targets.leads_to(name), is_young, count, stream is newcomer, name

    for name, stream in sorted(others, key=usefulness, reverse=True):
        component = components[name]
        if kept[component] > (name in sure):
            kept[component] -= name in sure
            yield name, stream
