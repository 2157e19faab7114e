"""Measurements of one node at one moment. What was not measured is None, never a good value."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

TELEMETRY_AGE_MS_MAX = 90_000
"""Older samples trip the ``stale_telemetry`` breaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """All numbers as measured. ``measured_at_ms`` is the node's clock: data, never a decision."""

    measured_at_ms: int
    upload_mbps: float | None = None
    download_mbps: float | None = None
    latency_ms: float | None = None
    cpu_percent: float | None = None
    memory_percent: float | None = None
    temperature_c: float | None = None
    power_watts: float | None = None
    power_source: str = "unknown"
    """``rapl``, ``nvml``, ``estimate`` or ``unknown``."""


_BOUNDS: dict[str, tuple[float, float]] = {
    "upload_mbps": (0, 1_000_000),
    "download_mbps": (0, 1_000_000),
    "latency_ms": (0, 600_000),
    "cpu_percent": (0, 100),
    "memory_percent": (0, 100),
    "temperature_c": (-90, 200),
    "power_watts": (0, 100_000),
}


def invalid_fields(sample: Telemetry) -> tuple[str, ...]:
    """Names of fields that no real machine reports: NaN, infinite or out of bounds."""
    wrong = []
    for item in fields(sample):
        if item.name not in _BOUNDS:
            continue
        value = getattr(sample, item.name)
        low, high = _BOUNDS[item.name]
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            wrong.append(item.name)
    return tuple(wrong)
