"""Where do public test vectors come from? A folder beside the repository, or one you name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "../shared/vectors"


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Loads one JSON file of the folder in WEAVE_PY_VECTORS; skips the test without it."""
    folder = Path(os.environ.get("WEAVE_PY_VECTORS", _BESIDE_THE_REPOSITORY))

    def load(name: str) -> Any:
        file = folder / name
        if not file.is_file():
            pytest.skip(f"no test vectors {name}: set WEAVE_PY_VECTORS to the folder that has them")
        return json.loads(file.read_text())

    return load
