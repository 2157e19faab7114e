"""The wait before a failed slot is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.tasks.retry import BACKOFF_BASE_MS, BACKOFF_CAP_MS, backoff_ms

UNITS = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(unit=UNITS)
def test_the_first_failure_is_retried_at_once(unit):
    assert backoff_ms(1, unit) == 0


@given(failures=st.integers(2, 10_000), unit=UNITS)
def test_the_wait_is_within_its_doubling_ceiling_and_the_cap(failures, unit):
    wait_ms = backoff_ms(failures, unit)
    assert 0 <= wait_ms <= BACKOFF_CAP_MS
    assert wait_ms <= BACKOFF_BASE_MS * 2 ** min(failures - 2, 40)


@given(failures=st.integers(2, 50), low=UNITS, high=UNITS)
def test_the_wait_grows_with_the_random_number_and_with_the_failures(failures, low, high):
    low, high = sorted((low, high))
    assert backoff_ms(failures, low) <= backoff_ms(failures, high)
    assert backoff_ms(failures, low) <= backoff_ms(failures + 1, low)


def test_the_ceilings_are_one_two_four_seconds_up_to_five_minutes():
    almost_one = 1 - 1e-12
    ceilings = [backoff_ms(failures, almost_one) for failures in range(2, 13)]
    assert ceilings == [
        999, 1_999, 3_999, 7_999, 15_999, 31_999, 63_999, 127_999, 255_999, 299_999, 299_999,
    ]  # fmt: skip
