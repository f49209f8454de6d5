"""Where do public test vectors come from? tests/vectors; its README says where they came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture
def vectors() -> Callable[[str], Any]:
    """Loads one JSON file of them."""

    def load(name: str) -> Any:
        return json.loads((_VECTORS / name).read_text(encoding="ascii"))

    return load
