"""Is a path left when it must be, only then, and for long enough?"""

from __future__ import annotations

import pytest

from fastdp.path.settings import FastSettings
from fastdp.path.values import Direct, FastState, Permission
from tests.kit.fast_pair import CUT, FastPair
from tests.kit.fast_story import HOST, OPEN, SECRET, Story
from weave_py.model.errors import WireError
from weave_py.model.fast import DesiredVxlan

S = FastSettings()


def test_it_is_left_when_probes_are_missing() -> None:
    story = Story().go_fast()
    story.wait(6)
    for _ in range(20):
        story.wait(0.05)
        story.hear()
        if not story.is_fast:
            break
    assert story.standing == ("degraded", "probe-lost")
    assert not story.through
    told = story.statuses()[-1]
    assert (told.using, told.proven, told.able, told.why) == (False, False, True, "probe-lost")


def test_no_status_is_no_evidence() -> None:
    story = Story().go_fast()
    tx = 0
    for _ in range(1000):
        tx += 100
        story.path.counted(tx, 0, story.now)
        story.wait(1)
    assert story.is_fast
    assert story.through


def test_what_stood_still_before_it_was_used_does_not_count() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear(using=True)
    story.ready()
    story.prove()
    for packets in range(1, 8):
        story.wait(0.05)
        story.path.counted(20 * packets, 0, story.now)
        story.hear()
    story.hear(proven=True)
    assert story.is_fast
    story.wait(0.05)
    story.hear()
    assert story.is_fast


def test_nonsense_is_the_peers_fault() -> None:
    story = Story().go_fast()
    with pytest.raises(WireError):
        story.path.receive_status_untrusted(b"\5nonsense", story.now)
    story.path.receive_probe_untrusted(b"a container's frame", story.now)
    assert story.path.receiver.strange == 1
    assert story.is_fast


def test_the_sleeve_may_lose_its_direct_way_and_the_kernel_goes_on() -> None:
    story = Story().go_fast()
    story.permit(Permission(HOST, None, False))
    story.wait(60)
    assert story.is_fast
    assert story.path.desired is not None
    assert story.path.desired.remote is not None
    told = story.statuses()[-1]
    assert told.able


def test_but_once_it_is_left_it_stays_off() -> None:
    story = Story().go_fast()
    story.permit(Permission(HOST, None, False))
    story.hear(proven=False, why="probe-lost")
    assert story.standing == ("off", "no-direct-path")
    assert story.path.desired == DesiredVxlan(5000, False, None, through=False)


def test_when_the_peer_degrades_so_do_we() -> None:
    story = Story().go_fast()
    story.hear(proven=False, using=False, why="counter-stall")
    assert story.standing == ("degraded", "peer-counter-stall")
    assert not story.through


def test_when_the_peer_becomes_unable_so_do_we() -> None:
    story = Story().go_fast()
    story.hear(able=False, proven=False, why="device-failed")
    assert story.standing == ("off", "peer-device-failed")


def test_when_the_device_fails() -> None:
    story = Story().go_fast()
    story.path.device_failed("port 4789 is taken", story.now)
    assert story.standing == ("off", "device-failed")
    assert story.path.failure == "port 4789 is taken"
    assert not story.through
    assert not story.statuses()[-1].able
    story.wait(2)
    story.ready()
    assert story.path.state is FastState.DEGRADED
    story.prove()
    assert story.is_fast


def test_when_the_peer_says_goodbye() -> None:
    story = Story().go_fast()
    story.path.left(story.now)
    assert story.standing == ("off", "peer-left")
    assert story.path.desired == DesiredVxlan(5000, False, None, through=False)
    story.hear(incarnation=10, number=1)
    assert story.path.state is not FastState.OFF


def test_when_encryption_becomes_needed() -> None:
    story = Story().go_fast()
    story.permit(SECRET)
    assert not story.through
    assert story.standing == ("probing", "esp-keys")


def test_it_follows_the_sleeve_but_not_every_whim() -> None:
    story = Story().go_fast()
    other = Permission(HOST, Direct("192.0.2.1", "192.0.2.9"), False)
    story.permit(other)
    story.wait(S.follow_after / 2)
    story.permit(OPEN)
    story.wait(S.follow_after)
    assert story.is_fast
    story.permit(other)
    story.wait(S.follow_after - 0.1)
    assert story.is_fast
    story.wait(0.2)
    assert story.standing == ("probing", "device")


def test_hold_down_after_a_fall_grows() -> None:
    pair = FastPair()
    pair.start()
    pair.a.traffic = True
    gone = []
    for _ in range(5):
        pair.run_until(pair.both_fast, 60)
        pair.run(4)
        pair.a.mode = CUT
        pair.run_until(pair.neither_fast, 1)
        pair.a.mode = "good"
        gone.append(pair.run_until(pair.both_fast, 60))
    assert [round(seconds) for seconds in gone] == [1, 2, 4, 8, 16]


def test_during_hold_down_it_says_so() -> None:
    pair = FastPair()
    pair.start()
    pair.run_until(pair.both_fast, 5)
    pair.a.traffic = True
    pair.run(1)
    pair.a.mode = CUT
    pair.run_until(pair.neither_fast, 1)
    pair.a.mode = "good"
    pair.run(0.8)
    assert (pair.a.state, pair.a.why) == ("degraded", "hold-down")
    assert (pair.b.state, pair.b.why) == ("degraded", "peer-hold-down")
