"""Are addresses and names what the kernel and the user expect?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.model.errors import ConfigError, HostError
from weave_py.workloads.attach import (
    attach,
    checked_addresses,
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


def test_addresses_become_canonical() -> None:
    wanted = ["10.2.1.1/24", "fd00:0::0001/64", "10.2.1.1/24"]
    assert checked_addresses(wanted) == ["10.2.1.1/24", "fd00::1/64"]


@pytest.mark.parametrize(
    "text", ["10.2.1.1", "10.2.1/24", "10.2.1.1/33", "", "/24", "net:default", "fd00::1/129"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="expected ADDRESS/LENGTH"):
        checked_addresses([text])


@pytest.mark.parametrize("text", ["224.0.0.1/4", "0.0.0.0/0", "127.0.0.1/8", "::1/128", "::/0"])
def test_what_is_no_unicast_address(text: str) -> None:
    with pytest.raises(ConfigError, match="unicast"):
        checked_addresses([text])


def test_the_hosts_own_network_is_not_attached() -> None:
    with pytest.raises(HostError, match="use 'weave-py expose' instead"):
        attach("nosuch0", 1400, own_namespace(), ["10.2.1.1/24"])


def test_without_a_bridge() -> None:
    with pytest.raises(HostError, match="is the router running"):
        expose("nosuch0", ["10.2.1.1/24"])
