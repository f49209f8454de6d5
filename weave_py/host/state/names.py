"""Which files does a router keep, and is a directory for them alone?

Whatever is to last over restarts is declared here, once: a file that is not cannot be written, is
not wiped by `reset`, and is told from nobody else's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class StateFile:
    """One value that lasts: `NAME.json` and its other generations."""

    name: str
    holds: str
    """What it is, for people."""
    private: bool = False
    """Whether others that can read it stop a router."""


IDENTITY: Final = StateFile("identity", "the router's two secret keys", private=True)
INCARNATION: Final = StateFile("epoch", "how often a router was started here")
TARGETS: Final = StateFile("targets", "whom to call, and whom the command line named")

_SERVICE: Final = r"service-[a-z][a-z0-9-]{0,30}"
"""Each service keeps what it likes in one of its own."""
STATE_FILES: Final = (IDENTITY, INCARNATION, TARGETS)

_BY_NAME: Final = {file.name: file for file in STATE_FILES}
_STATE = re.compile(rf"\.?({'|'.join(map(re.escape, _BY_NAME))}|{_SERVICE})\.json(\..+)?")
_LOCK = "lock"
"""Stays when all else is wiped; and others have files of that name, too."""
_OF_THE_FILE_SYSTEM = "lost+found"


def state_file(name: str) -> StateFile:
    """The declared file of that name; ValueError if there is none."""
    if re.fullmatch(_SERVICE, name):
        return StateFile(name, "what that service keeps")
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"not a name for a state file: {name!r}") from None


def service_state(service: str) -> StateFile:
    """The file of a service; ValueError if its name is none for a file."""
    return state_file(f"service-{service}")


def is_state(filename: str) -> bool:
    """Whether a file of this name, in a directory of ours, is a generation of one of them."""
    return _STATE.fullmatch(filename) is not None


def holds_state(directory: Path | int) -> bool:
    """Whether a router's state is in there (a path, or a descriptor of it)."""
    return any(map(is_state, _names(directory)))


def holds_others(directory: Path | int) -> bool:
    """Whether anything is in there that no router made."""
    known = (_LOCK, _OF_THE_FILE_SYSTEM)
    return any(name not in known and not is_state(name) for name in _names(directory))


def _names(directory: Path | int) -> list[str]:
    """What is in there; nothing if that cannot be seen: whoever opens it is told why."""
    try:
        return os.listdir(directory)
    except OSError:
        return []
