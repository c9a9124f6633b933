"""Settings for all tests: properties have no deadline, since nothing here measures time.

`HYPOTHESIS_PROFILE=thorough` tries many more examples than a run of all tests has time for.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("mulu", deadline=None)
settings.register_profile(
    "thorough", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "mulu"))
