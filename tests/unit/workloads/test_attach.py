"""Are addresses and names what the kernel and the user expect?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import HostError
from weave_py.workloads.attach import (
    attach,
    expose,
    host_ifname_of,
)
from weave_py.workloads.netns import Namespace, own_namespace


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_names_fit_and_differ(one: int, other: int) -> None:
    first = host_ifname_of(Namespace("x", "/x", 4, one))
    second = host_ifname_of(Namespace("x", "/x", 4, other))
    assert len(first) <= 15
    assert (first == second) == (one == other)
    assert int(first.removeprefix("vethwepl"), 36) == one


def test_the_hosts_own_network_is_not_attached() -> None:
    with pytest.raises(HostError, match="use 'weave-py expose' instead"):
        attach("nosuch0", 1400, own_namespace(), ["10.2.1.1/24"])


def test_without_a_bridge() -> None:
    with pytest.raises(HostError, match="is the router running"):
        expose("nosuch0", ["10.2.1.1/24"])
