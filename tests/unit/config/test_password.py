"""The network's secret: where it comes from, and that it is never lost by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_py.config.password import MAX_PASSWORD_BYTES, password_file_warning, resolve_password
from weave_py.model.errors import ConfigError


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes("päss word \r\nsecond line\n".encode())
    return path


def test_the_environment_loses_the_password() -> None:
    environ = {"WEAVE_PASSWORD": "s", "OTHER": "o"}
    assert resolve_password({}, environ) == "s"
    assert environ == {"OTHER": "o"}


def test_the_environment_loses_the_password_even_when_a_flag_wins() -> None:
    environ = {"WEAVE_PASSWORD": "s"}
    assert resolve_password({"password": "flag"}, environ) == "flag"
    assert environ == {}


def test_a_file_gives_its_first_line(secret_file: Path) -> None:
    assert resolve_password({"password-file": str(secret_file)}, {}) == "päss word "
    assert resolve_password({}, {"WEAVE_PASSWORD_FILE": str(secret_file)}) == "päss word "


def test_without_any_the_network_is_open() -> None:
    assert resolve_password({"password": None, "password-file": None}, {}) is None


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        ({"password": ""}, {}),
        ({}, {"WEAVE_PASSWORD": ""}),
        ({"password": "a", "password-file": "b"}, {}),
        ({}, {"WEAVE_PASSWORD": "a", "WEAVE_PASSWORD_FILE": "b"}),
        ({"password-file": "/nonexistent/file"}, {}),
        ({"password-file": "/"}, {}),
        ({"password-file": ""}, {}),
        ({}, {"WEAVE_PASSWORD": "\udcff"}),
    ],
)
def test_doubt_is_an_error(flags: dict[str, str | bool | None], environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"password|PASSWORD"):
        resolve_password(flags, environ)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\r\nsecret\n", b"\xff\xfe\n", b"x" * (MAX_PASSWORD_BYTES + 2)]
)
def test_a_file_without_a_usable_first_line_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="--password-file") as caught:
        resolve_password({"password-file": str(path)}, {})
    assert "secret\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "doing"), [(0o600, ""), (0o640, ""), (0o604, "read"), (0o620, "change"), (0o666, "ch")]
)
def test_a_file_for_all_to_see_is_warned_about(secret_file: Path, mode: int, doing: str) -> None:
    secret_file.chmod(mode)
    for flags, environ in (
        ({"password-file": str(secret_file)}, {}),
        ({}, {"WEAVE_PASSWORD_FILE": str(secret_file)}),
    ):
        warning = password_file_warning(flags, environ)
        if not doing:
            assert warning is None
        else:
            assert warning is not None
            assert f"others can {doing}" in warning
            assert warning.endswith(f": chmod 600 {secret_file}")
    assert (
        password_file_warning({"password": "s"}, {"WEAVE_PASSWORD_FILE": str(secret_file)}) is None
    )


def test_where_there_is_nothing_to_warn_of(tmp_path: Path) -> None:
    assert password_file_warning({}, {}) is None
    assert password_file_warning({"password-file": str(tmp_path / "none")}, {}) is None
    assert password_file_warning({"password-file": "/dev/null"}, {}) is None
