"""Does a path keep its rules: when to be used, when to be left, when to stay as it is?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastdp.path import FastPath
from fastdp.reasons import Reason, peer_reason
from fastdp.settings import FastSettings
from fastdp.standing import Direct, FastState, Permission, SendProbe, SendStatus
from tests.kit.fast_pair import CUT, NARROW, FastPair
from weave_py.model.errors import WireError
from weave_py.model.fast import EspKey, EspWish, FastHost, FastRemote, FastStatus, FastWish
from weave_py.wire import fast_probe, fast_status
from weave_py.wire.fast_probe import FastProbe

S = FastSettings()
HOST = FastHost(4789, esp=True)
DIRECT = Direct("192.0.2.1", "192.0.2.2")
OPEN = Permission(HOST, DIRECT, encrypted=False)
SECRET = Permission(HOST, DIRECT, encrypted=True)
KEYS = EspWish((EspKey(300, b"i" * 36),), EspKey(400, b"o" * 36))
PEER = FastStatus(
    life=9,
    number=1,
    able=True,
    using=False,
    proven=False,
    udp_port=4790,
    vni=7000,
    mtu=1376,
    cookie=b"c" * 16,
    heard_life=0,
    small_seen=0,
    full_seen=0,
    received=0,
)


class Story:
    """One path; the test plays its peer, kernel and clock."""

    def __init__(self, adopted: FastWish | None = None) -> None:
        self.now = 100.0
        self.path = FastPath(5000, 1376, lambda n: b"\7" * n, self.now)
        self.peer = PEER
        if adopted is not None:
            self.path.adopt(adopted)

    def hear(self, **changes: object) -> None:
        """A status of the peer."""
        changes.setdefault("number", self.peer.number + 1)
        self.peer = replace(self.peer, **changes)  # type: ignore[arg-type]
        self.path.receive_status_untrusted(fast_status.encode(self.peer), self.now)

    def permit(self, permission: Permission) -> None:
        self.path.permit(permission, self.now)

    def ready(self) -> None:
        wish = self.path.wish
        assert wish is not None
        self.path.device_ready(wish, self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.path.next_deadline()) is not None and due.at <= until:
            self.now = max(self.now, due.at)
            self.path.advance(self.now)
        self.now = until

    def statuses(self) -> list[FastStatus]:
        outputs = self.path.take_outputs()
        return [fast_status.decode_untrusted(o.body) for o in outputs if isinstance(o, SendStatus)]

    def probes(self) -> int:
        return sum(isinstance(output, SendProbe) for output in self.path.take_outputs())

    def prove(self) -> None:
        """Our probes arrive."""
        small, full = self.peer.small_seen, self.peer.full_seen
        for _ in range(4):
            self.wait(0.12)
            small, full = small + 1, full + 1
            self.hear(heard_life=self.path.life, small_seen=small, full_seen=full)

    def go_fast(self) -> Story:
        self.permit(OPEN)
        self.hear()
        self.ready()
        self.prove()
        self.hear(proven=True, using=True)
        assert self.is_fast
        return self

    @property
    def is_fast(self) -> bool:
        return self.path.state is FastState.FAST

    @property
    def standing(self) -> tuple[str, str]:
        return str(self.path.state), str(self.path.why)

    @property
    def through(self) -> bool:
        return self.path.wish is not None and self.path.wish.through


def adopted(esp: EspWish | None = None) -> FastWish:
    remote = FastRemote("192.0.2.1", "192.0.2.2", 4790, 7000, esp)
    return FastWish(5000, False, remote, through=True)


# --- whether there is one ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "why"),
    [
        (Permission(FastHost(0, "disabled"), DIRECT, False), "disabled"),
        (Permission(FastHost(0, "no-vxlan"), DIRECT, False), "no-vxlan"),
        (Permission(HOST, None, False), "no-direct-path"),
        (Permission(HOST, Direct("192.0.2.1", "2001:db8::1"), False), "family"),
        (Permission(HOST, Direct("fe80::2", "fe80::1%eth0"), False), "link-local"),
        (Permission(FastHost(4789), DIRECT, True), "no-kernel-esp"),
    ],
)
def test_why_there_is_none_on_our_side(permission: Permission, why: str) -> None:
    story = Story()
    story.permit(permission)
    story.hear()
    assert story.standing == ("off", why)
    assert story.path.wish is None
    told = story.statuses()[-1]
    assert (told.able, told.why) == (False, why)


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        ("disabled", "peer-disabled"),
        ("no-vxlan", "peer-no-vxlan"),
        ("no-kernel-esp", "peer-no-esp"),
        ("no-direct-path", "peer-no-direct-path"),
        ("peer-mtu", "peer-waiting"),
        ("", "peer-proving"),
    ],
)
def test_why_there_is_none_on_the_peers(theirs: str, why: str) -> None:
    assert peer_reason(theirs) == why
    story = Story()
    story.permit(OPEN)
    assert story.standing == ("off", "peer-silent")
    story.hear(able=False, why=theirs)
    assert story.standing == ("off", why)
    assert story.path.wish is None
    assert story.statuses()[-1].able  # that is no reason of ours


def test_the_port_stays_a_vxlan_device_through_what_may_pass() -> None:
    story = Story().go_fast()
    story.hear(able=False, why="no-direct-path")
    assert story.path.wish == FastWish(5000, False, None, through=False)
    story.hear(able=False, why="disabled")
    assert story.path.wish is None


def test_a_peer_that_disables_it_takes_its_device_away() -> None:
    story = Story().go_fast()
    story.permit(Permission(FastHost(0, "disabled"), DIRECT, False))
    assert story.path.wish is None
    assert story.standing == ("off", "disabled")


def test_the_underlay_has_a_family() -> None:
    story = Story()
    story.permit(Permission(HOST, Direct("2001:db8::1", "2001:db8::2"), False))
    story.hear()
    assert story.path.wish is not None
    assert story.path.wish.ipv6


# --- proving it --------------------------------------------------------------------------


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
        story.hear(heard_life=story.path.life + 1, small_seen=number, full_seen=number)
    assert not story.is_fast


def test_probes_wait_for_the_device_that_is_meant() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    wish = story.path.wish
    assert wish is not None
    assert wish.remote is not None
    elsewhere = replace(wish, remote=replace(wish.remote, host="192.0.2.77"))
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
    assert story.path.wish is not None
    assert story.path.wish.remote is not None
    assert story.path.wish.remote.host == "192.0.2.9"


def test_encryption_waits_for_keys_in_both_kernels() -> None:
    story = Story()
    story.permit(SECRET)
    story.hear(proven=True)
    assert story.standing == ("probing", "esp-keys")
    story.path.esp_offered(KEYS, story.now)
    assert story.path.wish is not None
    assert story.path.wish.remote is not None
    assert story.path.wish.remote.esp == replace(KEYS, outbound=None)
    assert story.standing == ("probing", "esp-keys")
    story.path.esp_installed(300, story.now)
    assert story.statuses()[-1].spi == 300
    story.ready()
    story.wait(3)
    assert story.probes() == 0
    story.hear(spi=400)
    assert story.path.wish.remote.esp == KEYS
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


# --- leaving it --------------------------------------------------------------------------


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


def test_a_silent_peer_costs_little() -> None:
    story = Story().go_fast()
    story.path.counted(0, 0, story.now)
    story.wait(10)
    story.path.take_outputs()
    for second in range(100):
        story.path.counted(100 * second, 0, story.now)
        story.wait(1)
    outputs = story.path.take_outputs()
    assert len(outputs) <= 200


def test_the_sleeve_may_lose_its_direct_way_and_the_kernel_goes_on() -> None:
    story = Story().go_fast()
    story.permit(Permission(HOST, None, False))
    story.wait(60)
    assert story.is_fast
    assert story.path.wish is not None
    assert story.path.wish.remote is not None
    told = story.statuses()[-1]
    assert told.able


def test_but_once_it_is_left_it_stays_off() -> None:
    story = Story().go_fast()
    story.permit(Permission(HOST, None, False))
    story.hear(proven=False, why="probe-lost")
    assert story.standing == ("off", "no-direct-path")
    assert story.path.wish == FastWish(5000, False, None, through=False)


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
    assert story.path.wish == FastWish(5000, False, None, through=False)
    story.hear(life=10, number=1)
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


# --- other lives -------------------------------------------------------------------------


def test_an_older_status_is_ignored() -> None:
    story = Story().go_fast()
    late = replace(story.peer, number=story.peer.number - 1, proven=False)
    story.path.receive_status_untrusted(fast_status.encode(late), story.now)
    assert story.is_fast


def test_a_restarted_peer_that_adopted_its_path_is_trusted() -> None:
    story = Story().go_fast()
    story.hear(life=10, number=0, small_seen=0, full_seen=0, heard_life=0)
    assert story.is_fast
    stale = replace(story.peer, life=9, number=99, proven=False)
    story.path.receive_status_untrusted(fast_status.encode(stale), story.now)
    assert story.is_fast
    assert story.path.peer is not None
    assert story.path.peer.life == 10
    for _ in range(5):  # it saw none of the probes before
        story.wait(0.05)
        story.hear(heard_life=story.path.life)
    assert story.is_fast


def test_a_life_that_was_taken_for_the_older_one_comes_back() -> None:
    """Statuses of two lives that we both did not know came in the wrong order."""
    story = Story()
    story.permit(OPEN)
    story.hear(life=11)
    story.hear(life=10)
    for _ in range(8):
        story.wait(1)
        story.hear(life=11)
    assert story.path.peer is not None
    assert story.path.peer.life == 11


def test_a_restarted_peer_that_started_over_is_proven_anew() -> None:
    story = Story().go_fast()
    story.hear(life=10, vni=7001)
    assert story.standing == ("probing", "device")
    assert not story.through
    assert story.path.wish is not None
    assert story.path.wish.remote is not None
    assert story.path.wish.remote.vni == 7001


def test_what_runs_is_adopted() -> None:
    story = Story(adopted())
    assert story.standing == ("fast", "adopted")
    assert story.path.wish == adopted()
    story.wait(100)
    assert story.path.take_outputs()[1:] == []  # nothing but the change: nobody to tell
    story.permit(Permission(HOST, None, False))
    assert story.standing == ("fast", "adopted")
    told = story.statuses()[-1]
    assert (told.able, told.using, told.proven, told.vni) == (True, True, True, 5000)
    story.hear(proven=True)
    assert story.standing == ("fast", "")
    assert story.path.wish == adopted()


def test_adopted_is_not_exempt_from_evidence() -> None:
    story = Story(adopted())
    story.permit(OPEN)
    story.hear(proven=False, why="probe-lost")
    assert story.standing[0] == "degraded"


def test_adopted_encryption_stays_until_new_keys_are_agreed() -> None:
    story = Story(adopted(KEYS))
    assert story.is_fast
    story.permit(SECRET)
    new = EspWish((EspKey(301, b"j" * 36),), EspKey(401, b"p" * 36))
    story.path.esp_offered(new, story.now)
    wish = story.path.wish
    assert wish is not None
    assert wish.remote is not None
    assert wish.remote.esp == EspWish(KEYS.inbound + new.inbound, KEYS.outbound)
    story.hear(proven=True, spi=401)
    wish = story.path.wish
    assert wish is not None
    assert wish.remote is not None
    assert wish.remote.esp is not None
    assert wish.remote.esp.outbound == new.outbound
    assert wish.through


def test_keys_that_cannot_be_read_back_are_adopted_unseen() -> None:
    story = Story(adopted(EspWish((), None)))
    story.permit(SECRET)
    assert story.through
    new = EspWish((EspKey(301, b"j" * 36),), EspKey(401, b"p" * 36))
    story.path.esp_offered(new, story.now)
    wish = story.path.wish
    assert wish is not None
    assert wish.remote is not None
    assert wish.remote.esp == EspWish(new.inbound, None), "the old outbound key stays in place"
    story.hear(proven=True, spi=401)
    wish = story.path.wish
    assert wish is not None
    assert wish.remote is not None
    assert wish.remote.esp == new
    assert wish.through


def test_plain_text_is_not_adopted_where_it_is_forbidden() -> None:
    story = Story(adopted(None))
    story.permit(SECRET)
    assert not story.through


def test_both_ends_restart_one_after_the_other_and_stay_fast() -> None:
    pair = FastPair(encrypted=True)
    pair.start()
    pair.run_until(pair.both_fast, 5)
    pair.a.traffic = pair.b.traffic = True
    for end in (pair.a, pair.b):
        pair.run(5)
        end.is_running = False
        pair.run(20)
        assert end.far.is_fast
        pair.epochs.append(pair.epochs[-1] + 10)
        end.restart(adopt=True)
        end.far.rekey()
        pair.run(5)
        assert pair.both_fast(), pair.describe()
    assert all(change.new is FastState.FAST for _, change in pair.a.changes[2:])


def test_rekeying_disturbs_nothing() -> None:
    pair = FastPair(encrypted=True)
    pair.start()
    pair.run_until(pair.both_fast, 5)
    pair.a.traffic = pair.b.traffic = True
    for _ in range(6):
        pair.run(10)
        sent, received = pair.a.device.tx, pair.b.device.rx
        pair.rekey()
        pair.run(5)
        assert pair.both_fast(), pair.describe()
        assert abs((pair.a.device.tx - sent) - (pair.b.device.rx - received)) <= 1


# --- what it costs -----------------------------------------------------------------------


def test_idle_is_cheap_and_use_is_watched() -> None:
    pair = FastPair()
    pair.start()
    pair.run_until(pair.both_fast, 5)
    pair.run(10)
    before = [(end.statuses, end.probes) for end in pair.ends]
    pair.run(100)
    for end, (statuses, probes) in zip(pair.ends, before, strict=True):
        assert end.statuses - statuses + end.probes - probes <= 200
    pair.a.traffic = True
    pair.run(1)
    before = [(end.statuses, end.probes) for end in pair.ends]
    pair.run(2)
    for end, (statuses, _) in zip(pair.ends, before, strict=True):
        assert 18 <= end.statuses - statuses <= 30


def test_a_dead_direction_is_noticed_within_a_second_when_traffic_restarts() -> None:
    for seed in range(10):
        pair = FastPair(seed)
        pair.start()
        pair.run_until(pair.both_fast, 5)
        pair.run(10 + pair.random.random())
        pair.a.mode = CUT
        pair.a.traffic = True
        assert pair.run_until(pair.neither_fast, 1) <= 1


def test_nonsense_is_the_peers_fault() -> None:
    story = Story().go_fast()
    with pytest.raises(WireError):
        story.path.receive_status_untrusted(b"\5nonsense", story.now)
    story.path.receive_probe_untrusted(b"a container's frame", story.now)
    assert story.path.hearing.strange == 1
    assert story.is_fast


def test_codes_are_codes() -> None:
    for reason in Reason:
        assert fast_status.encode(replace(PEER, why=reason))


# --- what is easily forgotten ------------------------------------------------------------


def test_a_restarted_peer_has_seen_no_proof_yet() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    story.prove()
    assert story.statuses()[-1].proven
    story.hear(life=10, proven=True, small_seen=0, full_seen=0, heard_life=0)
    assert not story.is_fast
    assert not story.statuses()[-1].proven


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


def test_keys_are_agreed_anew_with_a_peer_that_started_over() -> None:
    story = Story(adopted(KEYS))
    story.permit(SECRET)
    story.hear(proven=True, spi=400)
    assert story.is_fast
    story.hear(life=10, vni=7001, spi=0)
    assert story.path.wish is not None
    assert story.path.wish.remote is not None
    assert story.path.wish.remote.esp == replace(KEYS, outbound=None)
    assert story.standing == ("probing", "esp-keys")


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
    probe = FastProbe(1, PEER.life, is_full=False)
    story.path.receive_probe_untrusted(fast_probe.encode(probe, 60, told.cookie), story.now)
    assert story.probes() == 2


def _advance(story: Story, seconds: float) -> list[object]:
    story.path.take_outputs()
    story.wait(seconds)
    return list(story.path.take_outputs())


def test_probes_of_another_life_are_not_acknowledged() -> None:
    story = Story().go_fast()
    cookie = story.statuses()[-1].cookie
    for life, seen in ((PEER.life + 1, 0), (PEER.life, 7)):
        probe = FastProbe(7, life, is_full=False)
        story.path.receive_probe_untrusted(fast_probe.encode(probe, 60, cookie), story.now)
        story.wait(1)
        assert story.statuses()[-1].small_seen == seen


def test_another_mtu_is_tried_at_once() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    for number in range(1, 9):
        story.wait(0.12)
        story.hear(heard_life=story.path.life, small_seen=number)
    assert story.standing == ("probing", "mtu")
    story.probes()
    story.hear(mtu=1000)
    assert story.standing == ("probing", "proving")
    assert story.probes() == 2


def test_one_packet_into_a_dead_direction_is_enough() -> None:
    """A connection's first packet would be followed by the next one after a second only."""
    for seed in range(10):
        pair = FastPair(seed)
        pair.start()
        pair.run_until(pair.both_fast, 5)
        pair.run(10 + pair.random.random())
        pair.a.mode = CUT
        pair.a.send_data(100)
        assert pair.run_until(pair.neither_fast, 1.2) <= 1.2
