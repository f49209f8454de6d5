"""Which routes are there, and which of them is asked for?

An application is a value: routes, declared by whoever owns them, and a guard. The server knows
none of them. No two routes may take the same request, so their order means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from weave_py.api.guard import Guard, Hosts, refuse_foreign_pages, refuse_type
from weave_py.api.request import Request
from weave_py.api.response import Refusal, text
from weave_py.api.route import Route, nothing_here, split_untrusted


class Application:
    """Routes, composed; ValueError if two of them would take the same request."""

    def __init__(self, routes: Iterable[Route], guard: Guard = refuse_foreign_pages) -> None:
        self.routes = tuple(routes)
        self._guard = guard
        for number, route in enumerate(self.routes):
            for other in self.routes[:number]:
                if route.overlaps(other):
                    raise ValueError(
                        f"{route.method} {route.pattern} and {other.pattern} take the same requests"
                    )

    def read_only(self) -> Application:
        """The part of it that changes nothing."""
        return Application((route for route in self.routes if route.method == "GET"), self._guard)

    def find(self, request: Request, hosts: Hosts) -> Found:
        """Who answers a request, by its head; Refusal if nobody does.

        `hosts`: which `Host` values mean the listener it came to.
        """
        if refusal := self._guard(request, hosts):
            raise Refusal(refusal)
        path = split_untrusted(request.path)
        routes = {route.method: route for route in self.routes if route.takes(path)}
        if not routes:
            raise Refusal(nothing_here())
        route = routes.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            methods = ["GET, HEAD" if method == "GET" else method for method in sorted(routes)]
            allowed = ", ".join(methods)
            raise Refusal(
                text(
                    HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}", ("Allow", allowed)
                )
            )
        if refusal := refuse_type(request, route.limits.content_types):
            raise Refusal(refusal)
        return Found(route, route.values(path))


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request, and the values of its path's parameters."""

    route: Route
    values: Mapping[str, object]
