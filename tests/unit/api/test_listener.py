"""Sockets: made for those they are for, safely, and never taken from somebody who listens."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from weave_py.api.application import Application
from weave_py.api.listener import (
    GROUP,
    Listener,
    OpenListener,
    check_free,
    open_listener,
    usable_group,
)
from weave_py.config.resolve import HttpAddress
from weave_py.host.locks import locked
from weave_py.model.errors import HostError


def listen(path: Path, mode: int = 0o660, group: str | None = None) -> OpenListener:
    return open_listener(
        Listener(
            address=HttpAddress("", 0, str(path)),
            application=Application([]),
            mode=mode,
            group=group,
        )
    )


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def test_a_port_in_use_is_a_host_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = HttpAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(HostError, match="already listens"):
            open_listener(Listener(address=address, application=Application([])))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_a_socket_is_for_whom_it_is_meant(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        opened = listen(tmp_path / "run" / "s", mode, grp.getgrgid(os.getegid()).gr_name)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    found = os.stat(tmp_path / "run" / "s")
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, os.getegid())
    assert stat.S_IMODE(os.stat(tmp_path / "run").st_mode) == 0o755
    opened.socket.close()


async def test_an_unknown_group_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no group is called"):
        listen(tmp_path / "s", group="no such group")
    assert not os.listdir(tmp_path)


async def test_a_crashed_routers_socket_is_replaced_a_living_ones_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).socket.close()  # the file stays, as after a crash
    opened = listen(path)
    assert connects(path)
    with pytest.raises(HostError, match="already listens"):
        listen(path)
    assert connects(path)
    opened.socket.close()


async def test_who_is_too_busy_to_accept_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(str(path))
        with pytest.raises(HostError, match="already listens"):
            listen(path)
        for one in waiting:
            one.close()
    assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
async def test_what_is_no_socket_stays(tmp_path: Path, kind: str) -> None:
    path, precious = tmp_path / "s", tmp_path / "precious"
    precious.write_text("data")
    if kind == "file":
        precious.rename(path)
    elif kind == "link":
        path.symlink_to(precious)
    else:
        path.mkdir()
    with pytest.raises(HostError, match=str(path)):
        listen(path)
    assert (path if kind == "file" else precious).read_text() == "data"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
async def test_a_directory_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    """Its owner could put a socket of his own in the place of ours, and root would talk to it."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(HostError, match="other users can change"):
        listen(directory / "s")
    assert not list(directory.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to somebody else")
async def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "his"
    directory.mkdir()
    os.chown(directory, 12345, -1)
    with pytest.raises(HostError, match="other users can change"):
        listen(directory / "s")


async def test_of_two_that_start_at_once_one_listens(tmp_path: Path) -> None:
    """Both find a dead socket; neither may remove the living one of the other."""
    path, results = tmp_path / "s", list[object]()
    listen(path).socket.close()

    def start() -> None:
        try:
            results.append(listen(path))
        except HostError as error:
            results.append(error)

    first = ExitStack()  # he looks for it at this moment
    first.enter_context(locked(str(tmp_path / "s.lock"), wait=True))
    second = threading.Thread(target=start)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        first.close()
        second.join()
        assert [type(result) for result in results] == [HostError]
        assert connects(path)
    assert os.listdir(tmp_path) == ["s"]


async def test_a_taken_port_is_found_out_beforehand() -> None:
    """t41: and whose it is, is said."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = HttpAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(HostError, match=rf"another program already .*pid {os.getpid()}, user"):
            check_free(address)
    check_free(address)
    opened = open_listener(Listener(address=address, application=Application([])))
    opened.close()
    check_free(address)


def test_the_group_is_used_if_there_is_one_and_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace the host's groups have no number."""
    known: dict[str, int] = {}
    monkeypatch.setattr(
        grp, "getgrnam", lambda name: grp.struct_group((name, "x", known[name], []))
    )
    assert usable_group() is None
    known[GROUP] = os.getegid()
    assert usable_group() == GROUP


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
def test_a_group_that_we_may_not_give_files_to_is_not_used() -> None:
    code = (
        "import grp, os; grp.getgrnam = lambda name: grp.struct_group((name, 'x', 990, []));"
        "from weave_py.api.listener import usable_group; os.setuid(65534); print(usable_group())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
