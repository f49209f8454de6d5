"""Settings: precedence, every field's limits, and what the user is told."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.config.options import (
    OPTIONS,
    RESUME,
    STATE_DIR,
    HttpAddress,
    parse_http_address,
)
from weave_py.config.resolve import Config, Settings, resolve
from weave_py.model.errors import ConfigError
from weave_py.model.names import parse_target


def variable(name: str) -> str:
    (option,) = (option for option in OPTIONS if option.name == name)
    return option.variable


def test_the_defaults_are_weaves() -> None:
    config = resolve({}, [], {})
    assert (config.port, config.conn_limit, config.mtu, config.bridge) == (6783, 200, 1376, "weave")
    assert config.http_addr is None
    assert not config.http_read_only
    assert config.state_dir == Path("/var/lib/weave-py")
    assert config.discovery
    assert config.fastdp
    assert config.password is None
    assert config.host is None
    assert config.nickname
    assert config.trusted_subnets == ()


def test_flag_wins_over_environment_wins_over_default() -> None:
    environ = {"WEAVE_PORT": "7000", "WEAVE_MTU": "1400", "WEAVE_NO_DISCOVERY": "1"}
    config = resolve({"port": "7001", "mtu": None}, [], environ)
    assert (config.port, config.mtu, config.conn_limit) == (7001, 1400, 200)
    assert not config.discovery


@pytest.mark.parametrize(
    ("option", "text", "field", "value"),
    [
        ("name", "edge", "name_alias", "edge"),
        ("nickname", "höst", "nickname", "höst"),
        ("host", "::1", "host", "::1"),
        ("host", "192.168.48.11", "host", "192.168.48.11"),
        ("port", "1", "port", 1),
        ("conn-limit", "0", "conn_limit", 0),
        ("mtu", "576", "mtu", 576),
        ("mtu", "65521", "mtu", 65521),
        ("http-addr", "off", "http_addr", None),
        ("http-addr", "", "http_addr", None),
        ("http-read-only", "1", "http_read_only", True),
        ("http-addr", "/run/w.sock", "http_addr", HttpAddress("", 0, "/run/w.sock")),
        ("http-addr", "[::1]:80", "http_addr", HttpAddress("::1", 80)),
        ("http-addr", "localhost:80", "http_addr", HttpAddress("127.0.0.1", 80)),
        ("state-dir", "/srv/../srv/w", "state_dir", Path("/srv/w")),
        (
            "trusted-subnets",
            "10.0.0.0/8, fd00::/8",
            "trusted_subnets",
            (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")),
        ),
        ("log-level", "DEBUG", "log_level", "debug"),
        ("bridge", "weave-b", "bridge", "weave-b"),
    ],
)
def test_every_option_comes_from_flag_and_environment(
    option: str, text: str, field: str, value: object
) -> None:
    assert getattr(resolve({option: text}, [], {}), field) == value
    assert getattr(resolve({}, [], {variable(option): text}), field) == value


@pytest.mark.parametrize(
    ("option", "text", "advice"),
    [
        ("port", "0", "1 to 65535"),
        ("port", "65536", "1 to 65535"),
        ("port", "http", "1 to 65535"),
        ("port", "٣", "1 to 65535"),
        ("conn-limit", "-1", "up to 256"),
        ("conn-limit", "257", "up to 256"),
        ("mtu", "575", "576"),
        ("mtu", "65522", "65521"),
        ("host", "example.com", "numeric"),
        ("http-addr", "6784", "ADDRESS:PORT"),
        ("http-addr", "0.0.0.0:6784", "loopback"),
        ("http-addr", "example.com:6784", "loopback"),
        ("http-addr", "127.0.0.1:0", "1 to 65535"),
        ("http-addr", "/" + "x" * 107, "at most 107"),
        ("http-addr", "/etc", "not a socket"),
        ("http-addr", "/etc/passwd", "not a socket"),
        ("state-dir", "/", "/var/lib/weave-py"),
        ("state-dir", "/etc", "a directory of its own"),
        ("trusted-subnets", "10.0.0.1/8", "10.0.0.0/8"),
        ("trusted-subnets", "nowhere", "10.0.0.0/8,"),
        ("log-level", "loud", "debug, info"),
        ("bridge", "sixteen-letters-", "interface name"),
        ("bridge", "..", "interface name"),
        ("nickname", "a\x1b[2J", "printable"),
        ("nickname", " ", "printable"),
        ("nickname", "ö" * 128, "255 bytes"),
        ("no-fastdp", "perhaps", "1 or 0"),
    ],
)
def test_a_bad_value_is_named_with_source_and_advice(option: str, text: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({}, [], {variable(option): text})
    message = str(caught.value)
    assert all(part in message for part in (f"--{option}", repr(text), variable(option), advice))
    assert "\n" not in message
    if option != "no-fastdp":
        with pytest.raises(ConfigError, match="from the command line"):
            resolve({option: text}, [], {})


def test_an_empty_variable_is_not_set_but_for_the_http_address() -> None:
    environ = dict.fromkeys(map(variable, ("port", "mtu", "bridge", "no-fastdp", "http-addr")), "")
    config = resolve({}, [], environ)
    assert (config.port, config.mtu, config.bridge, config.fastdp) == (6783, 1376, "weave", True)
    assert config.http_addr is None


@pytest.mark.parametrize(("text", "on"), [("1", True), ("yes", True), ("0", False), ("off", False)])
def test_switches_from_the_environment(text: str, on: bool) -> None:
    assert Settings({}, {"WEAVE_RESUME": text}).value(RESUME) is on
    assert Settings({"resume": True}, {"WEAVE_RESUME": text}).value(RESUME) is True


def test_peers_are_parsed_and_bad_ones_named() -> None:
    config = resolve({}, ["10.1.1.1", "[::1]:7000"], {})
    assert config.peers == (parse_target("10.1.1.1"), parse_target("[::1]:7000"))
    with pytest.raises(ConfigError, match="bad port"):
        resolve({}, ["host:port"], {})


def test_resume_takes_no_peers() -> None:
    with pytest.raises(ConfigError, match="not both"):
        resolve({"resume": True}, ["10.1.1.1"], {})


def test_the_password_is_not_in_the_repr() -> None:
    config = resolve({"password": "hunter2"}, [], {})
    assert config.password == "hunter2"
    assert "hunter2" not in repr(config)


def test_a_config_is_frozen() -> None:
    config = Config(nickname="h")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1  # type: ignore[misc]


@given(st.text(max_size=30))
def test_no_text_makes_the_api_listen_beyond_loopback(text: str) -> None:
    try:
        address = parse_http_address(text)
    except ValueError:
        return
    if address is not None and not address.path:
        assert ipaddress.ip_address(address.host).is_loopback
        assert parse_http_address(address.text) == address


def test_the_text_of_an_address_reads_back() -> None:
    for text in ("127.0.0.1:6784", "[::1]:6784", "/run/weave.sock"):
        address = parse_http_address(text)
        assert address is not None
        assert address.text == text


@pytest.mark.parametrize("option", ["state-dir", "password-file", "bridge"])
def test_an_empty_flag_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option}"):
        resolve({option: ""}, [], {})


def test_a_state_directory_may_have_been_used(tmp_path: Path) -> None:
    def state_dir() -> Path:
        return Settings({"state-dir": str(tmp_path)}, {}).value(STATE_DIR)

    (tmp_path / "lock").touch()
    assert state_dir() == tmp_path
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="a directory of its own"):
        state_dir()
    (tmp_path / "identity.json").touch()
    assert state_dir() == tmp_path


def test_a_relative_state_directory_of_a_deleted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="working directory was deleted: use an absolute path"):
        resolve({"state-dir": "state"}, [], {})


def test_router_and_api_share_no_port() -> None:
    for flags in ({"port": "6784"}, {"port": "6784", "host": "127.0.0.1"}, {"host": "0.0.0.0"}):
        api = {"WEAVE_HTTP_ADDR": "127.0.0.1:" + flags.get("port", "6783")}
        with pytest.raises(ConfigError, match="--port and --http-addr are the same port"):
            resolve(flags, [], api)
    assert resolve({"port": "6784", "host": "192.0.2.1"}, [], {}).port == 6784
    assert resolve({"port": "6784", "http-addr": "off"}, [], {}).port == 6784
