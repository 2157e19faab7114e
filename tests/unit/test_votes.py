"""The voting rule: examples, and properties over all small elections."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.verification.votes import (
    Decision,
    DecisionKind,
    Impossible,
    NeedMore,
    Vote,
    decide_votes,
    votes_max,
)

KEYS = st.lists(st.sampled_from("abcd"), max_size=12)
REPLICAS = st.integers(min_value=1, max_value=5)


def votes_for(keys, trusted=""):
    """One vote per letter; capital letters in ``trusted`` add trusted votes."""
    plain = [Vote(key=key, node=f"n{place}") for place, key in enumerate(keys)]
    return plain + [
        Vote(key=key, node=f"t{place}", trusted=True) for place, key in enumerate(trusted)
    ]


def decide(keys, replicas, trusted=""):
    return decide_votes(votes_for(keys, trusted), replicas)


def decided(kind, key, agreeing, disagreeing=0):
    return Decision(kind=kind, key=key, agreeing=agreeing, disagreeing=disagreeing)


MAJORITY = DecisionKind.MAJORITY_AFTER_DISAGREEMENT
TRUSTED = DecisionKind.TRUSTED_REEXECUTION


@pytest.mark.parametrize(
    ("keys", "replicas", "expected"),
    [
        ("", 3, NeedMore(count=3, disagreement=False)),
        ("a", 1, decided(DecisionKind.SINGLE, "a", 1)),
        ("aa", 1, decided(DecisionKind.UNANIMOUS, "a", 2)),
        ("ab", 1, NeedMore(count=1, disagreement=True)),
        ("a", 2, NeedMore(count=1, disagreement=False)),
        ("aa", 2, decided(DecisionKind.UNANIMOUS, "a", 2)),
        ("ab", 2, NeedMore(count=1, disagreement=True)),
        ("aba", 2, decided(MAJORITY, "a", 2, 1)),
        ("abc", 2, NeedMore(count=2, disagreement=True)),
        ("abcaa", 2, decided(MAJORITY, "a", 3, 2)),
        ("aab", 4, NeedMore(count=1, disagreement=True)),
        ("aabb", 4, NeedMore(count=1, disagreement=True)),
        ("aaab", 4, decided(MAJORITY, "a", 3, 1)),
    ],
)
def test_small_elections_end_as_written(keys, replicas, expected):
    assert decide(keys, replicas) == expected


def test_too_divided_votes_are_impossible_but_a_trusted_node_may_decide():
    judgement = decide("abcd", 2)
    assert isinstance(judgement, Impossible)
    assert judgement.trusted_may_decide
    assert decide("abcd", 2, "b") == decided(TRUSTED, "b", 2, 3)


def test_a_trusted_node_decides_even_against_all_others():
    assert decide("aaa", 3, "b") == decided(TRUSTED, "b", 1, 3)


def test_trusted_nodes_that_disagree_decide_nothing():
    judgement = decide("aa", 2, "ab")
    assert judgement == Impossible(reason="the trusted nodes disagree", trusted_may_decide=False)


def test_a_node_has_one_vote():
    with pytest.raises(InvalidInputError):
        decide_votes([Vote(key="a", node="n"), Vote(key="a", node="n")], 2)


def test_no_replicas_is_refused():
    with pytest.raises(InvalidInputError):
        decide("a", 0)


@given(keys=KEYS, replicas=REPLICAS, data=st.data())
def test_the_order_of_votes_never_matters(keys, replicas, data):
    votes = votes_for(keys)
    shuffled = data.draw(st.permutations(votes))
    assert decide_votes(votes, replicas) == decide_votes(shuffled, replicas)


@given(keys=KEYS, replicas=REPLICAS)
def test_a_decision_always_has_its_stated_support(keys, replicas):
    judgement = decide(keys, replicas)
    if not isinstance(judgement, Decision):
        return
    counts = Counter(keys)
    assert judgement.agreeing == counts[judgement.key]
    assert judgement.agreeing + judgement.disagreeing == len(keys) >= replicas
    assert 2 * judgement.agreeing > len(keys)
    if judgement.disagreeing:
        assert judgement.kind is MAJORITY
        assert judgement.agreeing >= 2
    else:
        assert judgement.kind in {DecisionKind.SINGLE, DecisionKind.UNANIMOUS}


@given(keys=KEYS, replicas=REPLICAS)
def test_the_votes_asked_for_suffice_and_fewer_never_do(keys, replicas):
    judgement = decide(keys, replicas)
    if not isinstance(judgement, NeedMore):
        return
    assert len(keys) + judgement.count <= votes_max(replicas)
    assert judgement.disagreement is (len(set(keys)) > 1)
    candidates = set(keys) | {"z"}

    def can_decide(extra):
        return any(
            isinstance(decide([*keys, *[key] * extra], replicas), Decision) for key in candidates
        )

    assert can_decide(judgement.count)
    assert not any(can_decide(extra) for extra in range(judgement.count))


@given(keys=KEYS, replicas=REPLICAS)
def test_impossible_means_that_no_votes_within_the_cap_decide(keys, replicas):
    judgement = decide(keys, replicas)
    if not isinstance(judgement, Impossible):
        return
    for extra in range(votes_max(replicas) - len(keys) + 1):
        for key in set(keys):
            assert not isinstance(decide([*keys, *[key] * extra], replicas), Decision)


@given(keys=KEYS, replicas=REPLICAS, liars=st.integers(min_value=0, max_value=2))
def test_liars_without_a_majority_never_win(keys, replicas, liars):
    honest = ["a"] * (liars + 1)
    judgement = decide([*honest, *["b"] * liars], replicas)
    assert not (isinstance(judgement, Decision) and judgement.key == "b")
