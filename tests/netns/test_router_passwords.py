"""What happens between routers that do not share a password? Clear words, and patience.

h1 has a password, h2 another, h3 none. h2 and h3 call h1, h2 also calls h3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.kit.routers import Event, established, events
from tests.kit.waiting import until
from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

PASSWORDS = {"h1": "correct horse battery", "h2": "Tr0ub4dor&3 and more", "h3": None}
CALLS = {"h1": [], "h2": ["10.99.1.1", "10.99.1.3"], "h3": ["10.99.1.1"]}
ATTEMPTS = 5


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Host]]:
    directory = tmp_path_factory.mktemp("strangers")
    with Lab(build("full", 3)) as lab:
        hosts = {
            name: Host(lab, name, directory, LaunchOptions(password=password))
            for name, password in PASSWORDS.items()
        }
        try:
            for name, host in hosts.items():
                host.launch(CALLS[name])
            for host in hosts.values():
                host.wait_ready()
            yield hosts
        finally:
            for host in hosts.values():
                host.stop()


def connection_to(host: Host, address: str) -> dict[str, Any]:
    found = [
        connection
        for connection in host.report()["Router"]["Connections"]
        if connection["Address"].startswith(address) and connection["Outbound"]
    ]
    return found[0] if found else {}


@pytest.mark.parametrize(
    ("caller", "callee", "caller_says", "callee_says"),
    [
        (
            "h2",
            "h1",
            "the peer refused our password: give both routers the same one",
            "wrong password: the peer does not know this network's password",
        ),
        (
            "h3",
            "h1",
            "the peer's network has a password and we were started without one: "
            "set WEAVE_PASSWORD or --password-file",
            "the peer has no network password, and ours requires one",
        ),
        (
            "h2",
            "h3",
            "the peer's network has no password but ours has one",
            "the peer has a network password and we have none",
        ),
    ],
    ids=["another password", "no password", "only we have one"],
)
def test_both_sides_say_why(
    strangers: Mapping[str, Host], caller: str, callee: str, caller_says: str, callee_says: str
) -> None:
    from_address, to_address = f"10.99.1.{caller[1]}", f"10.99.1.{callee[1]}"
    for host, words, address in (
        (strangers[caller], caller_says, f"->{to_address}:6783"),
        (strangers[callee], callee_says, f"<-{from_address}:"),
    ):
        (event, *_) = until(partial(events, host, words), 10, f"{host.name} says {words}")
        assert event.level == "WARNING"
        assert address in event.text
    until(
        lambda: caller_says in connection_to(strangers[caller], to_address).get("Info", ""),
        10,
        f"{caller_says!r} in the report",
    )
    # It is not always shown: while a try is under way, there is no error.
    assert connection_to(strangers[caller], to_address)["State"] != "established"


def test_they_try_again_ever_more_rarely(strangers: Mapping[str, Host]) -> None:
    def attempts() -> list[Event]:
        found = events(strangers["h2"], "the peer refused our password")
        return found if len(found) >= ATTEMPTS else []

    found = until(attempts, 30, f"{ATTEMPTS} attempts")
    times = [event.at.timestamp() for event in found]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    # 0.5 s, times 1.6 each time, ± 50 %: the fourth pause is longer whatever the dice say.
    assert 0.2 < pauses[0] < 1.0
    assert pauses[3] > pauses[0]


def test_nobody_got_in(strangers: Mapping[str, Host]) -> None:
    for host in strangers.values():
        router = host.report()["Router"]
        assert established(host) == []
        assert [peer["NickName"] for peer in router["Peers"]] == [host.name]
        assert router["Paths"] == []


def test_no_password_shows_anywhere(strangers: Mapping[str, Host]) -> None:
    for host in strangers.values():
        said = host.log_path.read_text() + host.cli("report").stdout
        command_line = Path(f"/proc/{host.pid}/cmdline").read_bytes().decode()
        for password in filter(None, PASSWORDS.values()):
            assert password not in said
            assert password not in command_line
