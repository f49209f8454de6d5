"""Fixtures for tests on the real kernel; every test here must leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.standstills import MACHINE
from weave_py.lab import leftovers, unprivileged
from weave_py.lab.hosts import LaunchOptions
from weave_py.lab.mesh import LabMesh
from weave_py.lab.namespaces import Lab
from weave_py.lab.topology import build

HERE = Path(__file__).parent

MakeLab = Callable[..., Lab]
MakeMesh = Callable[..., LabMesh]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.netns)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip without privileges; in CI that is a failure, or nobody would ever notice."""
    missing = unprivileged.missing_privilege()
    if missing is None:
        return
    reason = f"needs network namespaces: {missing}; run the tests as root"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def watched_machine() -> Iterator[None]:
    with MACHINE:
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MACHINE.longest > 0.5:  # seconds; then some failures may be nobody's fault
        terminalreporter.write_line(
            f"the machine stood still for {MACHINE.longest:.1f} s at a time, "
            f"{MACHINE.total:.1f} s in all"
        )


def ours() -> str:
    """The beginning of all namespaces of labs of this process (serial numbers follow)."""
    return f"wv{leftovers.base36(os.getpid())}"


def present() -> set[str]:
    """The namespaces of this process's labs."""
    return {name for name in leftovers.present(ours()) if name[len(ours())] in "-."}


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_module() -> Iterator[None]:
    """Fails the last test of a module whose own fixtures left a namespace."""
    yield
    check_nothing_left(set())


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fails the test that left a namespace, or a process in one; removes it first."""
    before = present()  # of a lab that the tests of a module share
    yield
    check_nothing_left(before)


def check_nothing_left(expected: set[str]) -> None:
    left = sorted(present() - expected)
    running = leftovers.processes_in(left)
    for name in left:
        leftovers.sweep(name)
    assert not running, f"processes left running in namespaces: {running}"
    assert not left, f"namespaces left behind: {left}"


@pytest.fixture
def make_lab(nothing_left: None) -> Iterator[MakeLab]:
    """`make_lab("chain", 3, mtu=…)`: an open lab, closed at the end of the test."""
    labs: list[Lab] = []

    def make(kind: str = "chain", hosts: int = 3, **options: Any) -> Lab:
        lab = Lab(build(kind, hosts), **options)
        labs.append(lab)
        return lab.open()

    yield make
    for lab in reversed(labs):
        lab.close()


@pytest.fixture
def make_mesh(make_lab: MakeLab, tmp_path: Path) -> Iterator[MakeMesh]:
    """`make_mesh(lab, LaunchOptions(…))`: routers that are stopped at the end; none runs yet."""
    meshes: list[LabMesh] = []

    def make(lab: Lab, options: LaunchOptions | None = None) -> LabMesh:
        directory = tmp_path / f"mesh{len(meshes)}"
        directory.mkdir()
        meshes.append(LabMesh(lab, directory, options))
        return meshes[-1]

    yield make
    for mesh in meshes:
        mesh.stop()
