"""Do statuses and probes leave as often as they should, and no oftener?"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from fastdp.path.evidence import Evidence
from fastdp.path.hold_down import HoldDown
from fastdp.path.prober import Prober, ProbeTimer
from fastdp.path.settings import FastSettings
from fastdp.path.status_timer import StatusTimer
from weave_py.model.fast import FastStatus
from weave_py.model.load import LocalLoad

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


def test_the_first_status_leaves_at_once_and_the_next_by_pace() -> None:
    timer = StatusTimer(S, 5.0)
    assert timer.is_due(STATUS, 1.0, 5.0)
    assert not timer.is_due(STATUS, 1.0, 5.9)
    assert timer.due == 6.0
    assert timer.is_due(STATUS, 1.0, 6.0)


def test_a_change_leaves_at_once() -> None:
    timer = StatusTimer(S, 5.0)
    assert timer.is_due(STATUS, 1.0, 5.0)
    assert timer.is_due(replace(STATUS, proven=True), 1.0, 5.1)
    assert not timer.is_due(replace(STATUS, proven=True, received=9), 1.0, 5.2)


def test_a_quicker_pace_counts_from_the_last_one() -> None:
    timer = StatusTimer(S, 5.0)
    timer.is_due(STATUS, 1.0, 5.0)
    assert not timer.is_due(STATUS, 0.05, 5.02)
    assert timer.due == 5.05


def test_probes_are_acknowledged_together() -> None:
    timer = StatusTimer(S, 5.0)
    timer.is_due(STATUS, 1.0, 5.0)
    timer.acknowledge(5.3)
    timer.acknowledge(5.305)
    assert timer.due == 5.3 + S.status_ack


def test_woken_late_it_first_reads_what_waits() -> None:
    timer = StatusTimer(S, 5.0)
    timer.is_due(STATUS, 0.05, 5.0)
    assert not timer.is_due(STATUS, 0.05, 5.5)
    assert timer.due == 5.5 + S.first_read
    assert not timer.is_due(STATUS, 0.05, 5.505)
    assert timer.is_due(STATUS, 0.05, 5.51)
    assert not timer.is_due(STATUS, 0.05, 5.52)


def test_who_never_answers_is_told_ever_more_rarely() -> None:
    timer = StatusTimer(S, 0.0)
    sent = []
    for tenth in range(3000):
        if timer.is_due(STATUS, None, tenth / 10):
            sent.append(tenth / 10)
    assert sent[:6] == [0.0, 1.0, 3.0, 8.0, 18.0, 48.0]
    assert sent[-1] - sent[-2] == 30.0


def test_a_reply_is_not_sent_again_and_again() -> None:
    timer = StatusTimer(S, 5.0)
    timer.is_due(STATUS, 1.0, 5.0)
    timer.reply(5.05)
    assert timer.due == 5.0 + S.status_reply


def test_two_idle_ends_do_not_keep_each_other_busy() -> None:
    """One end stops being in use: the other one stops echoing, and nobody starts again."""
    tempos = [StatusTimer(S, 0.0), StatusTimer(S, 0.0)]
    sent: list[list[float]] = [[], []]
    numbers = [0, 0]
    for tick in range(1500):
        now = tick / 100
        for end in (0, 1):
            in_use = end == 0 and now < 5
            echo = tempos[end].is_echoing(now)
            pace = S.status_in_use if in_use else S.status_echo if echo else S.status_idle
            if tempos[end].is_due(STATUS, pace, now):
                numbers[end] += 1
                sent[end].append(now)
                tempos[1 - end].heard(numbers[end], False, now)
    echoed = [at for at in sent[1] if 1 <= at < 5]
    assert 15 <= len(echoed) <= 21
    assert len([at for at in sent[0] + sent[1] if at >= 6]) <= 20


def times(timer: ProbeTimer, until: float) -> list[float]:
    sent = []
    for tick in range(int(until * 100)):
        if tick / 100 >= timer.due - 1e-9:
            sent.append(tick / 100)
            timer.sent(tick / 100, None)
    return sent


def test_bursts_that_nobody_answers_become_rare_but_never_end() -> None:
    timer = ProbeTimer(S, 0.0)
    sent = times(timer, 200.0)
    assert sent[:4] == [0.0, 0.1, 0.2, 1.2]
    assert timer.is_unanswered
    pauses = [round(b - a, 2) for a, b in pairwise(sent) if b - a > 0.5]
    assert pauses[:7] == [1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]
    timer.hurry(200.0)
    assert timer.due == 200.0
    assert not timer.is_unanswered


def test_a_path_that_answers_but_never_in_a_row_is_left_alone_for_a_while() -> None:
    timer = ProbeTimer(S, 0.0)
    sent = []
    for tick in range(9_000):
        now = tick / 100
        if now >= timer.due - 1e-9:
            sent.append(now)
            timer.sent(now, None)
            timer.answered(now)
    assert len(sent) == 3 * S.proving_tries
    assert max(b - a for a, b in pairwise(sent)) >= 29


def test_what_is_sent_in_use_and_idle() -> None:
    evidence = Evidence(S)
    evidence.adopt()
    prober = Prober(evidence, 1, 1376, S, LocalLoad(), 0.0)
    assert len(prober.frames(STATUS, True, False, 0.0)) == 2
    evidence.void()
    assert prober.frames(STATUS, True, False, 1.9) == []
    assert [len(f) for f in prober.frames(STATUS, True, False, 2.0)] == [60]
    evidence.void()
    assert [len(f) for f in prober.frames(STATUS, True, True, 2.1)] == [1390]
    assert prober.frames(STATUS, True, True, 2.15) == []


def test_of_many_peers_each_idle_one_is_probed_more_rarely_but_not_one_in_use() -> None:
    load = LocalLoad()
    load.links = 100
    evidence = Evidence(S)
    evidence.adopt()
    prober = Prober(evidence, 1, 1376, S, load, 0.0)
    assert len(prober.frames(STATUS, True, False, 0.0)) == 2
    evidence.void()
    assert prober.frames(STATUS, True, False, S.longest_probe_idle - 0.1) == []
    assert len(prober.frames(STATUS, True, False, S.longest_probe_idle)) == 1
    evidence.void()
    assert len(prober.frames(STATUS, True, True, S.longest_probe_idle + 0.1)) == 1


def test_full_size_is_what_both_ends_can_take() -> None:
    prober = Prober(Evidence(S), 1, 1376, S, LocalLoad(), 0.0)
    frames = prober.frames(replace(STATUS, mtu=1000), True, False, 0.0)
    assert [len(f) for f in frames] == [1014, 60]


def test_hold_down_doubles_and_is_forgotten() -> None:
    hold = HoldDown(S)
    now, held = 0.0, []
    for _ in range(9):
        hold.fell(now)
        held.append(hold.until - now)
        now = hold.until
    assert held == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not hold.holds(now)
    hold.fell(now + S.fall_memory)
    assert hold.until - now - S.fall_memory == 1
