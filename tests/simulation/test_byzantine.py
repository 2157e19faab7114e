"""Colluding liars against the voting rule, by Monte Carlo: accepted lies against the stated bound.

The bound of a receipt is read as it is derived: the share of *all* tasks of a rule that end wrong
by that kind of decision. The share among the tasks that ended by it is printed beside it; it is
higher, because a decision is rarer than a task.
"""

from collections import Counter
from math import sqrt
from random import Random

import pytest

from ambient_vcp.domain.verification.bounds import (
    BILLION,
    MILLION,
    decision_bound,
    majority_ppb,
)
from ambient_vcp.domain.verification.judge import Accept, Fail, OpenSlots, Wait, judge
from ambient_vcp.domain.verification.votes import (
    Decision,
    DecisionKind,
    NeedMore,
    Vote,
    decide_votes,
)
from ambient_vcp.testing import builders

TASKS = 10_000
SHARES = [0.05, 0.10, 0.20, 0.30]
Z_95 = 1.96
Z_SURE = 4.0
"""The bounds are met exactly, so of the many 95 % intervals here some miss by chance; this one,
1 in 30,000, decides."""


def interval(successes, trials, z=Z_95):
    """Wilson's interval of a share, 95 % unless told otherwise."""
    share, z2 = successes / trials, z**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z * sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, middle - half), middle + half


def one_task(random, share, replicas, *, trusted):
    """Ask nodes until the rule decides; None when it cannot. Liars tell one and the same lie."""
    votes = []
    wanted = replicas
    while True:
        for _ in range(wanted):
            lies = random.random() < share
            votes.append(Vote(key="wrong" if lies else "right", node=f"n{len(votes)}"))
        judgement = decide_votes(votes, replicas)
        if isinstance(judgement, NeedMore):
            wanted = judgement.count
            if trusted and judgement.disagreement:
                votes.append(Vote(key="right", node="trusted", trusted=True))
                wanted = 0
            continue
        return judgement if isinstance(judgement, Decision) else None


def run(share, replicas, *, trusted, seed, tasks=TASKS):
    random = Random(f"byzantine {seed} {share} {replicas} {trusted}")
    kinds, wrong = Counter(), Counter()
    for _ in range(tasks):
        decision = one_task(random, share, replicas, trusted=trusted)
        if decision is None:
            kinds["none"] += 1
            continue
        kinds[decision.kind] += 1
        wrong[decision.kind] += decision.key == "wrong"
    return kinds, wrong


@pytest.mark.parametrize("trusted", [False, True], ids=["ordinary", "trusted-decider"])
@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
@pytest.mark.parametrize("share", SHARES)
def test_colluders_get_no_more_wrong_results_accepted_than_stated(share, replicas, trusted):
    seed = 1
    kinds, wrong = run(share, replicas, trusted=trusted, seed=seed)
    for kind in sorted(k for k in kinds if k != "none"):
        fewest = replicas if kind is DecisionKind.UNANIMOUS else max(3, replicas)
        count = {DecisionKind.SINGLE: 1}.get(kind, fewest)
        ppb, formula = decision_bound(
            kind, count, independent=True, malicious_ppm=round(share * MILLION)
        )
        low, high = interval(wrong[kind], TASKS)
        among = wrong[kind] / kinds[kind]
        print(
            f"seed {seed} f={share:.0%} k={replicas} {kind:<28} n={TASKS} wrong {wrong[kind]:>5} = "
            f"{wrong[kind] / TASKS:.4%} [{low:.4%}, {high:.4%}], bound {ppb / BILLION:.4%} "
            f"({formula}); of {kinds[kind]} so decided {among:.2%}"
        )
        assert interval(wrong[kind], TASKS, Z_SURE)[0] <= ppb / BILLION


@pytest.mark.parametrize("replicas", [2, 3, 5])
@pytest.mark.parametrize("share", SHARES)
def test_the_rule_as_a_whole_errs_as_a_majority_does(share, replicas):
    """Whatever a task's votes turn out to be: at most a majority of 3, or of the replicas."""
    kinds, wrong = run(share, replicas, trusted=False, seed=2)
    total = sum(wrong.values())
    bound = majority_ppb(max(3, replicas), round(share * MILLION)) / BILLION
    low, high = interval(total, TASKS)
    print(
        f"seed 2 f={share:.0%} k={replicas} whole rule: wrong {total / TASKS:.4%} "
        f"[{low:.4%}, {high:.4%}], majority bound {bound:.4%}, undecided {kinds['none']}"
    )
    low, high = interval(total, TASKS, Z_SURE)
    assert low <= bound <= high, "the bound is what happens, neither more nor less"


@pytest.mark.parametrize("share", SHARES)
def test_the_judge_of_whole_records_decides_as_the_voting_rule_does(share):
    """The same through real records with real statements and signatures."""
    spec, random = builders.quorum_spec(2), Random(f"records {share}")
    wrong = decided = 0
    for _ in range(100):
        attempts, wanted = [], 2
        while True:
            for _ in range(wanted):
                lie = random.random() < share
                place = len(attempts)
                attempts.append(
                    builders.vote(spec, place, f"n{place}", output=b"lie" if lie else b"right")
                )
            verdict = judge(builders.record(spec, attempts), frozenset())
            if not isinstance(verdict, OpenSlots):
                break
            wanted = verdict.count
        assert not isinstance(verdict, Wait)
        if isinstance(verdict, Fail):
            continue
        assert isinstance(verdict, Accept)
        decided += 1
        accepted = next(a for a in attempts if (a.slot, a.epoch) == verdict.accepted)
        wrong += accepted.result.output == b"lie"
        lies = sum(a.result.output == b"lie" for a in attempts)
        assert (accepted.result.output == b"lie") == (2 * lies > len(attempts))
    bound = majority_ppb(3, round(share * MILLION)) / BILLION
    low, _ = interval(wrong, decided, Z_SURE)
    print(f"f={share:.0%}: {wrong} of {decided} wrong, bound {bound:.2%}")
    assert low <= bound
