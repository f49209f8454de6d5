"""Who hears which channel, and what may a channel be called?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.builders import hello, identity, membership, tokens
from tests.kit.counter_service import CounterService
from weave_py.model.names import PeerUID
from weave_py.router.engine import TARGETS, Engine
from weave_py.router.session_channel import SESSION
from weave_py.router.topology_channel import TOPOLOGY

NOW = 10.0


def engine(service: CounterService) -> Engine:
    return Engine(
        identity(1),
        membership(None),
        uid=PeerUID(1),
        incarnation=1,
        nickname="peer1",
        port=6783,
        suites=[1],
        token_bytes=tokens(1),
        now=NOW,
        services=[service],
    )


def test_a_peer_that_comes_back_without_a_channel_is_told_nothing_of_it() -> None:
    """When a peer restarts, its new connection takes the place of the old one: it joins again, and
    never leaves. What it announces then is what counts; we went on gossiping of a channel that it
    had before."""
    ours, theirs = engine(CounterService()), hello(2)
    channel = ours._records["counter"]
    ours.neighbour_joined(replace(theirs, channels=("counter",)), NOW)
    assert channel._neighbours == {theirs.name}
    ours.neighbour_joined(replace(theirs, channels=()), NOW)
    assert not channel._neighbours
    channel.take_messages()
    channel.records.publish(3, b"news")
    channel._gossip.compare([theirs.name])
    assert channel.take_messages() == []


@pytest.mark.parametrize("name", [TOPOLOGY, SESSION, TARGETS, "ä" * 17, ""])
def test_a_service_cannot_take_a_name_of_the_routers_own(name: str) -> None:
    """A service called "topology" took the place of the topology, in silence; what one called
    "targets" keeps would have been written to the router's own state file."""
    service = CounterService()
    service.name = name
    with pytest.raises(ValueError, match="channel"):
        engine(service)
