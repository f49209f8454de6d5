"""Are the namespaces of a lab told from everybody else's?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.lab import leftovers


@given(st.integers(0, 2**40))
def test_base36_reads_back(number: int) -> None:
    assert int(leftovers.base36(number), 36) == number


def test_labs_of_one_process_do_not_own_each_other() -> None:
    first, second = leftovers.prefix(4242, 0), leftovers.prefix(4242, 1)
    assert leftovers.belongs(f"{first}h1", first)
    assert not leftovers.belongs(f"{first}h1", second)
    assert not leftovers.belongs(f"{second}h1", first)


def test_only_labs_without_an_owner_are_stale() -> None:
    ours = leftovers.prefix(os.getpid(), 2)
    nobodys = leftovers.prefix(2**33, 0)  # more than any process id
    assert not leftovers.belongs(f"{ours}h1", None)
    assert leftovers.belongs(f"{nobodys}h1", None)
    assert leftovers.belongs(f"{leftovers.prefix(2**33, 7)}sw", None)


@pytest.mark.parametrize("name", ["web", "wv-h1", "wvzzzzzzzz", "wvzzzzzzzz-", "xwvzzzzzzzz-h1"])
def test_other_namespaces_are_never_ours(name: str) -> None:
    assert not leftovers.belongs(name, None)


def test_what_is_present_is_listed_by_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "NETNS_DIRECTORY", tmp_path)
    for name in ("web", "wv1-h2", "wv1-h1", "wv1.1-h1"):
        (tmp_path / name).touch()
    assert leftovers.present("wv1-") == ("wv1-h1", "wv1-h2")
    monkeypatch.setattr(leftovers, "NETNS_DIRECTORY", tmp_path / "none")
    assert leftovers.present("wv1-") == ()
