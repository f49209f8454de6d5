"""Where is the last good copy of a state file, when the file itself is damaged?

Beside `identity.json` lies `identity.json.bak`: the generation before it, or a second copy of the
only one there was. Reading finds the newest intact one and makes it the file again. What is
damaged is set aside as `identity.json.damaged-1`, never deleted: a person may still make something
of it. What is merely not ours to trust (a link, another user's file, secrets that others can read)
is no damage: that stays an error, whatever lies beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from weave_py.host.state import file
from weave_py.model.errors import StateError

MAX_SET_ASIDE: Final = 9
"""Damaged files kept of each name; the latest one replaces the ninth."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loss:
    """A state file that could not be used as it was, and what became of it."""

    name: str
    what: str
    """What was wrong: one line."""
    kept_as: tuple[str, ...]
    """Names of the files that were set aside."""
    used: str
    """The file whose content is used instead; empty if there is none: the value is lost."""


def load(
    path: Path, parse: Callable[[object], T], *, private: bool
) -> tuple[T | None, Loss | None]:
    """What the newest intact generation holds, and what had to be given up for that.

    `parse` raises ValueError for a payload that is intact, but not what it should be. (None, None)
    if nothing was ever saved. StateError for files that are not ours to trust, or too new.
    """
    trouble: list[str] = []
    kept: list[str] = []
    for generation in (path, backup_of(path)):
        try:
            data = file.read_file(generation, private=private)
            value = None if data is None else parse(_payload(generation, data))
        except ValueError as error:
            trouble.append(f"{generation.name}: {error}")
            kept += _set_aside(generation, path)
            continue
        if data is None:
            continue
        if generation == path:
            _second_copy(path, data, private)
            return value, None
        if not path.exists():  # it is there still if it could not be set aside
            with suppress(StateError):
                file.replace_file(path, data)
        what = "; ".join(trouble) or f"{path.name}: it is missing"
        return value, Loss(path.name, what, tuple(kept), generation.name)
    if not trouble:
        return None, None
    return None, Loss(path.name, "; ".join(trouble), tuple(kept), "")


def save(path: Path, data: bytes) -> Loss | None:
    """Make `path` hold `data`, and the backup what it held before.

    StateError, and an intact generation on disk as before, if that cannot be written. A damaged
    file in the way is set aside (and reported): whoever saves has the right value.
    """
    loss, current = None, None
    try:
        current = _intact(path)
    except ValueError as error:
        kept = tuple(_set_aside(path, path))
        if not kept:
            raise StateError(f"{path} is damaged and cannot be moved away: {error}") from None
        loss = Loss(path.name, f"{path.name}: {error}", kept, path.name)
    if current is not None and current != data:
        file.replace_file(backup_of(path), current)
    if current != data:
        file.replace_file(path, data)
    if current is None or current == data:
        _second_copy(path, data, private=False)
    return loss


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.bak")


def _second_copy(path: Path, data: bytes, private: bool) -> None:
    """There are two intact generations, if the disk allows."""
    backup = backup_of(path)
    try:
        if _intact(backup, private=private) is not None:
            return
    except ValueError:
        pass  # nothing is lost: the file itself is intact
    with suppress(StateError):
        file.replace_file(backup, data)


def _intact(path: Path, *, private: bool = False) -> bytes | None:
    """The file's bytes, None if there is none; ValueError if it is damaged."""
    data = file.read_file(path, private=private)
    if data is not None:
        _payload(path, data)
    return data


def _payload(path: Path, data: bytes) -> object:
    try:
        return file.decode_payload(data)
    except file.NewerFormatError as error:
        raise StateError(f"{path}: {error}: start that one, or move the file away") from None


def _set_aside(damaged: Path, path: Path) -> list[str]:
    """Its new name; none if it cannot be moved (a disk that is read only)."""
    for number in range(1, MAX_SET_ASIDE + 1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists() or number == MAX_SET_ASIDE:
            break
    try:
        damaged.rename(aside)
    except OSError:
        return []
    return [aside.name]
