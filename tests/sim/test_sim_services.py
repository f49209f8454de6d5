"""Does a service work in a whole network: under loss, over a partition, after deaths and restarts?

The service is the toy of tests/kit/counter_service.py; what it uses is what all will use.
"""

from __future__ import annotations

import pytest

from tests.kit.counter_service import Add, Ask, CounterService
from weave_py.model.names import PeerName
from weave_py.sim.host import SimHost
from weave_py.sim.network import Network
from weave_py.sim.underlay import Wire


def network(seed: int, default: Wire | None = None) -> Network:
    return Network(seed, default=default, services=lambda: [CounterService()])


def counters(host: SimHost) -> dict[PeerName, int]:
    service = host.engine.service("counter")
    assert isinstance(service, CounterService)
    return service.snapshot(0.0)


def ask(net: Network, host: SimHost, ticket: int, what: object) -> None:
    host.engine.request("counter", ticket, what, net.now)
    host.carry_out()


def agree(hosts: list[SimHost], expected: dict[PeerName, int]) -> bool:
    return all(counters(host) == expected for host in hosts)


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.slow)])
def test_many_under_loss_and_a_partition(count: int) -> None:
    net = network(5, Wire(loss=0.02))
    hosts = net.mesh(count)
    net.run(5)
    for number, host in enumerate(hosts):
        ask(net, host, 1, Add(number))
    net.run(5)
    expected = {host.name: number for number, host in enumerate(hosts)}
    assert agree(hosts, expected)
    one, other = hosts[: count // 3], hosts[count // 3 :]
    net.partition(one, other)
    net.run(4)
    for half in (one, other):
        ask(net, half[0], 2, Add(1000))
        expected[half[0].name] += 1000
    net.run(5)
    # Each half goes on: it knows its own news, and the other half's as they were.
    assert counters(one[5])[one[0].name] == 1000
    assert counters(other[5])[one[0].name] == 0
    net.partition(one, other, up=True)
    for _ in range(40):
        if agree(hosts, expected):
            break
        net.run(1)
    assert agree(hosts, expected)


def test_a_reply_comes_when_it_is_on_disk_and_a_restart_forgets_nothing() -> None:
    net = network(6)
    hosts = net.mesh(4)
    net.run(3)
    ask(net, hosts[1], 7, Add(5))
    assert hosts[1].replies == {7: 5}
    assert hosts[1].kept["counter"] == 5
    net.kill(hosts[1])
    net.run(1)
    again = net.restart(hosts[1], hosts[0])
    net.run(3)
    assert all(counters(host)[again.name] == 5 for host in net.alive)
    ask(net, again, 8, Add(1))
    assert again.replies == {8: 6}


def test_who_asks_gets_an_answer_in_person_however_many_hops_away() -> None:
    net = network(7, Wire(loss=0.05))
    hosts = net.chain(5)
    net.run(8)
    ask(net, hosts[4], 1, Add(9))
    ask(net, hosts[0], 3, Ask(hosts[4].name))
    net.run(5)
    assert hosts[0].replies == {3: 9}


def test_who_asks_the_dead_hears_so_in_the_end_and_who_hung_up_hears_nothing() -> None:
    net = network(8)
    hosts = net.mesh(3)
    net.run(3)
    net.vanish(hosts[2])
    ask(net, hosts[0], 1, Ask(hosts[2].name))
    ask(net, hosts[0], 2, Ask(hosts[2].name))
    hosts[0].engine.cancel_request("counter", 2, net.now)
    net.run(90)
    assert hosts[0].replies == {1: None}
    assert hosts[2].name not in counters(hosts[0])


def test_who_does_not_run_the_service_carries_it() -> None:
    net = network(9)
    left, middle, right = net.add(), net.add(runs_services=False), net.add()
    net.cut(left, right)
    net.call(left, middle)
    net.call(right, middle)
    net.run(5)
    ask(net, left, 1, Add(3))
    net.run(5)
    assert counters(right) == {left.name: 3, right.name: 0}
    ask(net, right, 1, Ask(left.name))
    net.run(3)
    assert right.replies == {1: 3}


def test_who_has_never_heard_of_the_service_is_not_told_of_it() -> None:
    """An older version between two newer ones: it is in their way, but nothing breaks."""
    net, plain = network(10), Network(11)
    plain.underlay = net.underlay
    left, right = net.add(), net.add()
    net.cut(left, right)
    middle = plain.add(address="10.9.9.9")
    net.call(left, middle.address)
    net.call(right, middle.address)
    net.run(5)
    ask(net, left, 1, Add(3))
    net.run(5)
    assert counters(right) == {right.name: 0}
    assert left.engine.topology.record(right.name) is not None
    assert not middle.events("record refused")


def test_what_a_router_published_goes_when_it_comes_back_without_the_service() -> None:
    """Its name is never forgotten, as it is there; but it has no word on the channel any more, so
    what its earlier life published stayed with all for ever, as if it still held. Records are bound
    to the life that the topology tells of (as unicasts are, by its uid): they are void as soon as
    the new life is known, in whatever order things come."""
    net = network(8)
    hosts = net.mesh(4)
    net.run(3)
    ask(net, hosts[1], 7, Add(5))
    net.run(3)
    net.kill(hosts[1])
    net._services = list
    net.restart(hosts[1], hosts[0])
    net.run(120)
    assert hosts[1].name not in counters(hosts[2])


def test_many_restarts_at_once_leave_the_latest_lives_word_everywhere() -> None:
    """A record may come before the topology record of the life that signed it: then whoever told of
    it is asked again, soon and not when its turn comes."""
    net = network(12, Wire(loss=0.02))
    hosts = net.mesh(30)
    net.run(5)
    for number, host in enumerate(hosts):
        ask(net, host, 1, Add(1 + number))
    net.run(5)
    dead = hosts[1::3]
    for host in dead:
        net.kill(host)
    net.run(1)
    again = [net.restart(host, hosts[0]) for host in dead]
    silent, *others = again
    net.kill(silent)
    net._services = list
    net.restart(silent, hosts[0], incarnation=3)
    expected = {host.name: 1 + number for number, host in enumerate(hosts)}
    del expected[silent.name]
    net.run(1)
    for host in others:
        ask(net, host, 2, Add(100))
        expected[host.name] += 100
    told = [host for host in net.alive if host.name != silent.name]
    for _ in range(15):
        net.run(1)
        if agree(told, expected):
            break
    assert agree(told, expected)
    assert not any(host.events("record refused") for host in told)
