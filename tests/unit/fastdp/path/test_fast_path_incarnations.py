"""Does a path survive restarts and new keys, and is what belongs to another life not believed?"""

from __future__ import annotations

from dataclasses import replace

from fastdp.path.values import FastState, Permission
from tests.kit.fast_pair import FastPair
from tests.kit.fast_story import HOST, KEYS, OPEN, PEER, SECRET, Story, adopted
from weave_py.model.fast import DesiredEsp, EspKey
from weave_py.wire import fast_probe, fast_status
from weave_py.wire.fast_probe import FastProbe


def test_an_older_status_is_ignored() -> None:
    story = Story().go_fast()
    late = replace(story.peer, number=story.peer.number - 1, proven=False)
    story.path.receive_status_untrusted(fast_status.encode(late), story.now)
    assert story.is_fast


def test_probes_of_another_life_are_not_acknowledged() -> None:
    story = Story().go_fast()
    cookie = story.statuses()[-1].cookie
    for incarnation, seen in ((PEER.incarnation + 1, 0), (PEER.incarnation, 7)):
        probe = FastProbe(7, incarnation, is_full=False)
        story.path.receive_probe_untrusted(fast_probe.encode(probe, 60, cookie), story.now)
        story.wait(1)
        assert story.statuses()[-1].small_seen == seen


def test_a_restarted_peer_that_adopted_its_path_is_trusted() -> None:
    story = Story().go_fast()
    story.hear(incarnation=10, number=0, small_seen=0, full_seen=0, heard_incarnation=0)
    assert story.is_fast
    stale = replace(story.peer, incarnation=9, number=99, proven=False)
    story.path.receive_status_untrusted(fast_status.encode(stale), story.now)
    assert story.is_fast
    assert story.path.peer is not None
    assert story.path.peer.incarnation == 10
    for _ in range(5):  # it saw none of the probes before
        story.wait(0.05)
        story.hear(heard_incarnation=story.path.incarnation)
    assert story.is_fast


def test_a_life_that_was_taken_for_the_older_one_comes_back() -> None:
    """Statuses of two lives that we both did not know came in the wrong order."""
    story = Story()
    story.permit(OPEN)
    story.hear(incarnation=11)
    story.hear(incarnation=10)
    for _ in range(8):
        story.wait(1)
        story.hear(incarnation=11)
    assert story.path.peer is not None
    assert story.path.peer.incarnation == 11


def test_a_restarted_peer_that_started_over_is_proven_anew() -> None:
    story = Story().go_fast()
    story.hear(incarnation=10, vni=7001)
    assert story.standing == ("probing", "device")
    assert not story.through
    assert story.path.desired is not None
    assert story.path.desired.remote is not None
    assert story.path.desired.remote.vni == 7001


def test_a_restarted_peer_has_seen_no_proof_yet() -> None:
    story = Story()
    story.permit(OPEN)
    story.hear()
    story.ready()
    story.prove()
    assert story.statuses()[-1].proven
    story.hear(incarnation=10, proven=True, small_seen=0, full_seen=0, heard_incarnation=0)
    assert not story.is_fast
    assert not story.statuses()[-1].proven


def test_keys_are_agreed_anew_with_a_peer_that_started_over() -> None:
    story = Story(adopted(KEYS))
    story.permit(SECRET)
    story.hear(proven=True, spi=400)
    assert story.is_fast
    story.hear(incarnation=10, vni=7001, spi=0)
    assert story.path.desired is not None
    assert story.path.desired.remote is not None
    assert story.path.desired.remote.esp == replace(KEYS, outbound=None)
    assert story.standing == ("probing", "esp-keys")


def test_what_runs_is_adopted() -> None:
    story = Story(adopted())
    assert story.standing == ("fast", "adopted")
    assert story.path.desired == adopted()
    story.wait(100)
    assert story.path.take_outputs()[1:] == []  # nothing but the change: nobody to tell
    story.permit(Permission(HOST, None, False))
    assert story.standing == ("fast", "adopted")
    told = story.statuses()[-1]
    assert (told.able, told.using, told.proven, told.vni) == (True, True, True, 5000)
    story.hear(proven=True)
    assert story.standing == ("fast", "")
    assert story.path.desired == adopted()


def test_adopted_is_not_exempt_from_evidence() -> None:
    story = Story(adopted())
    story.permit(OPEN)
    story.hear(proven=False, why="probe-lost")
    assert story.standing[0] == "degraded"


def test_adopted_encryption_stays_until_new_keys_are_agreed() -> None:
    story = Story(adopted(KEYS))
    assert story.is_fast
    story.permit(SECRET)
    new = DesiredEsp((EspKey(301, b"j" * 36),), EspKey(401, b"p" * 36))
    story.path.esp_offered(new, story.now)
    desired = story.path.desired
    assert desired is not None
    assert desired.remote is not None
    assert desired.remote.esp == DesiredEsp(KEYS.inbound + new.inbound, KEYS.outbound)
    story.hear(proven=True, spi=401)
    desired = story.path.desired
    assert desired is not None
    assert desired.remote is not None
    assert desired.remote.esp is not None
    assert desired.remote.esp.outbound == new.outbound
    assert desired.through


def test_keys_that_cannot_be_read_back_are_adopted_unseen() -> None:
    story = Story(adopted(DesiredEsp((), None)))
    story.permit(SECRET)
    assert story.through
    new = DesiredEsp((EspKey(301, b"j" * 36),), EspKey(401, b"p" * 36))
    story.path.esp_offered(new, story.now)
    desired = story.path.desired
    assert desired is not None
    assert desired.remote is not None
    assert desired.remote.esp == DesiredEsp(new.inbound, None), (
        "the old outbound key stays in place"
    )
    story.hear(proven=True, spi=401)
    desired = story.path.desired
    assert desired is not None
    assert desired.remote is not None
    assert desired.remote.esp == new
    assert desired.through


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
