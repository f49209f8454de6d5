"""Do two peers of a large network get a data path when one of them wants it?"""

from __future__ import annotations

import pytest

from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost
from weave_py.sim.network import Network


@pytest.fixture
def network() -> Network:
    """Five around one, with nobody else as neighbours, and no links but with neighbours."""
    made = Network(3, settings=EngineSettings(discovery=False, eager_links=0))
    made.mesh(6)
    made.run(5)
    return made


def want(network: Network, source: SimHost, to: SimHost) -> None:
    source.engine.link_to(to.name, network.now)
    source.carry_out()


def test_only_neighbours_have_links_unasked(network: Network) -> None:
    centre, *others = network.hosts
    assert len(list(centre.engine.links)) == 5
    for host in others:
        assert [link.peer for link in host.engine.links] == [centre.name]


@pytest.mark.parametrize("lower_wants", [True, False])
def test_a_link_on_demand_is_direct(network: Network, lower_wants: bool) -> None:
    one, other = sorted(network.hosts[1:3], key=lambda host: host.name)
    source, to = (one, other) if lower_wants else (other, one)
    want(network, source, to)
    network.run(1)
    for a, b in ((one, other), (other, one)):
        next_hop = a.way_to(b)
        assert next_hop is not None
        assert next_hop.kind == "direct"
    assert source.send_data(to.name, b"hello")
    network.run(0.1)
    assert [arrival.payload for arrival in to.arrivals] == [b"hello"]


def test_nobody_gets_a_link_to_itself_or_to_strangers(network: Network) -> None:
    host = network.hosts[1]
    want(network, host, host)
    lonely = network.add()
    want(network, host, lonely)
    network.run(2)
    assert len(list(host.engine.links)) == 1


def test_the_first_few_get_theirs_at_once() -> None:
    network = Network(3, settings=EngineSettings(discovery=False, eager_links=3))
    network.mesh(6)
    network.run(5)
    links = [len(list(host.engine.links)) for host in network.hosts]
    assert links[0] == 5, "neighbours always"
    assert all(3 <= count <= 5 for count in links[1:])
