"""How is something divided fairly among peers that may be made up? By branch of the mesh.

Peers cost nothing, but they hang on the mesh by the few connections that whoever makes them up has
got: in the tree of shortest ways they are all one branch, whatever they say of each other. So what
there is is divided equally among our neighbours, what a neighbour gets among those behind it, and
so on. Who comes where nobody has had much is entitled to a share, however many there are elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from weave_py.model.names import PeerName

Way = Sequence[PeerName]
"""From a neighbour of ours to a peer, both included."""
_ROOT = PeerName(b"")


class Branches:
    """The ways to those who have something."""

    def __init__(self, ways: Iterable[Way]) -> None:
        self._shared: Counter[PeerName] = Counter()
        """How many of the ways lead over each peer, or to it."""
        self._below: dict[PeerName, set[PeerName]] = {}
        for way in ways:
            self._shared.update(way)
            for above, name in zip((_ROOT, *way), way, strict=False):
                self._below.setdefault(above, set()).add(name)

    def is_entitled(self, way: Way, total: int, is_whole: bool = True) -> bool:
        """Whether, of `total` that there are, none of the branches on this way has had its share.
        Who cannot be reached is not. A share is always left for one branch more, but among our own
        neighbours (where these are all ways, `is_whole`): there may be only one for good."""
        share, above = float(total), _ROOT
        for name in way:
            branches = len(self._below.get(above, ())) + (name not in self._shared)
            share /= branches if is_whole and above == _ROOT else branches + 1
            if self._shared[name] >= share:
                return False
            above = name
        return bool(way)

    def largest(self) -> PeerName:
        """Where the ways first divide: the peer that most of them lead over."""
        name = _ROOT
        while below := self._below.get(name):
            name = max(below, key=lambda n: (self._shared[n], n))
            if len(below) > 1:
                break
        return name
