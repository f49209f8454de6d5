"""How does a router say that it cannot go on? (Whole routers run in tests/netns.)"""

from __future__ import annotations

import pytest

from weave_py.loop.main_loop import MainLoop
from weave_py.model.errors import ConfigError, HostError
from weave_py.runtime.daemon import in_loop


async def failing(loop: MainLoop, error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        HostError("port in use"),
        ExceptionGroup("", [HostError("port in use")]),
        ExceptionGroup("", [ExceptionGroup("", [HostError("port in use")])]),
        ExceptionGroup("", [HostError("port in use"), ConfigError("second")]),
    ],
)
def test_an_expected_error_is_one_error(error: Exception) -> None:
    with pytest.raises(HostError, match="port in use"):
        in_loop(failing, error)


def test_a_bug_is_not_hidden_behind_an_expected_error() -> None:
    error = ExceptionGroup("", [HostError("port in use"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup) as caught:
        in_loop(failing, error)
    assert caught.group_contains(ZeroDivisionError)


def test_what_ends_well_just_ends() -> None:
    seen: list[object] = []

    async def main(loop: MainLoop, *args: object) -> None:
        seen.extend(args)

    in_loop(main, 1, 2)
    assert seen == [1, 2]
