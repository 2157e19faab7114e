"""How likely a wrong result is accepted, as exact integers in parts per billion, rounded up.

All formulas assume that each node asked is malicious with probability f, independently, and that
malicious nodes agree on one wrong result, which is the worst case. Figures to compare with stand in
the tests.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from math import comb

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.verification.votes import AGREEING_MIN, DecisionKind

BILLION = 1_000_000_000
MILLION = 1_000_000
ASSUMED_MALICIOUS_PPM = 200_000
"""The share of malicious nodes that stated bounds assume unless told otherwise: 20 %."""

VOTES_MAX = 2_001


class BoundFormula(StrEnum):
    """Which formula a receipt's bound follows."""

    SINGLE_NODE = "single_node"
    ONE_OWNER = "one_owner"
    UNANIMOUS = "unanimous"
    MAJORITY = "majority"
    TRUSTED_EXECUTOR = "trusted_executor"


def single_ppb(malicious_ppm: int = ASSUMED_MALICIOUS_PPM) -> int:
    """One node's word: f."""
    return _ppb(_share(malicious_ppm))


def unanimous_ppb(replicas: int, malicious_ppm: int = ASSUMED_MALICIOUS_PPM) -> int:
    """All of k independent replicas are malicious: f^k."""
    _check_count("replicas", replicas)
    return _ppb(_share(malicious_ppm) ** replicas)


def escalation_ppb(replicas: int, malicious_ppm: int = ASSUMED_MALICIOUS_PPM) -> int:
    """Not all of k replicas agree: 1 - f^k - (1 - f)^k."""
    _check_count("replicas", replicas)
    share = _share(malicious_ppm)
    return _ppb(1 - share**replicas - (1 - share) ** replicas)


def majority_ppb(votes: int, malicious_ppm: int = ASSUMED_MALICIOUS_PPM) -> int:
    """More than half of n votes are malicious: the sum over i > n/2 of C(n,i) f^i (1-f)^(n-i).

    For even n the figure of n + 1 is given. That is the same as "the first result with m votes" for
    m = n/2 + 1 (Sarmenta, FGCS 18 (2002), m-first voting), and it is never smaller: a tie would
    have asked for one vote more.
    """
    _check_count("votes", votes)
    _share(malicious_ppm)
    odd = votes if votes % 2 else votes + 1
    wrong = sum(
        comb(odd, bad) * malicious_ppm**bad * (MILLION - malicious_ppm) ** (odd - bad)
        for bad in range(odd // 2 + 1, odd + 1)
    )
    return _ppb(Fraction(wrong, MILLION**odd))


def pool_majority_ppb(*, nodes: int, malicious: int, votes: int) -> int:
    """The same for voters drawn from a finite pool without replacement (hypergeometric)."""
    _check_count("votes", votes)
    if not 0 <= malicious <= nodes or votes > nodes:
        raise InvalidInputError(where="nodes", rule="at least the malicious ones and the votes")
    wrong = sum(
        comb(malicious, bad) * comb(nodes - malicious, votes - bad)
        for bad in range(votes // 2 + 1, votes + 1)
    )
    return _ppb(Fraction(wrong, comb(nodes, votes)))


def audit_survival_ppb(*, audit_ppm: int, lie_ppm: int, results: int) -> int:
    """A liar is never caught: (1-qs)^n for audit rate q, share of lies s, n results."""
    if not 0 <= results <= MILLION:
        raise InvalidInputError(where="results", rule=f"0 to {MILLION}", got=str(results))
    caught = _rate("audit_ppm", audit_ppm) * _rate("lie_ppm", lie_ppm)
    # The exact power would have millions of digits: it is rounded up to 256 bits as it is made.
    return _ppb(_power_rounded_up(1 - caught, results))


def lies_before_audit_ppb(audit_ppm: int) -> int:
    """Expected lies accepted before the first audit of a node that always lies: (1-q)/q."""
    rate = _rate("audit_ppm", audit_ppm)
    if rate == 0:
        raise InvalidInputError(where="audit_ppm", rule="more than 0")
    return _ppb((1 - rate) / rate)


def decision_bound(
    kind: DecisionKind,
    votes: int,
    *,
    independent: bool,
    malicious_ppm: int = ASSUMED_MALICIOUS_PPM,
) -> tuple[int, BoundFormula]:
    """The bound a receipt states for a decision of ``votes`` votes, and its formula's name.

    Votes that share an owner or a network are not independent. The bound is then that of one node:
    no rule that needs a majority is worse than its one owner deciding alone while f < 1/2. A
    trusted re-execution is as right as its executor: 0 under the assumption that it is honest.
    """
    if kind is DecisionKind.TRUSTED_REEXECUTION:
        return 0, BoundFormula.TRUSTED_EXECUTOR
    if kind is DecisionKind.SINGLE:
        return single_ppb(malicious_ppm), BoundFormula.SINGLE_NODE
    if votes < AGREEING_MIN:
        raise InvalidInputError(where="votes", rule=f"at least {AGREEING_MIN}", got=str(votes))
    if not independent:
        return single_ppb(malicious_ppm), BoundFormula.ONE_OWNER
    if kind is DecisionKind.UNANIMOUS:
        return unanimous_ppb(votes, malicious_ppm), BoundFormula.UNANIMOUS
    return majority_ppb(votes, malicious_ppm), BoundFormula.MAJORITY


def _power_rounded_up(base: Fraction, exponent: int) -> Fraction:
    scale = 1 << 256

    def up(value: Fraction) -> Fraction:
        return Fraction(-(-value.numerator * scale // value.denominator), scale)

    result, square = Fraction(1), up(base)
    while exponent:
        if exponent & 1:
            result = up(result * square)
        square, exponent = up(square * square), exponent >> 1
    return result


def _ppb(probability: Fraction) -> int:
    return -(-probability.numerator * BILLION // probability.denominator)


def _share(malicious_ppm: int) -> Fraction:
    if not 0 <= malicious_ppm < MILLION // 2:
        raise InvalidInputError(
            where="malicious_ppm",
            rule="at least 0 and below 500000: voting proves nothing against a majority",
            got=str(malicious_ppm),
        )
    return Fraction(malicious_ppm, MILLION)


def _rate(where: str, rate_ppm: int) -> Fraction:
    if not 0 <= rate_ppm <= MILLION:
        raise InvalidInputError(where=where, rule=f"0 to {MILLION}", got=str(rate_ppm))
    return Fraction(rate_ppm, MILLION)


def _check_count(where: str, count: int) -> None:
    if not 1 <= count <= VOTES_MAX:
        raise InvalidInputError(where=where, rule=f"1 to {VOTES_MAX}", got=str(count))
