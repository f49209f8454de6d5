"""Do errors say what to do, and are odd interface names kept out?"""

from __future__ import annotations

import errno

import pytest

from weave_py.host.refusal import checked_ifname, refused
from weave_py.model.errors import ConfigError


@pytest.mark.parametrize("code", [errno.EPERM, errno.EACCES])
def test_missing_privilege(code: int) -> None:
    assert str(refused("cannot x", code)).startswith("cannot x: needs CAP_NET_ADMIN: run as root")


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL, 9999, None])
def test_one_line(code: int | None) -> None:
    text = str(refused("cannot x", code))
    assert text.startswith("cannot x: ")
    assert "\n" not in text


@pytest.mark.parametrize("name", ["weave", "vethwepl1ul9wft", "eth0.5", "-x", "ü" * 7])
def test_names(name: str) -> None:
    assert checked_ifname(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a b", "a\n", "a:1", "tap%d", "x" * 16, "ü" * 8]
)
def test_no_names(name: str) -> None:
    with pytest.raises(ConfigError, match="not an interface name"):
        checked_ifname(name)
