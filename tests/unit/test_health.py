"""The health score against the reference's vectors and its bounds.

The reference counts an unmeasured part as good (latency 1.0) or as nothing (bandwidth 0). Here an
unmeasured part counts 0.5 and is shown as unknown, so three of its vectors differ; each says why.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.nodes.health import UNKNOWN_SCORE, WEIGHTS, health_of
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.testing.clock import START_MS


def sample(**values):
    return Telemetry(measured_at_ms=START_MS, **values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Aggregate bandwidth 100: here it is what both directions reach.
        (
            {
                "upload_mbps": 100,
                "download_mbps": 100,
                "latency_ms": 20,
                "cpu_percent": 50,
                "memory_percent": 60,
            },
            0.42,
        ),
        (
            {
                "upload_mbps": 100,
                "download_mbps": 100,
                "latency_ms": 15,
                "cpu_percent": 30,
                "memory_percent": 40,
            },
            0.475,
        ),
        (
            {
                "upload_mbps": 250,
                "download_mbps": 250,
                "latency_ms": 10,
                "cpu_percent": 20,
                "memory_percent": 30,
            },
            0.57,
        ),
    ],
)
def test_a_fully_measured_node_scores_as_in_the_reference(values, expected):
    assert health_of(sample(**values), 0.5).score == pytest.approx(expected)


def test_a_node_that_measured_nothing_stands_at_one_half():
    # The reference says 0.55: bandwidth 0, but latency and compute perfect, from no measurement.
    assert health_of(sample(), 0.5).score == pytest.approx(0.5)
    assert health_of(None, 0.5).score == pytest.approx(0.5)


def test_measured_zeros_are_not_unknowns():
    # The reference reads latency 0 as perfect too, but a bandwidth of 0 as 0; here nothing over
    # 0 Mbit/s was measured, so bandwidth is unknown: 0.4*0.5 + 0.3 + 0.2 + 0.05.
    idle = sample(upload_mbps=0, download_mbps=0, latency_ms=0, cpu_percent=0, memory_percent=0)
    health = health_of(idle, 0.5)
    assert health.score == pytest.approx(0.75)
    assert health.bandwidth is None
    assert (health.latency, health.compute) == (1.0, 1.0)


def test_half_of_the_compute_part_alone_is_unknown():
    assert health_of(sample(cpu_percent=0), 0.5).compute is None
    assert health_of(sample(memory_percent=0), 0.5).compute is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"upload_mbps": 500, "download_mbps": 500}, 0.5),
        ({"upload_mbps": 2_000, "download_mbps": 2_000}, 1.0),
        ({"upload_mbps": 20, "download_mbps": 500}, 0.02),
        ({"upload_mbps": 200}, 0.2),
        ({"download_mbps": 200}, 0.2),
        ({"upload_mbps": 200, "download_mbps": 0}, 0.2),
        ({}, None),
    ],
)
def test_bandwidth_is_the_smaller_known_direction_over_a_gigabit(values, expected):
    assert health_of(sample(**values), 0.5).bandwidth == expected


@pytest.mark.parametrize(
    ("latency_ms", "expected"),
    [(0, 1.0), (10, 0.9), (50, 0.5), (100, 0.0), (400, 0.0), (None, None)],
)
def test_latency_falls_to_nothing_at_100_ms(latency_ms, expected):
    assert health_of(sample(latency_ms=latency_ms), 0.5).latency == expected


def test_weights_add_up_to_one():
    assert sum(WEIGHTS.values()) == pytest.approx(1)


PART = st.none() | st.floats(0, 1_000_000)
PERCENT = st.none() | st.floats(0, 100)
SAMPLES = st.builds(
    sample,
    upload_mbps=PART,
    download_mbps=PART,
    latency_ms=PART,
    cpu_percent=PERCENT,
    memory_percent=PERCENT,
)


@given(telemetry=SAMPLES, reputation=st.floats(-1, 2))
def test_the_score_is_in_bounds_and_is_the_weighted_sum_of_its_parts(telemetry, reputation):
    health = health_of(telemetry, reputation)
    parts = [getattr(health, name) for name in WEIGHTS]
    assert all(part is None or 0 <= part <= 1 for part in parts)
    assert 0 <= health.score <= 1
    assert 0 <= health.percent <= 100
    expected = sum(
        weight * (UNKNOWN_SCORE if part is None else part)
        for weight, part in zip(WEIGHTS.values(), parts, strict=True)
    )
    assert health.score == pytest.approx(expected)


@given(telemetry=SAMPLES, low=st.floats(0, 1), high=st.floats(0, 1))
def test_better_standing_never_lowers_health(telemetry, low, high):
    low, high = sorted((low, high))
    assert health_of(telemetry, low).score <= health_of(telemetry, high).score
