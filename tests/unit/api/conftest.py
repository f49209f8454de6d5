"""A router that remembers what it was told, and the way to it."""

from __future__ import annotations

import pytest

from tests.kit.api import Service
from weave_py.api.exchange import Door


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def door(service: Service) -> Door:
    return Door(service.application())
