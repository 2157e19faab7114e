"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is not a fault of the test: time decides nothing here. A failure prints its seed.
settings.register_profile(
    "ambient-vcp", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("ambient-vcp")
