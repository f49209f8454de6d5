"""Is nothing sent before the kernel has said which way, and never through the inner network?"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from weave_py.link import route_book
from weave_py.link.route_book import RouteBook
from weave_py.model.underlay import NO_ROUTE, Route

HOSTS = [f"10.0.0.{n}" for n in range(6)]
routes = st.one_of(
    st.just(NO_ROUTE),
    st.builds(Route, st.just("10.0.0.100"), st.booleans()),
    st.just(Route("10.0.0.100", here=True)),
)


class Books(RuleBasedStateMachine):
    """t02, t03: the kernel's last word counts, and what it has not been asked it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.book = RouteBook(is_asked=True)
        self.known: dict[str, Route] = {}
        self.asked: set[str] = set()

    @rule(host=st.sampled_from(HOSTS))
    def want(self, host: str) -> None:
        may = self.book.may_send(host)
        route = self.known.get(host)
        assert may == (route is not None and not route.inside)
        if route is None:
            self.asked.add(host)

    @rule()
    def take(self) -> None:
        assert set(self.book.take_questions()) == self.asked
        self.asked.clear()

    @rule(found=st.dictionaries(st.sampled_from(HOSTS), routes))
    def answer(self, found: dict[str, Route]) -> None:
        learned = self.book.learn(found)
        assert set(learned.fresh) == found.keys() - self.known.keys()
        changed = {h for h, r in found.items() if h in self.known and self.known[h] != r}
        assert set(learned.altered) == changed
        assert set(learned.entered) == {
            h for h, r in found.items() if r.inside and not self.known.get(h, NO_ROUTE).inside
        }
        self.known |= found

    @invariant()
    def shows_what_it_knows(self) -> None:
        for host in HOSTS:
            route = self.known.get(host)
            assert self.book.get(host) == route
            assert self.book.source(host) == (route.source if route else None)
            assert self.book.is_inside(host) == (route is not None and route.inside)


TestBooks = Books.TestCase


def test_where_nobody_asks_every_way_is_fine() -> None:
    book = RouteBook(is_asked=False)
    assert book.may_send("10.0.0.1")
    assert book.take_questions() == ()


def test_the_book_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_book, "MOST", 4)
    book = RouteBook(is_asked=True)
    hosts = [f"10.0.0.{n}" for n in range(9)]
    for host in hosts:
        book.learn({host: NO_ROUTE})
    assert [host for host in hosts if book.get(host)] == hosts[5:]
    assert not book.may_send(hosts[0]), "it is asked about again"
    book.keep(hosts[7:])
    assert [host for host in hosts if book.get(host)] == hosts[7:]
