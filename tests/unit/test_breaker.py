"""Breakers: fine exactly at the limit, tripped above it, closed when the cause is gone."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.nodes.breaker import (
    BreakerInput,
    BreakerReason,
    SafetyPolicy,
    breaker_reasons,
)
from ambient_vcp.domain.nodes.telemetry import TELEMETRY_AGE_MS_MAX, invalid_fields
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import START_MS


def reasons(*, errors=0, last_error_at_ms=None, received_at_ms=START_MS, now_ms=START_MS, **values):
    state = BreakerInput(
        telemetry=builders.telemetry(**values),
        received_at_ms=received_at_ms,
        consecutive_errors=errors,
        last_error_at_ms=last_error_at_ms,
    )
    return set(breaker_reasons(state, now_ms))


@pytest.mark.parametrize(
    ("fine", "tripped", "reason"),
    [
        ({"temperature_c": 85.0}, {"temperature_c": 85.01}, BreakerReason.TEMPERATURE),
        ({"latency_ms": 100.0}, {"latency_ms": 100.01}, BreakerReason.LATENCY),
        (
            {"errors": 25, "last_error_at_ms": START_MS},
            {"errors": 26, "last_error_at_ms": START_MS},
            BreakerReason.ERRORS,
        ),
        (
            {"now_ms": START_MS + TELEMETRY_AGE_MS_MAX},
            {"now_ms": START_MS + TELEMETRY_AGE_MS_MAX + 1},
            BreakerReason.STALE_TELEMETRY,
        ),
        ({"cpu_percent": 100.0}, {"cpu_percent": 100.1}, BreakerReason.INVALID_TELEMETRY),
        ({"memory_percent": 0.0}, {"memory_percent": -0.1}, BreakerReason.INVALID_TELEMETRY),
        ({"temperature_c": None}, {"temperature_c": nan}, BreakerReason.INVALID_TELEMETRY),
        ({"upload_mbps": None}, {"upload_mbps": inf}, BreakerReason.INVALID_TELEMETRY),
    ],
)
def test_a_breaker_trips_just_above_its_limit_and_not_at_it(fine, tripped, reason):
    assert reasons(**fine) == set()
    assert reasons(**tripped) == {reason}


def test_the_errors_breaker_closes_after_its_cool_down():
    policy = SafetyPolicy()
    at = {"errors": 40, "last_error_at_ms": START_MS, "received_at_ms": START_MS + 300_000}
    assert reasons(**at, now_ms=START_MS + policy.errors_cool_down_ms) == {BreakerReason.ERRORS}
    assert reasons(**at, now_ms=START_MS + policy.errors_cool_down_ms + 1) == set()


def test_a_node_that_never_reported_is_stale():
    state = BreakerInput(
        telemetry=None, received_at_ms=None, consecutive_errors=0, last_error_at_ms=None
    )
    assert breaker_reasons(state, START_MS) == (BreakerReason.STALE_TELEMETRY,)


def test_every_cause_is_listed_at_once():
    found = reasons(
        errors=99,
        last_error_at_ms=START_MS,
        now_ms=START_MS + TELEMETRY_AGE_MS_MAX + 1,
        temperature_c=99.0,
        latency_ms=250.0,
        power_watts=-5.0,
    )
    assert found == set(BreakerReason)


@given(ahead_ms=st.integers(0, 10**9))
def test_a_sample_from_the_future_of_our_clock_is_not_stale(ahead_ms):
    assert reasons(received_at_ms=START_MS + ahead_ms) == set()


@given(
    name=st.sampled_from(
        ["upload_mbps", "download_mbps", "latency_ms", "cpu_percent", "memory_percent"]
    ),
    value=st.one_of(st.just(nan), st.floats(max_value=-1e-9), st.floats(min_value=1e7)),
)
def test_a_value_that_no_machine_reports_is_found_by_name(name, value):
    assert invalid_fields(builders.telemetry(**{name: value})) == (name,)
