"""Which files of a directory are a router's state, and is the directory for them alone?"""

from __future__ import annotations

import os
import re
from pathlib import Path

_STATE = re.compile(r"\.?(identity|epoch|targets)\.json(\..+)?")
_LOCK = "lock"
"""Stays when all else is wiped; and others have files of that name, too."""
_OF_THE_FILE_SYSTEM = "lost+found"


def holds_state(directory: Path) -> bool:
    """Whether a router's state is in there."""
    return any(_STATE.fullmatch(name) for name in _names(directory))


def holds_others(directory: Path) -> bool:
    """Whether anything is in there that no router made."""
    known = (_LOCK, _OF_THE_FILE_SYSTEM)
    return any(name not in known and not _STATE.fullmatch(name) for name in _names(directory))


def _names(directory: Path) -> list[str]:
    """What is in there; nothing if that cannot be seen: whoever opens it is told why."""
    try:
        return os.listdir(directory)
    except OSError:
        return []
