"""Identities are free: what do N of them behind one member cost the others? (F5)

Every budget is charged to the neighbour that introduced what it is spent on. So honest routers
keep what they have with each other, newcomers get in, and what is held and computed is bounded;
and a large honest network notices none of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.kit.member import Member, signed_pair
from tests.kit.simulation import Simulation
from weave_py.mesh.gossip.introducers import IntroducerQuota
from weave_py.mesh.gossip.replicator import WORK, WORK_PER_SECOND
from weave_py.mesh.targets import TargetSettings
from weave_py.mesh.topology import TopologySettings
from weave_py.router.settings import EngineSettings
from weave_py.sim.host import SimHost
from weave_py.wire.gossip import RecordKey, Summary, encode_gossip, record_key
from weave_py.wire.messages import Gossip

QUOTA = IntroducerQuota(records=60, bytes=400_000, all_records=300, all_bytes=2_000_000)
SMALL = EngineSettings(topology=TopologySettings(quota=QUOTA))


def start(settings: EngineSettings = SMALL, count: int = 4) -> tuple[Simulation, list[SimHost]]:
    simulation = Simulation(7, settings=settings)
    hosts = simulation.mesh(count)
    simulation.run_until(simulation.is_full_mesh, within=5)
    simulation.run(3)
    return simulation, hosts


def reaches(host: SimHost, others: Sequence[SimHost]) -> bool:
    return {other.name for other in others} <= host.engine.topology.routes.hops.keys()


def test_what_a_member_makes_up_is_held_and_looked_at_within_its_quota() -> None:
    """F5a, F5b: records of many identities, as large as may be, and newer ones again and again."""
    simulation, hosts = start()
    member = Member(simulation)
    member.join(hosts[0])
    simulation.run(1)
    began = simulation.now
    flows = [simulation.flow(a, b) for a in hosts for b in hosts if a is not b]
    before = [h.engine.topology.routes.version for h in hosts]
    looked_at = [h.engine.gossip.looked_at for h in hosts]
    for version in range(1, 11):
        member.tell(member.invented(hosts[0], 400, 30, version))
        simulation.run(0.5)
    for host in hosts:
        ledger = host.engine.topology.introducers
        for neighbour in host.engine.neighbours.names():
            records, size = ledger.usage(neighbour)
            assert records <= max(QUOTA.records, QUOTA.all_records // 3)
            assert size <= max(QUOTA.bytes, QUOTA.all_bytes // 3)
        assert len(host.engine.topology) <= QUOTA.all_records + len(host.engine.neighbours)
    spent = simulation.now - began
    for host, routes, looks in zip(hosts, before, looked_at, strict=True):
        assert host.engine.topology.routes.version - routes <= spent / 0.1 + 1
        most = (WORK + WORK_PER_SECOND * spent) * len(host.engine.neighbours)
        assert host.engine.gossip.looked_at - looks <= most
    first = hosts[0].engine.topology
    assert first.quarantined > 1000, "most of it was refused"
    newcomer = simulation.add(hosts[1])
    simulation.run_until(lambda: reaches(newcomer, hosts), within=3)
    simulation.run_until(lambda: all(newcomer.way_to(host) is not None for host in hosts), within=5)
    assert all(flow.longest_gap(began) < 0.3 for flow in flows)
    assert not any(host.events("connection ended", since=began) for host in hosts)
    assert len([e for e in hosts[0].log if "refused" in e.event]) < 60, "nor is the log a way in"


def test_an_honest_record_gets_in_though_everything_is_full() -> None:
    """F5a: the newest of whoever brought most makes room for who has its share to spare."""
    simulation, hosts = start()
    members = []
    for number in range(4):
        member = Member(simulation, f"10.66.0.{number + 1}")
        member.join(hosts[number])
        members.append(member)
    for _ in range(3):
        for member, host in zip(members, hosts, strict=True):
            member.tell(member.invented(host, 150, 2))
        simulation.run(3)
    assert len(hosts[0].engine.topology.introducers) > 0.8 * QUOTA.all_records
    began = simulation.now
    newcomer = simulation.add(hosts[1])
    for other in hosts:
        if other is not hosts[1]:
            simulation.cut(newcomer, other)
    simulation.run_until(lambda: all(reaches(h, [newcomer]) for h in hosts), within=15)
    assert not any(host.events("connection ended", since=began) for host in hosts)


@pytest.mark.parametrize("rate", [64_000, 256_000])
def test_a_slow_stream_syncs_without_being_cut(rate: int) -> None:
    """F5b: an answer of more than 4 MiB was queued at once, and the connection ended for it; so a
    newcomer was cut 16 times before it was in."""
    settings = EngineSettings(eager_links=0)
    simulation, hosts = start(settings, count=3)
    member = Member(simulation)
    member.join(hosts[0])
    for at in range(3):
        member.tell(member.invented(hosts[0], 400, 220, version=1 + at))
        simulation.run(2)
    held = hosts[1].engine.topology.introducers.bytes
    assert held > 4_000_000, "as large as a stream's queue"
    newcomer = simulation.add()
    for host in hosts:
        simulation.wire(newcomer, host).rate = rate
        if host is not hosts[1]:
            simulation.cut(newcomer, host)
    began = simulation.now
    simulation.call(newcomer, hosts[1])
    waiting = 0.0
    while simulation.now < began + 1.5 * held / rate + 20:
        simulation.run(0.5)
        ends = [*newcomer.streams.values(), *hosts[1].streams.values()]
        waiting = max(waiting, *(end.waiting for end in ends))
        mine = newcomer.engine.topology
        if set(mine.names) | {newcomer.name} >= set(hosts[1].engine.topology.names):
            break
    assert reaches(newcomer, hosts)
    assert len(newcomer.engine.topology) >= len(hosts[1].engine.topology) - 1
    assert not newcomer.events("connection ended")
    assert not hosts[1].events("connection ended", since=began)
    assert waiting < 300_000, "what waits in the stream is a few messages"


def test_who_asks_and_does_not_read_makes_nothing_wait_but_names() -> None:
    """F5b: questions are cheap, and answers are only made as they are taken."""
    simulation, hosts = start(EngineSettings(eager_links=0), count=3)
    member = Member(simulation)
    member.join(hosts[0])
    member.tell(member.invented(hosts[0], 300, 200))
    simulation.run(2)
    greedy = Member(simulation, "10.67.0.1")
    greedy.join(hosts[1])
    simulation.underlay.wire(greedy.address, hosts[1].address).rate = 1000.0
    keys: list[RecordKey] = [record_key(name) for name in hosts[1].engine.topology.names]
    question = Gossip("topology", encode_gossip(Summary(bytes(range(64)), (), tuple(keys))))
    end = next(e for e in hosts[1].streams.values() if e.other.host is greedy)
    simulation.underlay.wire(greedy.address, hosts[1].address).rate = 0.0
    greedy.say(*[question] * 200)
    simulation.underlay.wire(greedy.address, hosts[1].address).rate = 20_000.0
    for _ in range(20):
        simulation.run(0.25)
        assert end.waiting < 300_000
    assert not hosts[1].events("connection ended", since=simulation.now - 5)


def test_ports_are_shared_by_branch_and_a_newcomer_gets_its_own() -> None:
    """F5c: 1,000 identities of one member took all ports, and a newcomer got none. (The fakes are
    real routers here: each holds sessions with everybody.)"""
    settings = EngineSettings(max_ports=40, max_links=60)
    simulation, hosts = start(settings, count=4)
    member = simulation.add(hosts[0])
    simulation.run(1)
    fakes = []
    for _ in range(60):
        fake = simulation.add(member)
        for host in hosts:
            simulation.cut(fake, host)
        fakes.append(fake)
    began = simulation.now
    simulation.run(8)
    assert all(len(host.egresses) <= 40 for host in hosts)
    newcomer = simulation.add(hosts[0])
    for other in (*hosts[1:], member, *fakes):
        simulation.cut(newcomer, other)
    simulation.run_until(lambda: all(newcomer.name in host.egresses for host in hosts), within=5)
    friend = simulation.add(hosts[1])
    for fake in fakes:
        simulation.cut(friend, fake)
    simulation.run_until(lambda: all(friend.name in h.egresses for h in hosts), within=5)
    names = {host.name for host in hosts}
    addresses = {name.hex(":") for name in names}
    for host in hosts:
        assert names - {host.name} <= host.egresses.keys(), "nobody honest has lost its port"
        ended = host.events("connection ended", since=began)
        assert not [e for e in ended if str(e.fields.get("peer")).split("(")[0] in addresses]


def test_many_connections_from_one_address_do_not_drive_neighbours_out() -> None:
    """F5d: 260 connections from one address threw out all of 30 honest neighbours."""
    settings = EngineSettings(conn_limit=20)
    simulation, hosts = start(settings, count=12)
    victim = hosts[0]
    names = {host.name for host in hosts[1:]}
    assert names <= victim.engine.neighbours.names()
    members = []
    for number in range(60):
        member = Member(simulation)
        member.call(victim)
        simulation.run(0.2)
        member.tell([signed_pair(member.identity, [victim.name], uid=7 + number)])
        members.append(member)
        assert len(victim.engine.neighbours) <= 20 + 8
    simulation.run(2)
    assert len(victim.engine.neighbours) <= 20
    assert names <= victim.engine.neighbours.names(), "honest neighbours stay"
    newcomer = simulation.add(victim)
    simulation.run_until(lambda: reaches(newcomer, hosts), within=5)
    simulation.run(5)
    assert reaches(newcomer, hosts)


def test_no_honest_connection_ends_in_favour_of_identities_that_have_just_come() -> None:
    """F5e: honest routers ended their connections with each other, until some were islands among
    fakes; when those vanished so did the network."""
    target = TargetSettings(full_mesh_up_to=8, trim_above=16, known_after=60.0)
    simulation = Simulation(3, settings=EngineSettings(target=target))
    honest = simulation.mesh(14)
    simulation.run(20)
    names = {host.name for host in honest}

    def among_themselves() -> dict[str, int]:
        return {h.engine.nickname: len(h.engine.neighbours.names() & names) for h in honest}

    before = among_themselves()
    fakes = []
    for number in range(40):
        fakes.append(simulation.add(honest[number % len(honest)]))
        if number % 8 == 7:
            simulation.run(0.5)
    simulation.run(30)
    after = among_themselves()
    assert all(after[nick] >= before[nick] for nick in before), (before, after)
    simulation.run(60)
    later = among_themselves()
    assert min(later.values()) >= target.kept_longest, "and those known longest are kept for ever"
    for fake in fakes:
        simulation.vanish(fake)
    simulation.run(6)
    assert all(reaches(host, honest) for host in honest)


@pytest.mark.parametrize("peers", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_large_honest_network_notices_no_budget(peers: int) -> None:
    """F5a: started at once; and all of it behind one neighbour."""
    simulation = Simulation(5, settings=EngineSettings(eager_links=0))
    hosts = simulation.mesh(peers)
    simulation.run_until(simulation.all_reachable, within=60, step=0.5)
    last = simulation.add()
    for host in hosts[1:]:
        simulation.cut(last, host)
    simulation.call(last, hosts[0])
    simulation.run_until(lambda: reaches(last, hosts), within=10, step=0.25)
    simulation.run(5)
    for host in (*hosts, last):
        engine = host.engine
        assert engine.gossip.put_off == 0
        assert engine.topology.quarantined == 0, host.log[-3:]
        assert len(engine.topology) == peers
        assert not host.events("topology record refused")
    assert last.engine.topology.introducers.usage(hosts[0].name)[0] == peers - 1


def test_messages_for_somebody_behind_a_slow_stream_get_lost_and_do_not_end_it() -> None:
    """F5b: what others send through us may get lost, the connection that it would go by may not."""
    simulation = Simulation(6)
    one, middle, other = simulation.chain(3)
    simulation.run_until(simulation.all_reachable, within=10)
    simulation.run(5)
    simulation.wire(middle, other).rate = 20_000.0
    began = simulation.now
    for _ in range(20):
        for _ in range(400):
            simulation.unicast(one, other.name, bytes(1000), 5)
        simulation.run(0.5)
        assert all(end.waiting < 1_000_000 for end in middle.streams.values())
    assert middle.engine.unicasts_undeliverable > 4000
    assert not middle.events("connection ended", since=began)
    simulation.run(60)
    assert all(end.waiting == 0 for end in middle.streams.values())
    simulation.unicast(one, other.name, bytes(1000), 5)
    assert simulation.all_reachable()
