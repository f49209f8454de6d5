"""Is everything that is missing named at once?"""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.host.privileges import check_privileges, may_administer
from weave_py.model.errors import HostError


def status(tmp_path: Path, capabilities: int) -> Path:
    path = tmp_path / "status"
    path.write_text(f"Name:\tpython\nCapInh:\t0000000000000000\nCapEff:\t{capabilities:016x}\n")
    return path


def test_enough(tmp_path: Path) -> None:
    check_privileges(status(tmp_path, 1 << 12), Path("/dev/null"))


def test_all_that_is_missing_is_listed(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        check_privileges(status(tmp_path, ~(1 << 12) & (1 << 41) - 1), tmp_path / "tun")
    assert "CAP_NET_ADMIN is missing" in str(caught.value)
    assert "modprobe tun" in str(caught.value)
    assert isinstance(caught.value.__cause__, PermissionError)


def test_a_missing_device_is_no_matter_of_rights(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="modprobe tun") as caught:
        check_privileges(status(tmp_path, 1 << 12), tmp_path / "tun")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_device_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be opened") as caught:
        check_privileges(status(tmp_path, 1 << 12), tmp_path)
    assert "CAP_NET_ADMIN" not in str(caught.value)


def test_without_proc_the_kernel_decides(tmp_path: Path) -> None:
    check_privileges(tmp_path / "none", Path("/dev/null"))


def test_one_capability_is_asked_for_alone(tmp_path: Path) -> None:
    assert may_administer(status(tmp_path, 1 << 12))
    assert not may_administer(status(tmp_path, 1 << 11))
