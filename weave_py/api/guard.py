"""Whom does the API not answer, whatever is asked? Web pages that are not ours.

The API has no login: whoever reaches it may use it. Browsers reach it on behalf of any web page,
so:

* a page of another name (DNS rebinding) is told by its `Host`;
* calls that change something carry no `Origin`, `Referer` or `Sec-Fetch-Site`: browsers send at
  least one of them with every such request, command line tools none;
* nor may they carry a body of a type the route does not expect;
* reading is refused to a page that says it is foreign (`Origin`, `Sec-Fetch-Site`), except where a
  person follows a link. No CORS header is ever sent, so an older browser's foreign page that does
  get an answer cannot read it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from weave_py.api.request import Request
from weave_py.api.response import Response, text

SAFE_METHODS = ("GET", "HEAD")
BROWSER_HEADERS = ("origin", "referer", "sec-fetch-site")

Hosts = frozenset[str] | None
"""The `Host` values that mean us (`allowed_hosts`); None, any: no browser gets to a unix socket."""
Guard = Callable[[Request, Hosts], Response | None]
"""Why a request is not to be answered, by its head; None if it is."""


def refuse_foreign_pages(request: Request, hosts: Hosts) -> Response | None:
    """The Guard of all that browsers can reach."""
    if hosts is not None and (request.header("host") or "").lower() not in hosts:
        return text(
            HTTPStatus.FORBIDDEN,
            "the Host header names another server: use the address we listen on, or localhost",
        )
    if request.method in SAFE_METHODS:
        return _foreign_reader(request, hosts)
    for name in BROWSER_HEADERS:
        if request.header(name) is not None:
            return text(
                HTTPStatus.FORBIDDEN,
                f"this changes the router and is not for web pages: the {name} header is set",
            )
    return None


def refuse_type(request: Request, types: frozenset[str] | None) -> Response | None:
    """Why the body that is announced is not to be read; `types`: as in Limits."""
    if types is None or not request.announces_body or request.media_type in types:
        return None
    known = " or ".join(sorted(types - {""}))
    return text(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the body as {known}")


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """The `Host` values of requests meant for a listener at this address.

    A web page can only bring a name it was loaded from; loopback's names are never such.
    """
    names = {f"[{host}]" if ":" in host else host, "localhost", "127.0.0.1", "[::1]"}
    return frozenset(names | {f"{name}:{port}" for name in names})


def _foreign_reader(request: Request, hosts: Hosts) -> Response | None:
    origin, site = request.header("origin"), request.header("sec-fetch-site")
    is_link = (request.header("sec-fetch-mode"), request.header("sec-fetch-dest")) == (
        "navigate",
        "document",
    )
    ours = {f"http://{host}" for host in hosts or ()}
    if origin in (None, *ours) and (site in (None, "same-origin", "none") or is_link):
        return None
    return text(HTTPStatus.FORBIDDEN, "this is not for other servers' web pages")
