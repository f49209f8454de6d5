"""Are names and addresses read as users and peers write them, and nothing else?"""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weave_py.model.names import (
    DEFAULT_PORT,
    Endpoint,
    PeerName,
    Target,
    endpoint,
    name_text,
    parse_name,
    parse_target,
)


@given(st.binary(min_size=6, max_size=6).map(PeerName))
def test_a_name_is_read_as_it_is_written(name: PeerName) -> None:
    assert parse_name(name_text(name)) == name
    assert parse_name(name_text(name).upper()) == name


def test_a_name_looks_like_a_mac_address() -> None:
    assert name_text(PeerName(b"\x8a\x3e\x00\x11\x22\xff")) == "8a:3e:00:11:22:ff"


@pytest.mark.parametrize(
    "text", ["", "8a:3e:00:11:22", "8a:3e:00:11:22:33:44", "8a3e00112233", "8a:3e:00:11:22:3g", " "]
)
def test_not_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a peer name"):
        parse_name(text)


@given(st.ip_addresses().map(str), st.integers(1, 65535))
def test_an_endpoint_is_canonical(host: str, port: int) -> None:
    place = endpoint(host, port)
    assert endpoint(*place) == place
    assert place.family_is_ipv6 == (":" in place.host)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_endpoint_is_a_target(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    assume(not (address.is_unspecified or address.is_multicast or address.is_link_local))
    place = endpoint(str(address), port)
    assume(place.host not in ("0.0.0.0", "255.255.255.255"))
    assume(not ipaddress.ip_address(place.host).is_multicast)
    target = parse_target(place.text)
    assert (target.host, target.port) == place


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("0.0.0.0", "any address"),
        ("::", "any address"),
        ("::ffff:0.0.0.0", "any address"),
        ("255.255.255.255", "many hosts"),
        ("224.0.0.1", "many hosts"),
        ("239.1.2.3", "many hosts"),
        ("ff02::1%eth0", "many hosts"),
        ("::ffff:224.0.0.1", "many hosts"),
        ("fe80::1", "fe80::1%eth0"),
    ],
)
def test_addresses_that_are_no_ones(host: str, why: str) -> None:
    for text in (host, f"[{host}]:7" if ":" in host else f"{host}:7"):
        with pytest.raises(ValueError, match="not a peer address") as caught:
            parse_target(text)
        assert why in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%3", "fe80::1%3"),
    ],
)
def test_addresses_have_one_form(host: str, expected: str) -> None:
    assert endpoint(host, 1) == Endpoint(expected, 1)


def test_how_endpoints_read() -> None:
    assert Endpoint("192.0.2.1", 6783).text == "192.0.2.1:6783"
    assert Endpoint("2001:db8::1", 6783).text == "[2001:db8::1]:6783"


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("", 1),
        ("host.example", 1),
        ("192.0.2", 1),
        ("192.0.2.01", 1),
        ("192.0.2.1/24", 1),
        ("192.0.2.1%eth0", 1),
        ("::ffff:192.0.2.1%eth0", 1),
        ("fe80::1%", 1),
        ("fe80::1%eth0\n", 1),
        ("fe80::1%a b", 1),
        ("fe80::1%" + "x" * 16, 1),
        ("192.0.2.1", 0),
        ("192.0.2.1", 65536),
        ("192.0.2.1", -1),
    ],
)
def test_not_an_endpoint(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"not"):
        endpoint(host, port)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("host", "host", DEFAULT_PORT),
        ("host.example.", "host.example.", DEFAULT_PORT),
        ("host:1", "host", 1),
        ("192.0.2.1", "192.0.2.1", DEFAULT_PORT),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("::1", "::1", DEFAULT_PORT),
        ("2001:db8::1:6783", "2001:db8::1:6783", DEFAULT_PORT),
        ("[::1]", "::1", DEFAULT_PORT),
        ("[::1]:7", "::1", 7),
        ("[fe80::1%eth0]:7", "fe80::1%eth0", 7),
        ("  host:1 ", "host", 1),
    ],
)
def test_targets(text: str, host: str, port: int) -> None:
    assert parse_target(text) == Target(host, port, text.strip())


def test_the_default_port_is_the_callers() -> None:
    assert parse_target("host", 99).port == 99
    assert parse_target("host:1", 99).port == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        ":1",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:http",
        "host:1:2",
        "192.0.2.1:1:",
        "::g",
        "[::1",
        "[::1]7",
        "[]:7",
        "[::1]:x",
        "two words",
        "host/path",
        "user@host",
        "http://host",
        "host\nhost",
    ],
)
def test_not_a_target(text: str) -> None:
    with pytest.raises(ValueError, match="not a peer address") as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        target = parse_target(text)
        assert 0 < target.port < 65536
        assert parse_target(target.text) == target
