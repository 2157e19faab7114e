"""The owner's terms: hours, battery, heat, disk."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.nodes.owner_limits import (
    MINUTES_PER_DAY,
    Hours,
    MachineState,
    OwnerLimits,
    Refusal,
    parse_hours,
    refusals,
)

LIMITS = OwnerLimits(
    cores_max=4,
    memory_bytes_max=1 << 30,
    concurrency_max=2,
    hours=Hours(start_minute=22 * 60, stop_minute=6 * 60),
    temperature_c_max=70.0,
    work_on_battery=False,
    disk_free_bytes_min=1_000,
)
FINE = MachineState(
    minute_of_day=23 * 60, temperature_c=70.0, on_battery=False, disk_free_bytes=1_000
)


def test_a_machine_within_all_terms_refuses_nothing() -> None:
    assert refusals(LIMITS, FINE) == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"minute_of_day": 6 * 60}, Refusal.OUTSIDE_HOURS),
        ({"minute_of_day": 21 * 60 + 59}, Refusal.OUTSIDE_HOURS),
        ({"on_battery": True}, Refusal.ON_BATTERY),
        ({"temperature_c": 70.1}, Refusal.TOO_WARM),
        ({"disk_free_bytes": 999}, Refusal.DISK_FULL),
        ({"spool_full": True}, Refusal.SPOOL_FULL),
        ({"draining": True}, Refusal.DRAINING),
    ],
)
def test_each_term_refuses_with_its_own_reason(
    change: dict[str, object], expected: Refusal
) -> None:
    assert refusals(LIMITS, replace(FINE, **change)) == (expected,)


def test_what_is_unknown_never_refuses() -> None:
    unknown = replace(FINE, temperature_c=None, on_battery=None, disk_free_bytes=None)

    assert refusals(LIMITS, unknown) == ()


def test_an_owner_who_set_no_terms_accepts_any_hour_heat_and_battery() -> None:
    free = OwnerLimits(cores_max=1, memory_bytes_max=1, concurrency_max=1)
    worst = MachineState(minute_of_day=0, temperature_c=120.0, on_battery=True, disk_free_bytes=0)

    assert refusals(free, worst) == ()


def test_several_causes_are_all_named() -> None:
    bad = replace(FINE, on_battery=True, temperature_c=90.0)

    assert refusals(LIMITS, bad) == (Refusal.ON_BATTERY, Refusal.TOO_WARM)


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [("22-6", 1320, 360), ("9-17", 540, 1020), ("22:30-06:00", 1350, 360), ("0-24", 0, 1440)],
)
def test_hours_are_read_as_people_write_them(text: str, start: int, stop: int) -> None:
    assert parse_hours(text) == Hours(start_minute=start, stop_minute=stop)


@pytest.mark.parametrize("text", ["", "22", "22-", "25-3", "7-7", "22:60-6", "24:01-3", "a-b"])
def test_senseless_hours_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInputError, match="22-6"):
        parse_hours(text)


@given(
    start=st.integers(0, MINUTES_PER_DAY - 1),
    stop=st.integers(0, MINUTES_PER_DAY - 1),
)
def test_a_window_and_its_complement_share_the_day_exactly(start: int, stop: int) -> None:
    if start == stop:
        return
    window = Hours(start_minute=start, stop_minute=stop)
    rest = Hours(start_minute=stop, stop_minute=start)

    inside = [window.contains(minute) for minute in range(MINUTES_PER_DAY)]

    assert all(rest.contains(minute) is not value for minute, value in enumerate(inside))
    assert sum(inside) == (stop - start) % MINUTES_PER_DAY


@pytest.mark.parametrize(
    ("cores", "concurrency", "cells"), [(4, 2, 2), (2, 8, 2), (1, 1, 1), (0, 5, 1)]
)
def test_cells_are_bounded_by_cores_and_by_concurrency(
    cores: int, concurrency: int, cells: int
) -> None:
    limits = OwnerLimits(cores_max=cores, memory_bytes_max=1, concurrency_max=concurrency)

    assert limits.cells_max == cells
