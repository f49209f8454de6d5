"""Is an option that is declared once known everywhere, and the same?"""

from __future__ import annotations

import dataclasses
from typing import Any

import click
import pytest

from weave_py.cli.launch import launch_command
from weave_py.cli.sim import sim_command
from weave_py.config.options import CONN_LIMIT, MTU, OPTIONS, RECORD_DATAGRAMS, Option
from weave_py.config.resolve import Config, resolve
from weave_py.model.errors import ConfigError
from weave_py.router.settings import EngineSettings
from weave_py.sim.scenario import Options

DEFAULTS = Config(nickname="h")
FLAGS = {name: flag for flag in launch_command.params for name in flag.opts}
ALL = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.name))


@ALL
def test_launch_has_the_flag_with_its_default_in_the_help(option: Option[Any]) -> None:
    """F8: an option was declared five times, with its default in three of them."""
    flag = FLAGS.get(f"--{option.name}")
    if option.hidden:
        assert flag is None
        return
    assert isinstance(flag, click.Option)
    assert flag.is_flag == option.is_switch
    assert flag.help is not None
    if option.default_text and not option.is_switch:
        assert f"[default: {option.default_text}]" in flag.help


@ALL
def test_its_default_is_that_of_the_configuration(option: Option[Any]) -> None:
    assert option.help.endswith(".")
    if option.setting is None:
        return
    assert option.setting in {field.name for field in dataclasses.fields(Config)}
    if option.name != "nickname":  # the host's name
        expected = not option.default if option.turns_off else option.default
        assert getattr(DEFAULTS, option.setting) == expected
        assert getattr(resolve({}, [], {}), option.setting) == expected


@ALL
def test_every_bad_value_is_told_with_its_source(option: Option[Any]) -> None:
    if option.name in ("trusted-subnets", "state-dir", "password", "password-file"):
        return  # nearly any text is one; or read elsewhere
    with pytest.raises(ConfigError) as told:
        resolve({}, [], {option.variable: "\x1b" * 300})
    assert str(told.value).startswith(f"--{option.name} = ")
    assert f"(from {option.variable})" in str(told.value)


def test_engine_and_simulation_have_the_same_defaults() -> None:
    settings = EngineSettings()
    assert settings.conn_limit == Options(peers=2).conn_limit == CONN_LIMIT.default
    assert settings.mtu == MTU.default
    assert settings.record_datagrams == RECORD_DATAGRAMS.default
    (flag,) = (p for p in sim_command.params if p.name == "conn_limit")
    assert flag.default == CONN_LIMIT.default


def test_names_are_given_once() -> None:
    assert len({option.variable for option in OPTIONS}) == len(OPTIONS)
    settings = [option.setting for option in OPTIONS if option.setting is not None]
    assert len(set(settings)) == len(settings)
