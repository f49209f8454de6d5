"""Is a path used only once both directions are proven, at full size, and is hope never given up?"""

from __future__ import annotations

from dataclasses import replace

from fastdp.path.settings import FastSettings
from fastdp.path.values import Direct, Permission, SendStatus
from tests.kit.fast_pair import NARROW, FastPair
from tests.kit.fast_story import HOST, KEYS, OPEN, PEER, SECRET, Story
from weave_py.wire import fast_probe, fast_status
from weave_py.wire.fast_probe import FastProbe

S = FastSettings()


def test_both_directions_are_proven_before_it_is_used() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    assert story.standing == ("probing", "device")
    assert story.probes() == 0
    story.ready()
    assert story.standing == ("probing", "proving")
    assert story.probes() == 2
    story.prove()
    assert story.standing == ("probing", "peer-proving")
    assert story.statuses()[-1].proven
    assert not story.through
    story.hear(proven=True)
    assert story.standing == ("fast", "")
    assert story.through
    assert story.statuses()[-1].using


def test_the_peers_word_alone_is_not_enough() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear(proven=True)
    story.ready()
    story.wait(20)
    story.hear()
    assert story.standing == ("probing", "unanswered")
    assert not story.statuses()[-1].proven


def test_what_was_seen_of_another_life_of_ours_proves_nothing() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear(proven=True)
    story.ready()
    for number in range(1, 6):
        story.wait(0.12)
        story.hear(
            heard_incarnation=story.path.incarnation + 1, small_seen=number, full_seen=number
        )
    assert not story.is_fast


def test_probes_wait_for_the_device_that_is_meant() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    desired = story.path.desired
    assert desired is not None
    assert desired.remote is not None
    elsewhere = replace(desired, remote=replace(desired.remote, host="192.0.2.77"))
    story.path.device_ready(elsewhere, story.now)
    story.wait(5)
    assert story.probes() == 0
    assert story.standing == ("probing", "device")


def test_another_address_is_proven_anew() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    story.prove()
    story.permit(Permission(HOST, Direct("192.0.2.1", "192.0.2.9"), False))
    assert story.standing == ("probing", "device")
    story.hear(proven=True)
    story.ready()
    assert not story.is_fast
    story.prove()
    assert story.is_fast
    assert story.path.desired is not None
    assert story.path.desired.remote is not None
    assert story.path.desired.remote.host == "192.0.2.9"


def test_encryption_waits_for_keys_in_both_kernels() -> None:
    story = Story()
    story.permit(SECRET)
    story.hear(proven=True)
    assert story.standing == ("probing", "esp-keys")
    story.path.esp_offered(KEYS, story.now)
    assert story.path.desired is not None
    assert story.path.desired.remote is not None
    assert story.path.desired.remote.esp == replace(KEYS, outbound=None)
    assert story.standing == ("probing", "esp-keys")
    story.path.esp_installed(300, story.now)
    assert story.statuses()[-1].spi == 300
    story.ready()
    story.wait(3)
    assert story.probes() == 0
    story.hear(spi=400)
    assert story.path.desired.remote.esp == KEYS
    assert story.standing == ("probing", "device")
    story.ready()
    story.prove()
    assert story.is_fast


def test_probing_never_ends_but_becomes_rare() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    story.wait(600)
    assert 2 * 3 * (18 + 3) <= story.probes() <= 2 * 3 * (20 + 6)
    story.wait(600)
    assert 2 * 3 * 17 <= story.probes() <= 2 * 3 * 21


def test_probes_from_the_peer_give_hope() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    story.wait(100)
    assert story.probes() > 0
    told = fast_status.decode_untrusted(
        [o.body for o in _advance(story, 15) if isinstance(o, SendStatus)][-1]
    )
    story.path.take_outputs()
    probe = FastProbe(1, PEER.incarnation, is_full=False)
    story.path.receive_probe_untrusted(fast_probe.encode(probe, 60, told.cookie), story.now)
    assert story.probes() == 2


def _advance(story: Story, seconds: float) -> list[object]:
    story.path.take_outputs()
    story.wait(seconds)
    return list(story.path.take_outputs())


def test_an_mtu_that_is_too_small_is_tried_again_ever_more_rarely() -> None:
    pair = FastPair()
    pair.a.mode = NARROW
    pair.start()
    pair.run(5)
    assert (pair.a.state, pair.a.why) == ("probing", "mtu")
    assert (pair.b.state, pair.b.why) == ("probing", "peer-mtu")
    pair.run(sum(S.mtu_retry))
    before = pair.a.probes
    pair.run(S.mtu_retry[-1] - 10)
    assert pair.a.probes == before
    pair.run(70)
    assert 0 < pair.a.probes - before < 40
    assert pair.a.why == "mtu"
    pair.a.mode = "good"
    pair.run_until(pair.both_fast, 62)


def test_an_mtu_that_was_too_small_for_a_moment_is_soon_forgotten() -> None:
    pair = FastPair()
    pair.start()
    pair.run_until(pair.both_fast, 5)
    for _ in range(3):
        pair.a.mode = NARROW
        pair.run_until(lambda: pair.a.state == "degraded", 10)
        pair.run(3)
        pair.a.mode = "good"
        pair.run_until(pair.both_fast, S.mtu_retry[1] + 4 * S.hold_down + 1)
        pair.run(S.fall_memory)


def test_another_mtu_is_tried_at_once() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    for number in range(1, 9):
        story.wait(0.12)
        story.hear(heard_incarnation=story.path.incarnation, small_seen=number)
    assert story.standing == ("probing", "mtu")
    story.probes()
    story.hear(mtu=1000)
    assert story.standing == ("probing", "proving")
    assert story.probes() == 2
