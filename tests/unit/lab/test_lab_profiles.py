"""Are the profiles of hosts what the command offers, and their rules whole?"""

from __future__ import annotations

import click
import pytest

from weave_py.cli.demo import demo_command
from weave_py.lab import demo, profile_rules
from weave_py.lab.internet import Internet
from weave_py.lab.profiles import PROFILES, profile_of
from weave_py.model.errors import ConfigError


def test_the_command_offers_all_of_them() -> None:
    (option,) = [param for param in demo_command.params if param.name == "profile"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == [profile.name for profile in PROFILES]
    assert option.default == PROFILES[0].name


def test_an_unknown_one_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run_demo(2, "full", True, None, False, "mainframe") == 1
    assert "no such profile 'mainframe'; use one of plain, docker" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        profile_of("")


@pytest.mark.parametrize(
    "text",
    [
        profile_rules.docker([("docker0", "172.17.0.0/16")]),
        profile_rules.ufw(),
        profile_rules.firewalld(),
    ],
)
def test_rules_are_whole(text: str) -> None:
    assert text.count("{") == text.count("}")
    assert "hook forward" in text


def test_two_uplinks_are_two_networks_of_the_same_hosts() -> None:
    lab = profile_of("two-uplinks").lab("full", 2)
    first, second = lab.topology.wires
    assert first.members == second.members == ("h1", "h2")
    assert first.number != second.number
    assert len({lab.topology.device("h1", wire) for wire in (first, second)}) == 2
    assert lab.topology.seeds("h2") == ("h1",)


def test_in_the_cloud_each_but_the_first_is_behind_a_gateway_of_its_own() -> None:
    lab = profile_of("cloud-nat").lab("chain", 4)
    assert isinstance(lab, Internet)
    assert [site.hosts for site in lab.sites] == [("h2",), ("h3",), ("h4",)]
    assert lab.address("h1", "h2") == "198.51.100.1"
    with pytest.raises(ValueError, match="does not reach"):
        lab.address("h2", "h3")
