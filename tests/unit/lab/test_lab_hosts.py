"""Are routers told what the topology and the options say?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from weave_py.lab.hosts import Host, LaunchOptions
from weave_py.lab.mesh import LabMesh, overlay_address
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build
from weave_py.model.errors import HostError


class StartedProcess:
    def poll(self) -> int | None:
        return 1  # it ended at once

    def wait(self, timeout: float | None = None) -> int:
        return 1

    def terminate(self) -> None: ...


class PaperLab(Lab):
    """Starts nothing, remembers what should have been started."""

    def __init__(self, kind: str = "chain", hosts: int = 3) -> None:
        super().__init__(build(kind, hosts), prefix="paper-")
        self.started: list[tuple[str, list[str], Mapping[str, str]]] = []

    def popen(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: IO[bytes] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Any:
        self.started.append((name, list(argv), extra or {}))
        return StartedProcess()


def launched(lab: PaperLab, name: str, directory: Path, options: LaunchOptions) -> list[str]:
    Host(lab, name, directory, options).launch()
    return lab.started[-1][1]


def test_a_host_calls_its_seed_at_the_address_on_their_wire(tmp_path: Path) -> None:
    assert launched(PaperLab(), "h3", tmp_path, LaunchOptions())[-1] == "10.99.2.2"
    assert launched(PaperLab("full"), "h3", tmp_path, LaunchOptions())[-1] == "10.99.1.1"
    assert "10.99" not in " ".join(launched(PaperLab(), "h1", tmp_path, LaunchOptions()))


def test_options_become_flags(tmp_path: Path) -> None:
    options = LaunchOptions(
        fastdp=False, discovery=False, conn_limit=7, mtu=1300, extra=("--trusted-subnets", "x")
    )
    words = " ".join(launched(PaperLab(), "h1", tmp_path, options))
    assert "launch --nickname h1 --state-dir" in words
    assert words.endswith(
        "--no-fastdp --no-discovery --conn-limit 7 --mtu 1300 --trusted-subnets x"
    )
    plain = " ".join(launched(PaperLab(), "h2", tmp_path, LaunchOptions()))
    assert "--no-" not in plain
    assert "--mtu" not in plain


def test_the_password_is_nowhere_on_the_command_line(tmp_path: Path) -> None:
    lab = PaperLab()
    words = launched(lab, "h1", tmp_path, LaunchOptions(password="pssst"))
    assert "pssst" not in " ".join(words)
    assert lab.started[-1][2] == {"WEAVE_PASSWORD": "pssst"}


def test_the_state_is_for_the_owner_only(tmp_path: Path) -> None:
    launched(PaperLab(), "h1", tmp_path, LaunchOptions())
    assert (tmp_path / "h1.state").stat().st_mode & 0o777 == 0o700


def test_a_router_that_ends_at_once_is_not_waited_for(tmp_path: Path) -> None:
    host = Host(PaperLab(), "h1", tmp_path)
    host.launch()
    host.log_path.write_text("one\ntwo\nthree\nfour\n")
    with pytest.raises(HostError, match=r"ended by itself; its log ends: two \| three \| four"):
        host.wait_ready(60)
    host.stop()


def test_every_host_of_the_topology_is_launched(tmp_path: Path) -> None:
    lab = PaperLab("star", 5)
    with LabMesh(lab, tmp_path) as mesh:
        mesh.launch()
    assert [name for name, _, _ in lab.started] == ["h1", "h2", "h3", "h4", "h5"]
    assert overlay_address("c12") == "10.32.0.12"
