"""The health score: the reference's formula on real measurements."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.nodes.telemetry import Telemetry

UNKNOWN_SCORE = 0.5
"""What an unmeasured part counts: neither good nor bad. The part itself is shown as unknown."""

HEALTHY_MIN = 0.5
WEIGHTS = {"bandwidth": 0.4, "latency": 0.3, "compute": 0.2, "reputation": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Score and parts in [0, 1]. A part that is None was not measured."""

    score: float
    bandwidth: float | None
    latency: float | None
    compute: float | None
    reputation: float

    @property
    def percent(self) -> float:
        """The 0 to 100 scale of the API."""
        return round(self.score * 100, 2)


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))


def _bandwidth(sample: Telemetry) -> float | None:
    up, down = sample.upload_mbps, sample.download_mbps
    known = [value for value in (up, down) if value is not None and value > 0]
    if not known:
        return None
    return _clamp(min(known) / 1000)


def _compute(sample: Telemetry) -> float | None:
    if sample.cpu_percent is None or sample.memory_percent is None:
        return None
    return _clamp(((100 - sample.cpu_percent) + (100 - sample.memory_percent)) / 200)


def health_of(sample: Telemetry | None, reputation: float) -> Health:
    """0.4 bandwidth + 0.3 latency + 0.2 compute + 0.1 reputation, each in [0, 1].

    Bandwidth is the smaller known direction over 1000 Mbit/s, latency is 1 - ms/100, compute is the
    mean of free processor and free memory. Unmeasured parts count ``UNKNOWN_SCORE``.

    Source: the reference project's README, section on node health.
    """
    bandwidth = _bandwidth(sample) if sample else None
    latency = (
        _clamp(1 - sample.latency_ms / 100) if sample and sample.latency_ms is not None else None
    )
    compute = _compute(sample) if sample else None
    parts = {
        "bandwidth": bandwidth,
        "latency": latency,
        "compute": compute,
        "reputation": _clamp(reputation),
    }
    score = sum(
        weight * (UNKNOWN_SCORE if parts[name] is None else (parts[name] or 0.0))
        for name, weight in WEIGHTS.items()
    )
    return Health(
        score=_clamp(score),
        bandwidth=bandwidth,
        latency=latency,
        compute=compute,
        reputation=_clamp(reputation),
    )
