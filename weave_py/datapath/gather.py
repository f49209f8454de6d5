"""Where does a record's ciphertext lie in a train, and how does it come into one piece?"""

from __future__ import annotations

from weave_py.wire.sleeve import MAX_SEGMENTS

MAX_SHAPES = 64


class Gatherer:
    """Gathers records out of the buffer that trains are received into.

    What lies between two headers is a view. Making 43 of them took a tenth of the time a router
    spends on receiving, so they are kept, by how the train was cut: that hardly ever changes.
    """

    __slots__ = ("_bodies", "_view")

    def __init__(self, view: memoryview) -> None:
        """`view`: of the whole buffer."""
        self._view = view
        self._bodies: dict[tuple[int, int], list[memoryview]] = {}

    def gather(
        self, at: int, size: int, body: int, count: int, sealed_bytes: int
    ) -> memoryview | bytes:
        """A record's ciphertext: pieces of `body` bytes from `at` on, `size` bytes from one to
        the next, `count` in all, of which the last is as long as `sealed_bytes` in all says."""
        view = self._view
        if count == 1:
            return view[at : at + sealed_bytes]
        rest = sealed_bytes - (count - 1) * body
        if at > size:  # not the first record of its train: seldom so large that it matters
            pieces = [view[i : i + body] for i in range(at, at + (count - 1) * size, size)]
        else:
            pieces = (self._bodies.get((at, size)) or self._cut(at, size, body))[: count - 1]
        last = at + (count - 1) * size
        pieces.append(view[last : last + rest])
        return b"".join(pieces)

    def _cut(self, at: int, size: int, body: int) -> list[memoryview]:
        view = self._view
        if len(self._bodies) >= MAX_SHAPES:
            self._bodies.clear()
        # No record has more; tiny datagrams, which anybody can send, would make thousands.
        end = min(len(view) - body + 1, at + MAX_SEGMENTS * size)
        bodies = [view[i : i + body] for i in range(at, end, size)]
        self._bodies[at, size] = bodies
        return bodies
