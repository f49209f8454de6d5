"""Is the newest intact generation found, whatever a crash or a bad disk made of the files?

Exhaustive: a file cut at every byte, every byte of it changed, and the process ended between any
two calls to the kernel.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from weave_py.host.state import generations as generations
from weave_py.host.state.file import encode_payload
from weave_py.host.state.generations import backup_of
from weave_py.model.errors import StateError

OLD, NEW = {"targets": ["host-1:6783"]}, {"targets": ["host-1:6783", "[fd00::1]:6783"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "targets.json"


@pytest.fixture
def two(path: Path) -> Path:
    """Two different generations."""
    generations.save(path, encode_payload(OLD))
    generations.save(path, encode_payload(NEW))
    return path


def anything(payload: object) -> object:
    return payload


def load(path: Path) -> object:
    return generations.load(path, anything, private=True)[0]


def test_the_first_generation_is_there_twice(path: Path) -> None:
    assert generations.load(path, anything, private=True) == (None, None)
    assert generations.save(path, encode_payload(OLD)) is None
    assert path.read_bytes() == backup_of(path).read_bytes() == encode_payload(OLD)
    assert path.stat().st_ino != backup_of(path).stat().st_ino  # no two names for one damage


def test_the_second_leaves_the_first_beside(two: Path) -> None:
    assert two.read_bytes() == encode_payload(NEW)
    assert backup_of(two).read_bytes() == encode_payload(OLD)
    generations.save(two, encode_payload(NEW))  # the same again
    assert backup_of(two).read_bytes() == encode_payload(OLD)
    assert {p.stat().st_mode & 0o777 for p in two.parent.iterdir()} == {0o600}


def damages(data: bytes) -> Iterator[bytes]:
    """Cut at every byte, with and without zeros instead of the rest; each byte changed."""
    for length in range(len(data)):
        yield data[:length]
        yield data[:length] + bytes(len(data) - length)
        yield data[:length] + bytes([data[length] ^ 0x5A]) + data[length + 1 :]


def test_whatever_happens_to_the_file_the_one_before_is_used(two: Path) -> None:
    good = two.read_bytes()
    for damaged in damages(good):
        for left in two.parent.glob("*.damaged-*"):
            left.unlink()
        two.write_bytes(damaged)
        backup_of(two).write_bytes(encode_payload(OLD))
        value, loss = generations.load(two, anything, private=True)
        if value == NEW:  # only the end of the line is missing
            assert loss is None
            continue
        assert value == OLD
        assert loss is not None
        assert loss.used == "targets.json.bak"
        assert loss.kept_as == ("targets.json.damaged-1",)
        assert (two.parent / loss.kept_as[0]).read_bytes() == damaged
        assert two.read_bytes() == encode_payload(OLD)
        assert generations.load(two, anything, private=True) == (OLD, None)  # said once


def test_whatever_happens_to_the_backup_is_repaired_from_the_file(two: Path) -> None:
    good = two.read_bytes()
    for damaged in damages(good):
        backup_of(two).write_bytes(damaged)
        assert generations.load(two, anything, private=True) == (NEW, None)
        assert encode_payload(generations.load(backup_of(two), anything, private=True)[0]) == good


def test_both_lost_means_that_the_value_is_lost_and_both_are_kept(two: Path) -> None:
    two.write_bytes(b"")
    backup_of(two).write_bytes(b"garbage")
    value, loss = generations.load(two, anything, private=True)
    assert value is None
    assert loss is not None
    assert loss.used == ""
    assert loss.kept_as == ("targets.json.damaged-1", "targets.json.damaged-2")
    assert {p.name for p in two.parent.iterdir()} == set(loss.kept_as)
    assert "targets.json: it is cut short" in loss.what
    assert "targets.json.bak: it is cut short" in loss.what
    assert generations.save(two, encode_payload(NEW)) is None
    assert load(two) == NEW


def test_a_payload_that_makes_no_sense_counts_as_damage(two: Path) -> None:
    def only_the_old(payload: object) -> object:
        if payload != OLD:
            raise ValueError("it makes no sense")
        return payload

    value, loss = generations.load(two, only_the_old, private=True)
    assert value == OLD
    assert loss is not None
    assert loss.what == "targets.json: it makes no sense"


def test_a_missing_file_is_made_from_its_backup(two: Path) -> None:
    two.unlink()
    value, loss = generations.load(two, anything, private=True)
    assert value == OLD
    assert loss is not None
    assert loss.what == "targets.json: it is missing"
    assert load(two) == OLD


def test_not_more_than_nine_damaged_ones_are_kept(two: Path) -> None:
    for number in range(20):
        two.write_text(f"damage {number}")
        assert load(two) == OLD
    kept = sorted(two.parent.glob("*.damaged-*"))
    assert len(kept) == generations.MAX_SET_ASIDE
    assert kept[0].read_text() == "damage 0"
    assert kept[-1].read_text() == "damage 19"


def test_a_newer_version_s_file_is_left_alone(two: Path) -> None:
    newer = two.read_bytes().replace(b'"format":1', b'"format":2')
    two.write_bytes(newer)
    with pytest.raises(StateError, match="a newer weave-py wrote it"):
        load(two)
    with pytest.raises(StateError, match="a newer weave-py wrote it"):
        generations.save(two, encode_payload(OLD))
    assert two.read_bytes() == newer
    assert backup_of(two).read_bytes() == encode_payload(OLD)


@pytest.mark.parametrize("which", ["file", "backup"])
def test_what_is_not_ours_to_trust_is_no_damage(two: Path, which: str) -> None:
    """A link somebody planted, a mode that lets others read: said, and nothing touched."""
    path = two if which == "file" else backup_of(two)
    before = sorted(os.listdir(two.parent))
    path.chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        load(two)
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(StateError, match="symbolic link"):
        load(two)
    assert sorted(os.listdir(two.parent)) == before


def test_saving_over_damage_sets_it_aside(two: Path) -> None:
    two.write_bytes(b"damaged")
    loss = generations.save(two, encode_payload(NEW))
    assert loss is not None
    assert (two.parent / loss.kept_as[0]).read_bytes() == b"damaged"
    assert load(two) == NEW
    assert backup_of(two).read_bytes() == encode_payload(OLD)


class Killed(BaseException):
    """SIGKILL: nothing of ours runs after it."""


CALLS = ("os.open", "os.fsync", "pathlib.Path.rename", "pathlib.Path.unlink")


def killed_at(call: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """From the given call to the kernel on, none is made any more. Returns how many were."""
    made = 0

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **keywords: object) -> object:
            nonlocal made
            made += 1
            if made > call:
                raise Killed
            return real(*arguments, **keywords)

        return wrapper

    for name in CALLS:
        owner, _, attribute = name.rpartition(".")
        target = os if owner == "os" else Path
        monkeypatch.setattr(target, attribute, counting(getattr(target, attribute)))
    return lambda: made


@pytest.mark.parametrize("before", ["nothing", "one", "two", "damaged file", "damaged backup"])
@pytest.mark.parametrize("action", ["save", "load"])
def test_an_end_between_any_two_calls_leaves_the_old_or_the_new(
    path: Path, monkeypatch: pytest.MonkeyPatch, before: str, action: str
) -> None:
    saved = path.with_name("saved")
    for call in range(1000):
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        prepare(path, before)
        expected = load_copy(path, saved)
        with monkeypatch.context() as patch:
            calls_made = killed_at(call, patch)
            try:
                if action == "save":
                    generations.save(path, encode_payload({"call": call}))
                else:
                    load(path)
                survived = True
            except Killed:
                survived = False
        allowed = [expected] if action == "load" else [expected, {"call": call}]
        assert load(path) in allowed, (call, calls_made())
        if survived:
            assert load(path) == allowed[-1]
            return
    pytest.fail("no end of calls")


def prepare(path: Path, before: str) -> None:
    if before != "nothing":
        generations.save(path, encode_payload(OLD))
    if before not in ("nothing", "one"):
        generations.save(path, encode_payload(NEW))
    if before == "damaged file":
        path.write_bytes(b"")
    if before == "damaged backup":
        backup_of(path).write_bytes(b"")


def load_copy(path: Path, elsewhere: Path) -> object:
    """What a copy of the directory holds: reading repairs."""
    shutil.copytree(path.parent, elsewhere)
    try:
        return load(elsewhere / path.name)
    finally:
        shutil.rmtree(elsewhere)


def test_two_damages_one_after_the_other(two: Path) -> None:
    """Whichever of the two files is hit, and then whichever: with a start between, no loss."""
    for first, second in product((two, backup_of(two)), repeat=2):
        generations.save(two, encode_payload(NEW))
        first.write_bytes(b"")
        value = load(two)
        second.write_bytes(b"")
        assert load(two) == value
        assert value in (OLD, NEW)
