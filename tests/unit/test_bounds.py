"""Error bounds against the published figures and against simulation-free enumeration."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.verification.bounds import (
    BILLION,
    MILLION,
    BoundFormula,
    audit_survival_ppb,
    decision_bound,
    escalation_ppb,
    lies_before_audit_ppb,
    majority_ppb,
    pool_majority_ppb,
    single_ppb,
    unanimous_ppb,
)
from ambient_vcp.domain.verification.votes import DecisionKind

SHARES = st.integers(min_value=0, max_value=499_999)


@pytest.mark.parametrize(
    ("malicious_ppm", "votes", "percent"),
    [
        (50_000, 3, 0.73),
        (50_000, 5, 0.12),
        (100_000, 3, 2.8),
        (100_000, 5, 0.86),
        (200_000, 3, 10.4),
        (200_000, 5, 5.8),
        (300_000, 3, 21.6),
        (300_000, 5, 16.3),
    ],
)
def test_majorities_have_the_tabulated_error(malicious_ppm, votes, percent):
    assert majority_ppb(votes, malicious_ppm) / BILLION * 100 == pytest.approx(percent, abs=0.05)


@pytest.mark.parametrize(
    ("malicious_ppm", "targets"),
    [
        (50_000, (3, 7, 9, 15)),
        (100_000, (5, 9, 13, 23)),
        (200_000, (13, 21, 31, 51)),
        (300_000, (31, 55, 79, 131)),
    ],
)
def test_replicas_for_a_target_error_are_those_tabulated(malicious_ppm, targets):
    for target_ppb, replicas in zip((10**7, 10**6, 10**5, 10**3), targets, strict=True):
        assert majority_ppb(replicas, malicious_ppm) <= target_ppb
        assert majority_ppb(replicas - 2, malicious_ppm) > target_ppb


@pytest.mark.parametrize(
    ("malicious_ppm", "replicas", "wrong_ppb", "escalated_percent"),
    [
        (50_000, 2, 2_500_000, 9.5),
        (100_000, 2, 10_000_000, 18),
        (200_000, 2, 40_000_000, 32),
        (100_000, 3, 1_000_000, None),
        (200_000, 3, 8_000_000, None),
    ],
)
def test_unanimity_has_the_tabulated_error(malicious_ppm, replicas, wrong_ppb, escalated_percent):
    assert unanimous_ppb(replicas, malicious_ppm) == wrong_ppb
    if escalated_percent is not None:
        escalated = escalation_ppb(replicas, malicious_ppm) / BILLION * 100
        assert escalated == pytest.approx(escalated_percent, abs=0.05)


def test_a_finite_pool_has_the_tabulated_error():
    assert pool_majority_ppb(nodes=20, malicious=4, votes=3) / BILLION == pytest.approx(
        0.088, abs=0.0005
    )


@pytest.mark.parametrize(
    ("lie_ppm", "results", "survival"),
    [
        (10**6, 10, 0.35),
        (10**6, 30, 0.042),
        (10**6, 50, 0.005),
        (10**6, 100, 2.7e-5),
        (50_000, 100, 0.61),
    ],
)
def test_audits_catch_liars_as_tabulated(lie_ppm, results, survival):
    found = audit_survival_ppb(audit_ppm=100_000, lie_ppm=lie_ppm, results=results) / BILLION
    assert found == pytest.approx(survival, rel=0.04)


@pytest.mark.parametrize(("audit_ppm", "lies"), [(50_000, 19), (100_000, 9), (200_000, 4)])
def test_lies_before_the_first_audit_are_as_tabulated(audit_ppm, lies):
    assert lies_before_audit_ppb(audit_ppm) == lies * BILLION


@given(votes=st.integers(min_value=1, max_value=9), share=SHARES)
def test_a_majority_bound_is_the_enumerated_probability_rounded_up(votes, share):
    odd = votes if votes % 2 else votes + 1
    probability = Fraction(share, MILLION)
    exact = sum(
        (
            probability ** sum(bad) * (1 - probability) ** (odd - sum(bad))
            for bad in product((0, 1), repeat=odd)
            if 2 * sum(bad) > odd
        ),
        start=Fraction(0),
    )
    assert 0 <= majority_ppb(votes, share) - exact * BILLION < 1


@given(owners=st.lists(st.integers(0, 4), min_size=2, max_size=9), share=SHARES)
def test_no_way_to_share_owners_is_worse_than_one_owner(owners, share):
    # A majority of the votes is wrong when the owners behind them are malicious, each with
    # probability f. The stated bound for votes that are not independent must cover it.
    names = sorted(set(owners))
    probability = Fraction(share, MILLION)
    wrong = Fraction(0)
    for bad in product((0, 1), repeat=len(names)):
        votes = sum(owners.count(name) for name, is_bad in zip(names, bad, strict=True) if is_bad)
        if 2 * votes > len(owners):
            wrong += probability ** sum(bad) * (1 - probability) ** (len(names) - sum(bad))
    bound, _ = decision_bound(
        DecisionKind.MAJORITY_AFTER_DISAGREEMENT,
        len(owners),
        independent=False,
        malicious_ppm=share,
    )
    assert wrong * BILLION <= bound


@given(share=SHARES, results=st.integers(min_value=0, max_value=300))
def test_rounded_powers_are_never_below_the_exact_ones(share, results):
    exact = (1 - Fraction(share, MILLION)) ** results * BILLION
    found = audit_survival_ppb(audit_ppm=share, lie_ppm=MILLION, results=results)
    assert 0 <= found - exact < 1 + Fraction(1, 10**9)


@given(share=SHARES, replicas=st.integers(min_value=1, max_value=20))
def test_more_replicas_never_make_the_bound_worse(share, replicas):
    assert unanimous_ppb(replicas + 1, share) <= unanimous_ppb(replicas, share)
    assert majority_ppb(replicas + 2, share) <= majority_ppb(replicas, share)
    assert unanimous_ppb(replicas, share) <= majority_ppb(replicas, share) <= single_ppb(share)


def test_each_decision_names_its_formula():
    found = {
        (kind, independent): decision_bound(kind, 3, independent=independent)
        for kind in DecisionKind
        for independent in (True, False)
        if kind is not DecisionKind.SINGLE
    }
    assert found[DecisionKind.UNANIMOUS, True] == (8_000_000, BoundFormula.UNANIMOUS)
    assert found[DecisionKind.UNANIMOUS, False] == (200_000_000, BoundFormula.ONE_OWNER)
    majority = DecisionKind.MAJORITY_AFTER_DISAGREEMENT
    assert found[majority, True] == (104_000_000, BoundFormula.MAJORITY)
    assert found[majority, False] == (200_000_000, BoundFormula.ONE_OWNER)
    trusted = DecisionKind.TRUSTED_REEXECUTION
    assert found[trusted, False] == (0, BoundFormula.TRUSTED_EXECUTOR)
    assert decision_bound(DecisionKind.SINGLE, 1, independent=True) == (
        200_000_000,
        BoundFormula.SINGLE_NODE,
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: single_ppb(-1),
        lambda: single_ppb(500_000),
        lambda: unanimous_ppb(0),
        lambda: majority_ppb(2_002),
        lambda: lies_before_audit_ppb(0),
        lambda: audit_survival_ppb(audit_ppm=MILLION + 1, lie_ppm=0, results=1),
        lambda: pool_majority_ppb(nodes=3, malicious=4, votes=1),
        lambda: decision_bound(DecisionKind.UNANIMOUS, 1, independent=True),
    ],
)
def test_arguments_out_of_range_are_refused(call):
    with pytest.raises(InvalidInputError):
        call()
