"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.kit import dispositions

# A slow or busy machine is no failure: nothing here is timed by the wall.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

dispositions.inherit_defaults()
