"""How much a node's past says about its next result."""

from __future__ import annotations

from dataclasses import dataclass, replace

PRIOR_SUCCESSES = 2.0
PRIOR_FAILURES = 2.0
DISPUTE_PENALTY = 0.05
DISPUTE_PENALTY_MAX = 0.30
SCORE_MIN_FOR_WORK = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation:
    """Counters of real outcomes.

    ``completed`` counts accepted results, ``failed`` results or leases that came to nothing through
    the node, ``disputes`` lies shown by others' agreement. ``consecutive_errors`` restarts at zero
    with each success.
    """

    completed: int = 0
    failed: int = 0
    disputes: int = 0
    consecutive_errors: int = 0
    compute_time_ms: int = 0


def score(reputation: Reputation) -> float:
    """Reputation in [0, 1].

    The reference's success rate minus 0.05 for each lost dispute (at most 0.30), with a prior of
    two successes and two failures, so that a newcomer stands at 0.5 and one success does not make
    perfection. A lost dispute also counts as ten failures: a liar needs many honest results to
    come back to where it was. Failures alone never lower it below ``SCORE_MIN_FOR_WORK``: bad luck
    makes work rare, only a lost dispute takes it away.
    """
    failures = reputation.failed + 10 * reputation.disputes
    rate = (reputation.completed + PRIOR_SUCCESSES) / (
        reputation.completed + failures + PRIOR_SUCCESSES + PRIOR_FAILURES
    )
    if not reputation.disputes:
        return max(SCORE_MIN_FOR_WORK, rate)
    penalty = min(DISPUTE_PENALTY * reputation.disputes, DISPUTE_PENALTY_MAX)
    return min(1.0, max(0.0, rate - penalty))


def record_success(reputation: Reputation, compute_time_ms: int) -> Reputation:
    return replace(
        reputation,
        completed=reputation.completed + 1,
        consecutive_errors=0,
        compute_time_ms=reputation.compute_time_ms + max(0, compute_time_ms),
    )


def record_failure(reputation: Reputation) -> Reputation:
    return replace(
        reputation,
        failed=reputation.failed + 1,
        consecutive_errors=reputation.consecutive_errors + 1,
    )


def record_dispute(reputation: Reputation) -> Reputation:
    return replace(
        reputation,
        disputes=reputation.disputes + 1,
        consecutive_errors=reputation.consecutive_errors + 1,
    )
