"""Which services does a router run, and how do people and programs reach them?

One line each, here: no discovery. What a service is, is `mesh.service`'s to say; in the daemon it
also has routes of the control API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weave_py.api.route import Route
from weave_py.api.waiting import Asker
from weave_py.config.resolve import Config
from weave_py.mesh.service import Service
from weave_py.runtime.pump import Pump


class Requests:
    """How the routes of one service put questions to it."""

    def __init__(self, name: str, pump: Pump, replies: Asker) -> None:
        self._name = name
        self._pump = pump
        self._replies = replies

    async def ask(self, request: object) -> object:
        """The service's reply; whoever is cancelled while waiting has asked nothing any more."""
        engine = self._pump.engine
        return await self._replies.ask(
            lambda ticket: self._pump.tell(engine.request, self._name, ticket, request),
            lambda ticket: self._pump.tell(engine.cancel_request, self._name, ticket),
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """A service as the daemon runs it."""

    make: Callable[[Config], Service]
    routes: Callable[[Requests], Sequence[Route]] = lambda requests: ()


OFFERS: tuple[Offer, ...] = ()
"""Those of every router."""
