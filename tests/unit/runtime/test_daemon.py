"""How a router begins, and how it says that it cannot. (Whole routers run in tests/netns.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from weave_py.config.resolve import Config
from weave_py.loop.main_loop import MainLoop
from weave_py.model.errors import ConfigError, HostError
from weave_py.model.names import parse_target
from weave_py.runtime import daemon
from weave_py.runtime.services import Offer


def config(tmp_path: Path, *peers: str) -> Config:
    return Config(
        nickname="h1", state_dir=tmp_path / "state", peers=tuple(parse_target(p) for p in peers)
    )


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    async def main(config: Config, loop: MainLoop, offers: Sequence[Offer]) -> None:
        raise error

    monkeypatch.setattr(daemon, "_main", main)
    monkeypatch.setattr(daemon, "configure", lambda level: None)
    monkeypatch.setattr("os.umask", lambda mask: 0)


@pytest.mark.parametrize(
    "error",
    [
        HostError("port in use"),
        ExceptionGroup("", [HostError("port in use")]),
        ExceptionGroup("", [ExceptionGroup("", [HostError("port in use")])]),
        ExceptionGroup("", [HostError("port in use"), ConfigError("second")]),
    ],
)
def test_an_expected_error_is_one_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    _failing(monkeypatch, error)
    with pytest.raises(HostError, match="port in use"):
        daemon.run(config(tmp_path))


def test_a_bug_is_not_hidden_behind_an_expected_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _failing(monkeypatch, ExceptionGroup("", [HostError("port in use"), ZeroDivisionError()]))
    with pytest.raises(ExceptionGroup) as caught:
        daemon.run(config(tmp_path))
    assert caught.group_contains(ZeroDivisionError)


def test_a_router_that_ends_well_returns_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def main(config: Config, loop: MainLoop, offers: Sequence[Offer]) -> None: ...

    monkeypatch.setattr(daemon, "_main", main)
    monkeypatch.setattr(daemon, "configure", lambda level: None)
    monkeypatch.setattr("os.umask", lambda mask: 0)
    assert daemon.run(config(tmp_path)) == 0
