"""How long does each fault last for the user? Eight hosts on one network, much broken at once.

Three acts on one mesh: wires that misbehave (each between another pair of hosts, all at the same
time), hosts that fail (four at the same time), and a network that falls in two. Pings run all the
while; each test looks at one fault and prints what it cost (`pytest -rP`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import pytest

from tests.kit import answering_paths
from tests.kit.pinging import INTERVAL, Pinging
from tests.kit.routers import bring_up, events
from tests.kit.standstills import MACHINE, clock
from tests.kit.waiting import until
from weave_py.lab.faults import Fault
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh, overlay_address
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build, container_of

HOSTS = 8
DEAD_SECONDS = 3.5
"""A neighbour is missed after 3 s; its timer may be late, and its end must be logged."""
DETOUR_SECONDS = 3.5


class Outcome(NamedTuple):
    outage: float
    """Seconds without an answer, at worst."""
    noticed: float | None = None
    """Seconds until the last of those concerned knew it."""
    back: float | None = None
    """Seconds until it worked as before, once the cause was gone."""
    more: str = ""

    def show(self, fault: str) -> None:
        parts = [f"{fault}: nothing got through for {self.outage:.2f} s"]
        if self.noticed is not None:
            parts.append(f"noticed after {self.noticed:.2f} s")
        if self.back is not None:
            parts.append(f"as before {self.back:.2f} s after the cause was gone")
        print("; ".join([*parts, *filter(None, [self.more])]))


class Act:
    """The mesh and what breaks it; faults of several threads, one table of rules."""

    def __init__(self, mesh: LabMesh, directory: Path) -> None:
        self.mesh = mesh
        self.lab = mesh.lab
        self._directory = directory
        self._lock = Lock()
        self._count = 0

    def pinging(self, source: str, target: str, *options: str) -> Pinging:
        with self._lock:
            self._count += 1
            log = self._directory / f"ping{self._count}"
        address = overlay_address(container_of(target))
        return Pinging(self.lab, container_of(source), address, log, options)

    def broken(self, make: Callable[[], tuple[Fault, ...]]) -> tuple[Fault, ...]:
        with self._lock:
            return make()

    def heal(self, faults: tuple[Fault, ...]) -> None:
        with self._lock:
            self.lab.heal(*faults)

    def kind(self, one: str, other: str) -> tuple[str, str]:
        """Of the paths between two, in both directions."""
        return (
            answering_paths.path_kinds(self.mesh[one]).get(other, "none"),
            answering_paths.path_kinds(self.mesh[other]).get(one, "none"),
        )

    def wait_kind(self, one: str, other: str, wanted: str, seconds: float) -> None:
        both = (wanted, wanted)
        until(lambda: self.kind(one, other) == both, seconds, f"{one}, {other}: {wanted}")


@pytest.fixture(scope="module")
def act(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Act]:
    directory = tmp_path_factory.mktemp("faults")
    options = LaunchOptions(password="much is broken", fastdp=False)
    lab = Lab(build("full", HOSTS), offload=False)
    with lab, LabMesh(lab, directory, options) as mesh:
        mesh.launch()
        bring_up(mesh)
        wait_whole(mesh, 20)
        yield Act(mesh, directory)


def wait_whole(mesh: LabMesh, seconds: float) -> float:
    """Until all have direct paths to all."""
    since = clock()

    def is_whole(host: Host) -> bool:
        with suppress(OSError):  # it may just be starting
            kinds = answering_paths.path_kinds(host)
            return len(kinds) == HOSTS - 1 and set(kinds.values()) == {"direct"}
        return False

    for host in mesh.hosts.values():
        until(partial(is_whole, host), seconds, f"{host.name} has direct paths to all")
    return clock() - since


Scenario = Callable[[Act], Outcome]
Outcomes = dict[str, "Future[Outcome]"]


def play(act: Act, scenarios: dict[str, Scenario]) -> Outcomes:
    """All at the same time; done when the last one is."""
    with ThreadPoolExecutor(len(scenarios)) as pool:
        return {name: pool.submit(scenario, act) for name, scenario in scenarios.items()}


# --- wires


def loss(act: Act) -> Outcome:
    """1, 10 and 30 percent, each way."""
    seen, longest = [], 0.0
    with act.pinging("h1", "h2") as pings:
        pings.wait_answer(clock(), 10, 20)
        start = clock()
        for percent in (1, 10, 30):
            faults = act.broken(partial(act.lab.lose, "h1", "h2", percent=percent))
            since = clock()
            time.sleep(4)
            until_now = clock()
            act.heal(faults)
            asked = 1 - (1 - percent / 100) ** 2
            seen.append(f"{percent} % each way: {pings.loss(since, until_now):.1%} of {asked:.1%}")
            longest = max(longest, pings.outage(since, until_now))
    ended = [e for e in events(act.mesh["h1"], "connection ended") if "(h2)" in e.text]
    assert not [e for e in ended if e.at.timestamp() > start]
    return Outcome(longest, more=", ".join(seen))


def detour(one: str, other: str, both_ways: bool) -> Scenario:
    """UDP is blocked: another way is found, and left again."""

    def scenario(act: Act) -> Outcome:
        with act.pinging(one, other) as pings:
            pings.wait_answer(clock(), 10, 20)
            since = clock()
            faults = act.broken(
                lambda: act.lab.block(one, other, protocol="udp", both_ways=both_ways)
            )
            until(lambda: "direct" not in act.kind(one, other), 8, "no direct path any more")
            noticed = clock() - since
            pings.wait_answer(clock(), 5, 20)
            outage = pings.outage(since)
            kinds = act.kind(one, other)
            healed = clock()
            act.heal(faults)
            act.wait_kind(one, other, "direct", 20)
            back = clock() - healed
            assert pings.outage(healed) < 0.5, "going back costs nothing"
            result = pings.stop()
        return Outcome(outage, noticed, back, f"meanwhile {kinds[0]}; {result.duplicates} twice")

    return scenario


def asymmetric(act: Act) -> Outcome:
    """Nothing gets from h5 to h6, everything from h6 to h5."""
    with act.pinging("h5", "h6") as pings:
        pings.wait_answer(clock(), 10, 20)
        since = clock()
        faults = act.broken(lambda: act.lab.block("h5", "h6", both_ways=False))
        noticed = max(missed(act.mesh[a], b, since) for a, b in (("h5", "h6"), ("h6", "h5")))
        pings.wait_answer(clock(), 5, 20)
        outage = pings.outage(since)
        healed = clock()
        act.heal(faults)
        act.wait_kind("h5", "h6", "direct", 20)
        return Outcome(outage, noticed, clock() - healed)


def narrow(act: Act) -> Outcome:
    """Packets above 1,300 bytes vanish between h2 and h3, and nobody says so."""
    with act.pinging("h2", "h3", "-s", "1300") as large, act.pinging("h2", "h3") as small:
        large.wait_answer(clock(), 10, 20)
        since = clock()
        faults = act.broken(lambda: act.lab.shrink("h2", "h3", mtu=1300))
        time.sleep(0.5)
        large.wait_answer(clock(), 10, 20)
        outage, through = large.outage(since), small.outage(since)
        act.heal(faults)
    assert through < 1.0, "small packets pass all the time"
    return Outcome(outage, more=f"small packets: {through:.2f} s")


FLAPS = 5


def flapping(act: Act) -> Outcome:
    """The wire between h7 and h8 is there every other second."""
    with act.pinging("h7", "h8") as pings:
        pings.wait_answer(clock(), 10, 20)
        since = clock()
        for _ in range(FLAPS):
            faults = act.broken(lambda: act.lab.block("h7", "h8"))
            time.sleep(1)
            act.heal(faults)
            time.sleep(1)
        outage, lost = pings.outage(since), pings.loss(since, clock())
        calm = clock()
        act.wait_kind("h7", "h8", "direct", 20)
        back = clock() - calm
    ended = [e for e in events(act.mesh["h7"], "connection ended") if "(h8)" in e.text]
    count = sum(e.at.timestamp() > since for e in ended)
    assert count <= FLAPS
    return Outcome(outage, None, back, f"{lost:.0%} lost; connection ended {count} times")


def bystanders(act: Act) -> Outcome:
    """Whose wire is fine notices nothing of all that."""
    with act.pinging("h1", "h5") as pings:
        since = pings.wait_answer(clock(), 10, 20) + clock()
        time.sleep(13)
        outage = pings.outage(since)
        result = pings.stop()
    return Outcome(outage, more=f"{result.sent - result.received} of {result.sent} lost")


@pytest.fixture(scope="module")
def wires(act: Act) -> Outcomes:
    scenarios = {
        "loss": loss,
        "one-way UDP block": detour("h3", "h4", both_ways=False),
        "UDP block": detour("h6", "h7", both_ways=True),
        "asymmetric partition": asymmetric,
        "MTU black hole": narrow,
        "flapping link": flapping,
        "bystanders": bystanders,
    }
    found = play(act, scenarios)
    wait_whole(act.mesh, 30)
    return found


def missed(host: Host, peer: str, since: float) -> float:
    """How long after `since` the host ended its connection with a peer, less what is excused."""

    def when() -> list[float]:
        ended = [
            e.at.timestamp() for e in events(host, "connection ended") if f"({peer})" in e.text
        ]
        return [at for at in ended if at > since - 0.001]

    at = until(when, 10, f"{host.name} misses {peer}")[0]
    return at - since - MACHINE.excused(since, at)


def test_loss(wires: Outcomes) -> None:
    outcome = wires["loss"].result()
    outcome.show("loss")
    assert outcome.outage < 2.5


@pytest.mark.parametrize("which", ["one-way UDP block", "UDP block"])
def test_udp_blocked(wires: Outcomes, which: str) -> None:
    outcome = wires[which].result()
    outcome.show(which)
    assert outcome.outage < DETOUR_SECONDS
    assert outcome.back is not None
    assert outcome.back < 12


def test_asymmetric_partition(wires: Outcomes) -> None:
    outcome = wires["asymmetric partition"].result()
    outcome.show("asymmetric partition")
    assert outcome.noticed is not None
    # h6 hears nothing and ends it by a reset, which waits for no acknowledgement of h5's.
    assert outcome.noticed < DEAD_SECONDS
    assert outcome.outage < DETOUR_SECONDS + 1


def test_mtu_black_hole(wires: Outcomes) -> None:
    outcome = wires["MTU black hole"].result()
    outcome.show("MTU black hole")
    assert outcome.outage < 4


def test_flapping_link(wires: Outcomes) -> None:
    outcome = wires["flapping link"].result()
    outcome.show("flapping link")
    assert outcome.outage < 3


def test_bystanders(wires: Outcomes) -> None:
    outcome = wires["bystanders"].result()
    outcome.show("others meanwhile")
    assert outcome.outage < 0.5


# --- hosts


def failing(
    victim: str,
    witness: str,
    fail: Callable[[Act, Host], object],
    cure: Callable[[Act, Host, object], None],
) -> Scenario:
    """A host fails: the odd ones miss it. Then it works again."""

    def scenario(act: Act) -> Outcome:
        host = act.mesh[victim]
        with act.pinging(witness, victim) as pings:
            pings.wait_answer(clock(), 10, 20)
            since = clock()
            done = fail(act, host)
            others = [act.mesh[name] for name in ("h1", "h3", "h5", "h7")]
            noticed = max(missed(other, victim, since) for other in others)
            time.sleep(max(0.0, since + 6 - clock()))
            cured = clock()
            cure(act, host, done)
            back = pings.wait_answer(cured, 20)
            return Outcome(pings.outage(since), noticed, back)

    return scenario


def stop(act: Act, host: Host) -> None:
    assert host.pid is not None
    os.kill(host.pid, signal.SIGSTOP)


def go_on(act: Act, host: Host, done: object) -> None:
    assert host.pid is not None
    os.kill(host.pid, signal.SIGCONT)


def silence(act: Act, host: Host) -> tuple[Fault, ...]:
    others = [name for name in act.mesh.hosts if name != host.name]
    return act.broken(lambda: tuple(f for o in others for f in act.lab.block(host.name, o)))


def hear(act: Act, host: Host, done: object) -> None:
    assert isinstance(done, tuple)
    act.heal(done)


@pytest.fixture(scope="module")
def hosts(act: Act, wires: Outcomes) -> Outcomes:
    scenarios = {
        "SIGSTOP, SIGCONT": failing("h2", "h1", stop, go_on),
        "SIGKILL, started again": failing(
            "h4", "h3", lambda act, host: host.kill(), lambda act, host, done: host.launch()
        ),
        "silence": failing("h6", "h5", silence, hear),
        "cable pulled": failing(
            "h8",
            "h7",
            lambda act, host: act.lab.cut("h8", "h7"),
            lambda act, host, done: act.lab.mend("h8", "h7"),
        ),
    }
    found = play(act, scenarios)
    wait_whole(act.mesh, 40)
    return found


@pytest.mark.parametrize(
    ("which", "noticed", "back"),
    [
        ("SIGSTOP, SIGCONT", DEAD_SECONDS, 4),
        ("SIGKILL, started again", 1, 8),
        ("silence", DEAD_SECONDS, 8),
        ("cable pulled", DEAD_SECONDS, 8),
    ],
)
def test_a_host_that_fails(hosts: Outcomes, which: str, noticed: float, back: float) -> None:
    outcome = hosts[which].result()
    outcome.show(which)
    assert outcome.noticed is not None
    assert outcome.noticed < noticed
    assert outcome.back is not None
    assert outcome.back < back


# --- the whole network


def test_split_and_heal(act: Act, hosts: Outcomes) -> None:
    """Two halves of four: each goes on alone, nobody storms, and they find each other again."""
    left, right = ("h1", "h2", "h3", "h4"), ("h5", "h6", "h7", "h8")
    with act.pinging("h1", "h4") as inside, act.pinging("h2", "h7") as across:
        across.wait_answer(clock(), 10, 20)
        since, before = clock(), answering_paths.calls(act.lab, "h1")
        faults = tuple(f for a in left for b in right for f in act.lab.block(a, b))
        noticed = max(missed(act.mesh["h1"], name, since) for name in right)
        time.sleep(max(0.0, since + 10 - clock()))
        called = answering_paths.calls(act.lab, "h1") - before
        healed = clock()
        act.heal(faults)
        back = across.wait_answer(healed, 30)
        within = inside.outage(since)
    whole = wait_whole(act.mesh, 60) + back
    outcome = Outcome(within, noticed, back, f"all direct after {whole:.1f} s")
    outcome.show(f"split for 10 s (inside one half), {called} calls to four peers meanwhile")
    assert noticed < DEAD_SECONDS
    assert within < 2 * INTERVAL + 0.3
    assert called <= 4 * 6
    assert back < 16
