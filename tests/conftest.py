"""Settings for all tests: properties have no deadline, since nothing here measures time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("mulu", deadline=None)
settings.load_profile("mulu")
