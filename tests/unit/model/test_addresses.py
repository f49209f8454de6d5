"""Is an address that one door refuses refused by all of them, and in the same words?"""

from __future__ import annotations

import ipaddress

import click
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from weave_py.cli.workloads import attach_command, detach_command, expose_command, hide_command
from weave_py.model.addresses import usable_addresses, written_addresses
from weave_py.model.errors import ConfigError, HostError, WeaveError
from weave_py.workloads.attach import attach, detach, expose, hide
from weave_py.workloads.netns import own_namespace

NOBODY = "/nonexistent/weave-py-test.sock"
LIKELY = st.one_of(
    st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 140)),
    st.builds(
        "{}/{}".format,
        st.sampled_from(
            ("10.2.1.0", "10.2.1.255", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "::1",
             "ff02::1", "fd00::", "fe80::1%eth0", "::ffff:10.2.1.1", "10.2.1", "0x0a.1.1.1")
        ),
        st.sampled_from(("0", "8", "24", "30", "31", "32", "64", "127", "128", "255.255.255.0",
                         "+24", " 24", "024", "")),
    ),
    st.text("0123456789abcdef.:/% ip-", max_size=24),
    st.text(max_size=8),
)  # fmt: skip


def asked_of_the_command(command: click.Command, words: tuple[str, ...]) -> str:
    """What is wrong with it; empty if the router would have been asked next."""
    assert command.callback is not None
    more = {p.name: False for p in command.params if isinstance(p, click.Option) and p.is_flag}
    with pytest.raises((click.UsageError, WeaveError)) as ended:
        command.callback(words=words, http_addr=NOBODY, bridge=None, **more)
    return ended.value.message if isinstance(ended.value, click.UsageError) else ""


def asked_of_workloads(door: object, *arguments: object) -> str:
    """The same; empty if the kernel would have been asked next, which has no such bridge."""
    assert callable(door)
    with pytest.raises((ConfigError, HostError)) as ended:
        door(*arguments)
    return str(ended.value) if isinstance(ended.value, ConfigError) else ""


@given(LIKELY)
@example("10.2.1.0/24")
@example("10.2.1.255/24")
@example("fe80::1%eth0/64")
@example("255.255.255.255/32")
def test_both_doors_accept_the_same(text: str) -> None:
    """F9: there were two rules, and the laxer one was for Docker and CNI."""
    assume(not text.startswith("net:"))  # Weave's, and has words of its own
    ours = own_namespace()
    given_to = asked_of_workloads(attach, "nosuch0", 1400, ours, [text])
    assert given_to == asked_of_workloads(expose, "nosuch0", [text])
    assert given_to == asked_of_the_command(attach_command, (text, "c1"))
    assert given_to == asked_of_the_command(expose_command, (text,))
    taken = asked_of_workloads(detach, "nosuch0", ours, [text])
    assert taken == asked_of_workloads(hide, "nosuch0", [text])
    assert taken == asked_of_the_command(detach_command, (text, "c1"))
    assert taken == asked_of_the_command(hide_command, (text,))
    if taken:
        assert given_to, "what is no address is not usable either"


@given(LIKELY)
def test_what_passes_is_canonical_and_unicast(text: str) -> None:
    try:
        (found,) = usable_addresses([text])
    except ValueError:
        return
    interface = ipaddress.ip_interface(found)
    assert str(interface) == found
    assert usable_addresses([found]) == written_addresses([found]) == [found]
    assert not interface.ip.is_multicast
    assert not interface.ip.is_loopback
    assert interface.ip != ipaddress.ip_address("255.255.255.255")


def test_addresses_become_canonical() -> None:
    wanted = ["10.2.1.1/24", "ip:fd00:0::0001/64", "10.2.1.1/24"]
    assert usable_addresses(wanted) == ["10.2.1.1/24", "fd00::1/64"]


@pytest.mark.parametrize(
    "text",
    [
        "10.2.1.1",
        "10.2.1/24",
        "10.2.1.1/33",
        "",
        "/24",
        "net:default",
        "fd00::1/129",
        "fe80::1%e/9",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        written_addresses([text])


@pytest.mark.parametrize("text", ["224.0.0.1/4", "0.0.0.0/0", "127.0.0.1/8", "::1/128", "::/0"])
def test_what_is_no_unicast_address(text: str) -> None:
    assert written_addresses([text]) == [text]
    with pytest.raises(ValueError, match="unicast"):
        usable_addresses([text])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.2.1.0/24", "that of the network 10.2.1.0/24"),
        ("10.2.1.255/24", "the broadcast address of 10.2.1.0/24"),
        ("255.255.255.255/32", "for all hosts at once"),
        ("fd00::/64", "that of the network"),
    ],
)
def test_what_is_no_hosts(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        usable_addresses([text])
