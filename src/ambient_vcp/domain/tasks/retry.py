"""When a failed slot may be tried again, and when it may not."""

from __future__ import annotations

BACKOFF_BASE_MS = 1_000
BACKOFF_CAP_MS = 300_000
ATTEMPTS_MAX = 20


def backoff_ms(failures: int, random_unit: float) -> int:
    """Exponential backoff with full jitter.

    The first failure is retried at once, so that work of a dead node moves on within lease and
    sweep; from the second on the wait is uniform in [0, base·2^(n-2)], at most five minutes.

    Args:
        failures: failed attempts of this slot so far, at least 1.
        random_unit: a number in [0, 1).
    """
    if failures <= 1:
        return 0
    ceiling = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(failures - 2, 30))
    return int(ceiling * random_unit)
