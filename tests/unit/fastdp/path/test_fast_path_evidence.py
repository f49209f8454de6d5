"""What do statuses prove, and what do they speak against?"""

from __future__ import annotations

from dataclasses import replace

from fastdp.path.evidence import Evidence
from fastdp.path.reasons import Reason
from fastdp.path.settings import FastSettings
from weave_py.model.fast import FastStatus

S = FastSettings()
STATUS = FastStatus(
    incarnation=1,
    number=1,
    able=True,
    using=False,
    proven=False,
    udp_port=4789,
    vni=5000,
    mtu=1376,
    cookie=b"c" * 16,
    heard_incarnation=2,
    small_seen=0,
    full_seen=0,
    received=0,
)


class Story:
    """Evidence, and a clock."""

    def __init__(self) -> None:
        self.evidence = Evidence(S)
        self.now = 10.0
        self.small = self.full = 0
        self.received = 0
        self.sent = 0

    def probe(self, small: bool = True, full: bool = True) -> None:
        if full:
            self.evidence.full.send(self.now)
        if small:
            self.evidence.small.send(self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def report(self, small: int | None = None, full: int | None = None) -> Reason:
        """The peer's status, and what follows from it for a path in use."""
        self.small = self.small if small is None else small
        self.full = self.full if full is None else full
        status = replace(STATUS, small_seen=self.small, full_seen=self.full, received=self.received)
        self.evidence.report(status, True, self.now)
        return self.evidence.verdict(True, self.now)

    def transmit(self, packets: int) -> None:
        self.sent += packets
        self.evidence.transmitted(self.sent, self.now)

    def prove(self) -> None:
        for number in (1, 2, 3):
            self.probe()
            self.wait(0.001)
            assert self.report(number, number) is Reason.NONE
        assert self.evidence.is_proven


def test_three_small_ones_in_a_row_and_a_full_one_prove_it() -> None:
    story = Story()
    for number in (1, 2):
        story.probe(full=number == 1)
        story.report(number, 1)
        assert not story.evidence.is_proven
    story.probe(full=False)
    story.report(3)
    assert story.evidence.is_proven


def test_without_a_full_one_nothing_is_proven() -> None:
    story = Story()
    for number in range(1, 6):
        story.probe()
        story.report(number, 0)
    assert not story.evidence.is_proven


def test_in_a_row_means_each_of_them() -> None:
    story = Story()
    for number in range(1, 12):
        story.probe()
        if number % 3:  # every third is lost
            story.report(number, number)
    assert not story.evidence.is_proven


def test_one_status_that_covers_many_proves_one() -> None:
    story = Story()
    for _ in range(5):
        story.probe()
    story.report(5, 5)
    assert not story.evidence.is_proven


def test_numbers_that_were_never_sent_prove_nothing() -> None:
    story = Story()
    story.probe()
    for number in (2, 3, 4, 5):
        story.report(number, number)
    assert not story.evidence.is_proven


def test_three_missing_speak_against_it() -> None:
    story = Story()
    story.prove()
    verdicts = []
    for _ in range(3):
        story.probe()
        story.wait(0.1)
        verdicts.append(story.report())
    assert verdicts == [Reason.NONE, Reason.NONE, Reason.PROBE_LOST]


def test_what_is_still_on_its_way_is_not_missing() -> None:
    story = Story()
    story.prove()
    for _ in range(10):
        story.probe()
    story.wait(story.evidence.patience - 0.001)
    assert story.report() is Reason.NONE
    assert not story.evidence.is_suspect
    story.wait(0.002)
    assert story.report() is Reason.PROBE_LOST


def test_time_alone_is_no_evidence() -> None:
    story = Story()
    story.prove()
    for _ in range(10):
        story.probe()
        story.wait(1)
    assert story.evidence.is_proven
    assert not story.evidence.is_suspect


def test_patience_follows_the_delay() -> None:
    story = Story()
    for number in range(1, 30):
        story.probe()
        story.wait(0.3)
        story.report(number, number)
    assert 0.3 < story.evidence.patience < 0.5
    quick = Story()
    quick.prove()
    assert quick.evidence.patience == S.least_patience


def test_while_packets_arrive_missing_probes_are_only_late() -> None:
    story = Story()
    story.prove()
    for _ in range(5):
        story.probe()
        story.wait(0.1)
        story.received += 100
        story.transmit(100)
        assert story.report() is Reason.NONE
    assert story.evidence.is_suspect


def test_but_not_for_ever() -> None:
    """What arrives might all be damaged."""
    story = Story()
    story.prove()
    verdict = Reason.NONE
    began = story.now
    while verdict is Reason.NONE:
        story.probe()
        story.wait(0.1)
        story.received += 100
        verdict = story.report()
    assert verdict is Reason.PROBE_LOST
    assert S.long_miss <= story.now - began < S.long_miss + 0.3


def test_only_full_ones_missing_is_the_mtu() -> None:
    story = Story()
    story.prove()
    verdicts = []
    for number in range(4, 7):
        story.probe()
        story.wait(0.001)
        story.received += 1
        story.report(small=number)
        story.wait(0.1)
        verdicts.append(story.report())
    assert verdicts == [Reason.NONE, Reason.NONE, Reason.MTU]


def test_a_standstill_needs_three_reports_between_which_we_sent() -> None:
    story = Story()
    story.prove()
    story.transmit(1)
    assert story.report() is Reason.NONE
    verdicts = []
    for _ in range(6):
        story.wait(0.05)
        story.transmit(10)
        verdicts.append(story.report())
    assert verdicts.count(Reason.COUNTER_STALL) >= 1
    assert verdicts[:3] == [Reason.NONE] * 3


def test_nothing_sent_nothing_missed() -> None:
    story = Story()
    story.prove()
    story.transmit(10)
    for _ in range(20):
        story.wait(0.05)
        story.transmit(0)
        assert story.report() is Reason.NONE


def test_one_lost_packet_is_no_standstill() -> None:
    story = Story()
    story.prove()
    story.transmit(10)
    story.report()
    story.transmit(1)
    for _ in range(20):
        story.wait(0.05)
        story.transmit(0)
        assert story.report() is Reason.NONE


def test_a_long_way_is_no_standstill() -> None:
    """Reports that were made before our packets could arrive say nothing about them."""
    story = Story()
    for number in range(1, 30):
        story.probe()
        story.wait(0.4)
        story.report(number, number)
    for _ in range(8):
        story.wait(0.05)
        story.transmit(10)
        assert story.report() is Reason.NONE


def test_a_probe_that_arrives_ends_a_standstill() -> None:
    """The peer's counter may be read late, when its host is busy."""
    story = Story()
    story.prove()
    number = 3
    for step in range(20):
        if step % 2:
            story.probe()
            number += 1
        story.wait(0.05)
        story.transmit(10)
        assert story.report(number, number) is Reason.NONE


def test_only_what_is_in_use_can_stand_still() -> None:
    story = Story()
    story.prove()
    for _ in range(10):
        story.wait(0.05)
        story.transmit(10)
        story.report()
    assert story.evidence.verdict(False, story.now) is Reason.NONE
    assert story.evidence.verdict(True, story.now) is Reason.COUNTER_STALL


def test_counters_of_a_new_device_begin_anew() -> None:
    story = Story()
    story.prove()
    for _ in range(4):
        story.wait(0.05)
        story.transmit(10)
        story.report()
    story.sent = 0
    story.transmit(0)
    story.wait(0.05)
    assert story.report() is Reason.NONE


def test_a_restart_voids_what_was_sent() -> None:
    story = Story()
    story.prove()
    for _ in range(5):
        story.probe()
    story.evidence.restart()
    story.wait(1)
    assert story.report(8, 8) is Reason.NONE
    assert not story.evidence.is_proven
    assert not story.evidence.is_suspect
    story.probe()
    story.report(9, 9)
    assert not story.evidence.is_proven


def test_what_is_learned_late_because_a_status_was_lost_says_nothing_of_delays() -> None:
    story = Story()
    story.prove()
    patience = story.evidence.patience
    story.probe()
    story.wait(1.0)
    late = replace(STATUS, small_seen=4, full_seen=4)
    story.evidence.report(late, False, story.now)
    assert story.evidence.patience == patience
