"""When is there no fast path, and what does it say why?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastdp.path.reasons import Reason, peer_reason
from fastdp.path.values import Direct, Permission
from tests.kit.fast_story import DIRECT, HOST, OPEN, PEER, Story
from weave_py.model.fast import DesiredVxlan, FastHost
from weave_py.wire import fast_status


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
    assert story.path.desired is None
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
    assert story.path.desired is None
    assert story.statuses()[-1].able  # that is no reason of ours


def test_the_port_stays_a_vxlan_device_through_what_may_pass() -> None:
    story = Story().go_fast()
    story.hear(able=False, why="no-direct-path")
    assert story.path.desired == DesiredVxlan(5000, False, None, through=False)
    story.hear(able=False, why="disabled")
    assert story.path.desired is None


def test_a_peer_that_disables_it_takes_its_device_away() -> None:
    story = Story().go_fast()
    story.permit(Permission(FastHost(0, "disabled"), DIRECT, False))
    assert story.path.desired is None
    assert story.standing == ("off", "disabled")


def test_the_underlay_has_a_family() -> None:
    story = Story()
    story.permit(Permission(HOST, Direct("2001:db8::1", "2001:db8::2"), False))
    story.hear()
    assert story.path.desired is not None
    assert story.path.desired.ipv6


def test_codes_are_codes() -> None:
    for reason in Reason:
        assert fast_status.encode(replace(PEER, why=reason))
