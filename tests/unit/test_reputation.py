"""Standing from real outcomes: a prior, a visible price for lies, and no way to make lying pay."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.nodes.reputation import (
    SCORE_MIN_FOR_WORK,
    Reputation,
    record_dispute,
    record_failure,
    record_success,
    score,
)

AUDIT_RATE = 0.05
COUNTS = st.integers(0, 10_000)
REPUTATIONS = st.builds(Reputation, completed=COUNTS, failed=COUNTS, disputes=COUNTS)


def after(successes=0, failures=0, disputes=0):
    return Reputation(completed=successes, failed=failures, disputes=disputes)


def test_a_newcomer_stands_in_the_middle():
    assert score(Reputation()) == 0.5


def test_one_success_is_not_perfection():
    assert score(after(successes=1)) == pytest.approx(0.6)
    assert score(after(successes=1_000)) < 1


def test_a_dispute_counts_even_before_the_first_task():
    # The reference ignores disputes of a node that has finished nothing.
    assert score(after(disputes=1)) < SCORE_MIN_FOR_WORK


def test_a_lie_after_a_hundred_successes_is_visible():
    before, fallen = score(after(successes=100)), score(after(successes=100, disputes=1))
    assert before > 0.98
    assert before - fallen > 0.1
    assert score(after(successes=200, disputes=1)) < before, "a hundred more do not undo it"


@given(reputation=REPUTATIONS)
def test_the_score_is_in_bounds_and_each_outcome_moves_it_the_right_way(reputation):
    now = score(reputation)
    assert 0 <= now <= 1
    assert score(record_success(reputation, 5)) >= now
    assert score(record_failure(reputation)) <= now
    assert score(record_dispute(reputation)) <= now
    assert score(record_dispute(reputation)) <= score(record_failure(reputation))


@given(outcomes=st.lists(st.sampled_from("sfd"), max_size=60))
def test_consecutive_errors_restart_with_each_success(outcomes):
    reputation, streak = Reputation(), 0
    for outcome in outcomes:
        if outcome == "s":
            reputation, streak = record_success(reputation, -3), 0
        else:
            note = record_failure if outcome == "f" else record_dispute
            reputation, streak = note(reputation), streak + 1
    assert reputation.consecutive_errors == streak
    assert reputation.compute_time_ms == 0, "negative times add nothing"


def test_a_node_that_only_fails_is_drawn_rarely_but_never_shut_out_for_ever():
    hopeless = after(failures=10_000)
    assert score(hopeless) == SCORE_MIN_FOR_WORK
    recovered = hopeless
    for _ in range(20_000):
        recovered = record_success(recovered, 1)
    assert score(recovered) > 0.5


def test_a_liar_is_shut_out_by_its_first_lost_dispute_unless_it_has_earned_otherwise():
    assert score(after(disputes=1, successes=1)) < SCORE_MIN_FOR_WORK
    assert score(after(disputes=1, successes=100)) > SCORE_MIN_FOR_WORK


@pytest.mark.parametrize("seed", range(20))
def test_a_node_that_always_lies_and_is_audited_at_five_percent_never_climbs(seed):
    """Unaudited lies count as successes, as they must: nobody knows. Audits outweigh them."""
    random, reputation, scores = Random(seed), Reputation(), []
    for _ in range(4_000):
        caught = random.random() < AUDIT_RATE
        reputation = record_dispute(reputation) if caught else record_success(reputation, 1)
        scores.append(score(reputation))
    print(
        f"seed {seed}: final {scores[-1]:.3f}, best after 1,000 results {max(scores[1_000:]):.3f}"
    )
    honest = score(after(successes=4_000))
    assert max(scores[1_000:]) < 0.5, "below a newcomer, so a new name is worth more than this one"
    assert scores[-1] < honest / 2


@pytest.mark.parametrize(
    ("lie_share", "pays"), [(1.0, False), (0.5, False), (0.2, False), (0.1, False)]
)
def test_the_expected_long_run_standing_of_a_liar_is_below_that_of_an_honest_node(lie_share, pays):
    """Break-even by counting: of n results, n*s*q are lost disputes and the rest successes."""
    results = 10_000
    disputes = int(results * lie_share * AUDIT_RATE)
    liar = score(after(successes=results - disputes, disputes=disputes))
    honest = score(after(successes=results))
    print(f"lies {lie_share:.0%}: standing {liar:.3f}, honest {honest:.3f}")
    assert (liar > honest) is pays
    assert liar <= honest - 0.30, "six or more lost disputes cost the whole penalty"


def test_lying_does_not_break_even_within_one_audited_life():
    """The loss times q exceeds the gain times 1 - q; draws go with standing squared."""
    gain_per_lie = score(after(successes=101)) ** 2 - score(after(successes=100)) ** 2
    loss_when_caught = score(after(successes=100)) ** 2 - score(after(100, disputes=1)) ** 2
    assert AUDIT_RATE * loss_when_caught > (1 - AUDIT_RATE) * gain_per_lie
