"""Which way does the kernel send to an address? What it has said so far, and what to ask it.

Nothing is sent to an address before the kernel has said by which device it would leave: through
the inner network it would travel inside our own frames, and the way to a peer would be one that
it makes itself. As routes change, the kernel is asked again about all that is in the book.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from weave_py.model.underlay import NO_ROUTE, Route

MOST = 1 << 17  # addresses; of more those are forgotten, and asked about anew, that came first


class Learned(NamedTuple):
    """What an answer of the kernel's has changed."""

    fresh: tuple[str, ...]
    """Addresses about which nothing was known."""
    altered: tuple[str, ...]
    """Those to which another way leads now."""
    entered: tuple[str, ...]
    """Those that turn out to be inside the inner network."""
    moved: bool
    """Whether some are inside, or this very host, that were not, or the other way round."""


class RouteBook:
    """Routes by the address that they lead to."""

    def __init__(self, is_asked: bool) -> None:
        """`is_asked`: whether somebody asks the kernel. If not, every way is fine, and none is
        known."""
        self._is_asked = is_asked
        self._routes: dict[str, Route] = {}
        self._questions: dict[str, None] = {}

    # --- in ------------------------------------------------------------------------------

    def may_send(self, host: str) -> bool:
        """Whether datagrams may go there; if nothing is known yet they may not, and it is asked."""
        if not self._is_asked:
            return True
        route = self._routes.get(host)
        if route is None:
            self._questions[host] = None
            return False
        return not route.inside

    def learn(self, found: Mapping[str, Route]) -> Learned:
        """The kernel has answered."""
        fresh, altered, entered = [], [], []
        moved = False
        for host, route in found.items():
            known = self._routes.get(host)
            if known is None:
                fresh.append(host)
            elif known != route:
                altered.append(host)
            old = known or NO_ROUTE
            moved |= (old.inside, old.here) != (route.inside, route.here)
            if route.inside and not old.inside:
                entered.append(host)
            self._routes[host] = route
        for host in list(self._routes)[: max(len(self._routes) - MOST, 0)]:
            del self._routes[host]
        return Learned(tuple(fresh), tuple(altered), tuple(entered), moved)

    def keep(self, hosts: Collection[str]) -> None:
        """Forget all others."""
        self._routes = {host: route for host, route in self._routes.items() if host in hosts}

    # --- out -----------------------------------------------------------------------------

    def take_questions(self) -> tuple[str, ...]:
        """About which addresses the kernel is to be asked."""
        taken, self._questions = tuple(self._questions), {}
        return taken

    def get(self, host: str) -> Route | None:
        return self._routes.get(host)

    def source(self, host: str) -> str | None:
        """Our address on the way there, if known."""
        route = self._routes.get(host)
        return None if route is None else route.source

    def is_inside(self, host: str) -> bool:
        """Whether it is known to be reached through the inner network."""
        route = self._routes.get(host)
        return route is not None and route.inside
