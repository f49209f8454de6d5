"""Is there a sentence for every code, and a word for everything that can be repaired?"""

from __future__ import annotations

import pytest

from fastdp import descriptions
from fastdp.path.reasons import NEVER
from fastdp.plan.operations import (
    AddRemote,
    AddVxlan,
    ConfigureTap,
    DeleteRemote,
    DeleteVxlan,
    Divert,
    Forget,
    Guard,
    HandOver,
    IntoPort,
    Isolate,
    OntoItself,
    Operation,
    Plug,
    SetLocal,
    SetMtu,
    SetUp,
    Undivert,
    Unplug,
)
from fastdp.plan.state import Device, Remote
from weave_py.model.names import PeerName

PEER = PeerName(b"\x02peer!")
TO = Remote("192.0.2.1", 4789, 7000)
VXLAN = Device.VXLAN
ALL: list[Operation] = [
    AddRemote(PEER, TO),
    AddVxlan(PEER, 7000, 4789, False, None, "02:00:00:00:00:01", 1376),
    ConfigureTap(PEER, 1376, 64, True),
    DeleteRemote(PEER, TO),
    DeleteVxlan(PEER),
    Divert(PEER, 2),
    Forget(PEER, VXLAN),
    Guard(PEER),
    HandOver(PEER, None, VXLAN),
    IntoPort(PEER),
    Isolate(PEER, VXLAN),
    OntoItself(PEER),
    Plug(PEER, VXLAN),
    SetLocal(PEER, False, None),
    SetMtu(PEER, VXLAN, 1376),
    SetUp(PEER, VXLAN),
    Undivert(PEER, 2),
    Unplug(PEER, VXLAN),
]


def test_these_are_all() -> None:
    # By name: a class with slots is made twice.
    assert {type(o).__name__ for o in ALL} == {c.__name__ for c in Operation.__subclasses__()}


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: type(operation).__name__)
def test_every_operation_has_a_word(operation: Operation) -> None:
    assert descriptions.done([operation])


def test_each_thing_is_said_once_and_in_order() -> None:
    said = descriptions.done([SetUp(PEER, VXLAN), Guard(PEER), SetUp(PEER, VXLAN)])
    assert said == "VXLAN device brought up, filters for probes renewed"


@pytest.mark.parametrize("code", sorted(NEVER))
def test_every_code_of_a_host_has_a_sentence(code: str) -> None:
    assert descriptions.why_never(code) != code
