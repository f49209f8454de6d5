"""Where is the API served, for whom, and is it all or nothing?"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from weave_py.api.application import Application
from weave_py.config.resolve import Config, HttpAddress
from weave_py.host.run_directory import api_socket
from weave_py.model.errors import HostError
from weave_py.runtime import api_listeners

TCP = HttpAddress("127.0.0.1", 6784)


@pytest.fixture(autouse=True)
def run_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("weave_py.host.run_directory.RUN_DIRECTORY", tmp_path / "run")
    return tmp_path / "run"


def config(http_addr: HttpAddress | None, *, read_only: bool = False) -> Config:
    return Config(nickname="h1", http_addr=http_addr, http_read_only=read_only)


@pytest.mark.parametrize(("group", "mode"), [(None, 0o600), ("weave-py", 0o660)])
def test_the_own_socket_is_always_there(
    monkeypatch: pytest.MonkeyPatch, group: str | None, mode: int
) -> None:
    """F4"""
    monkeypatch.setattr(api_listeners, "usable_group", lambda: group)
    own = HttpAddress("", 0, api_socket("weave"))
    for named in (None, own):
        (only,) = api_listeners.listeners(config(named, read_only=True), Application([]))
        assert (only.address, only.read_only, only.mode, only.group) == (own, False, mode, group)
    first, second = api_listeners.listeners(config(TCP, read_only=True), Application([]))
    assert (first.address, first.read_only) == (own, False)
    assert (second.address, second.read_only) == (TCP, True)
    assert api_listeners.text(config(TCP, read_only=True)) == f"{own.text}, {TCP.text} (read only)"


async def test_if_one_place_is_taken_none_is_opened(run_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = HttpAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(HostError, match="another program already listens"):
            api_listeners.open_all(api_listeners.listeners(config(taken), Application([])))
    assert os.listdir(run_directory) == []
