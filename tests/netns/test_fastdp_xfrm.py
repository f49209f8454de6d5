"""Does the real kernel take what we ask of it about IPsec, and say no in words?

Policies need no ESP in the kernel; states are for tests/esp.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fastdp.esp.values import (
    ANY_IPV4,
    AddPolicy,
    DeletePolicy,
    Direction,
    Operation,
    Policy,
    Rule,
    Selector,
    UpdatePolicy,
    only,
    request_id,
)
from fastdp.kernel.xfrm import Xfrm
from tests.kit.fast_hosts import RealHost
from tests.netns.conftest import MakeLab
from weave_py.model.errors import HostError

TO_PEER = Selector(Direction.OUT, ANY_IPV4, only(ip_address("192.0.2.2")), 4789)
SEALED = Policy(TO_PEER, Rule.SEALED, request_id(4789), 0x11223344)


def did(*operations: Operation) -> list[Policy]:
    """The policies that are ours after it."""
    with Xfrm() as xfrm:
        for operation in operations:
            xfrm.apply(operation)
        return xfrm.policies()


def test_policies_come_and_go_and_refusals_have_words(make_lab: MakeLab) -> None:
    """F9: by the same socket as everything else that is asked by netlink."""
    host = RealHost(make_lab("full", 2), "h1")
    assert host.run(lambda: did(AddPolicy(SEALED))) == [SEALED]
    with pytest.raises(HostError, match="another program has one there"):
        host.run(lambda: did(AddPolicy(SEALED)))
    closed = Policy(TO_PEER, Rule.NOTHING, request_id(4789))
    assert host.run(lambda: did(UpdatePolicy(closed))) == [closed]
    assert host.run(lambda: did(DeletePolicy(closed), DeletePolicy(closed))) == []
