"""Is the namespace found that was meant, and a clear no given otherwise?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from weave_py.model.errors import HostError
from weave_py.workloads.netns import Namespace, own_namespace, resolve_namespace


@pytest.fixture(autouse=True)
def no_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def engine(tmp_path: Path, name: str, script: str) -> None:
    program = tmp_path / name
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(0o755)


def test_pid_and_path_name_the_same_namespace() -> None:
    by_pid = resolve_namespace(str(os.getpid()))
    by_path = resolve_namespace(f"/proc/{os.getpid()}/ns/net")
    assert by_pid.identity == by_path.identity == own_namespace().identity
    with by_pid.open() as fd:
        assert os.fstat(fd).st_ino == by_pid.inode


@pytest.mark.parametrize(
    "target", ["nosuch", "/run/netns/nosuch", "999999999", "", ".", "-f", "a b", "²"]
)
def test_unknown(target: str) -> None:
    with pytest.raises(HostError, match=r"^no such namespace: .* a PID, or a running container's"):
        resolve_namespace(target)


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/null", "/proc/self/ns/uts", "/tmp/."])
def test_path_to_something_else(path: str) -> None:
    with pytest.raises(HostError, match="not a network namespace: expected a path like"):
        resolve_namespace(path)


def test_container(tmp_path: Path) -> None:
    engine(
        tmp_path,
        "docker",
        f"assert sys.argv[-2:] == ['--', 'web.1'], sys.argv\nprint({os.getpid()})",
    )
    found = resolve_namespace("web.1")
    assert found.identity == own_namespace().identity
    assert found.target == "web.1"


def test_podman_is_asked_when_docker_does_not_know(tmp_path: Path) -> None:
    engine(tmp_path, "docker", "sys.exit('warning: x\\nError: no such container')")
    engine(tmp_path, "podman", f"print({os.getpid()})")
    assert resolve_namespace("web").identity == own_namespace().identity


def test_what_engines_said_is_passed_on(tmp_path: Path) -> None:
    engine(tmp_path, "docker", "sys.exit('Cannot connect to the daemon')")
    with pytest.raises(HostError, match=r"\(docker: Cannot connect to the daemon\)$"):
        resolve_namespace("web")


def test_stopped_container(tmp_path: Path) -> None:
    engine(tmp_path, "docker", "print(0)")
    with pytest.raises(HostError, match="web is not running"):
        resolve_namespace("web")


def test_silent_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("docker", 10)

    engine(tmp_path, "docker", "")
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(HostError, match="docker did not answer within 10 s"):
        resolve_namespace("web")


def test_a_namespace_that_was_replaced_is_not_entered() -> None:
    own = own_namespace()
    stale = Namespace("web", own.path, own.device, own.inode + 1)
    with pytest.raises(HostError, match="replaced meanwhile"), stale.open():
        pass
    gone = Namespace("web", "/proc/999999999/ns/net", own.device, own.inode)
    with pytest.raises(HostError, match="has gone"), gone.open():
        pass
