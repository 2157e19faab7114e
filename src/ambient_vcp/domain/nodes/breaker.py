"""When a node must not take new work, and why. Recovers by itself when the cause is gone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.nodes.telemetry import TELEMETRY_AGE_MS_MAX, Telemetry, invalid_fields


class BreakerReason(StrEnum):
    TEMPERATURE = "temperature"
    LATENCY = "latency"
    ERRORS = "errors"
    STALE_TELEMETRY = "stale_telemetry"
    INVALID_TELEMETRY = "invalid_telemetry"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyPolicy:
    """Limits that are still fine; only more than them trips a breaker."""

    temperature_c_max: float = 85.0
    latency_ms_max: float = 100.0
    consecutive_errors_max: int = 25
    errors_cool_down_ms: int = 300_000
    """After this long without an error the errors breaker closes and the node may try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerInput:
    """``received_at_ms`` and ``last_error_at_ms`` are by the clock of whoever asks."""

    telemetry: Telemetry | None
    received_at_ms: int | None
    consecutive_errors: int
    last_error_at_ms: int | None


DEFAULT_POLICY = SafetyPolicy()


def breaker_reasons(
    state: BreakerInput, now_ms: int, policy: SafetyPolicy = DEFAULT_POLICY
) -> tuple[BreakerReason, ...]:
    """Every reason why the node must not take new work now; empty when it may."""
    reasons = []
    sample = state.telemetry
    if sample is None or state.received_at_ms is None:
        reasons.append(BreakerReason.STALE_TELEMETRY)
    else:
        if now_ms - state.received_at_ms > TELEMETRY_AGE_MS_MAX:
            reasons.append(BreakerReason.STALE_TELEMETRY)
        if invalid_fields(sample):
            reasons.append(BreakerReason.INVALID_TELEMETRY)
        if sample.temperature_c is not None and sample.temperature_c > policy.temperature_c_max:
            reasons.append(BreakerReason.TEMPERATURE)
        if sample.latency_ms is not None and sample.latency_ms > policy.latency_ms_max:
            reasons.append(BreakerReason.LATENCY)
    recent = (
        state.last_error_at_ms is not None
        and now_ms - state.last_error_at_ms <= policy.errors_cool_down_ms
    )
    if state.consecutive_errors > policy.consecutive_errors_max and recent:
        reasons.append(BreakerReason.ERRORS)
    return tuple(reasons)
