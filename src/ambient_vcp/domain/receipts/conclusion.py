"""What the attempts of a task decide: the rule that seals a receipt and the rule that checks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ambient_vcp.domain.receipts.receipt import (
    VOTING,
    AchievedClass,
    AttemptFacts,
    ErrorBound,
    Independence,
    TaskFacts,
    Verdict,
    Waiver,
)
from ambient_vcp.domain.receipts.statement import agreement_keys
from ambient_vcp.domain.verification.bounds import ASSUMED_MALICIOUS_PPM, decision_bound
from ambient_vcp.domain.verification.votes import Decision, DecisionKind, Vote, decide_votes

_CLASS_OF_DECISION = {
    DecisionKind.SINGLE: AchievedClass.SIGNED,
    DecisionKind.UNANIMOUS: AchievedClass.QUORUM,
    DecisionKind.MAJORITY_AFTER_DISAGREEMENT: AchievedClass.QUORUM,
    DecisionKind.TRUSTED_REEXECUTION: AchievedClass.REEXECUTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """The decision, if there is one, and every attempt's verdict in the order of the attempts.

    ``owners_distinct`` says whether no two votes, for or against, come from one owner.
    """

    decision: DecisionKind | None
    achieved: AchievedClass
    agreeing: int
    disagreeing: int
    verdicts: tuple[Verdict, ...]
    owners_distinct: bool


def conclude(task: TaskFacts, attempts: Sequence[AttemptFacts], replicas: int) -> Conclusion:
    """Count the votes again. An attempt votes when its verdict is one of ``VOTING``.

    Which of the three voting verdicts an attempt carries does not matter: that is recomputed.

    Raises:
        InvalidInputError: a node with two votes.
    """
    voters = [each for each in attempts if each.verdict in VOTING and each.statement is not None]
    keys = agreement_keys([each.statement_about(task) for each in voters])
    votes = [
        Vote(key=key, node=each.node_id, trusted=each.trusted)
        for key, each in zip(keys, voters, strict=True)
    ]
    judgement = decide_votes(votes, replicas)
    owners = {each.node_owner_ref for each in voters}
    key_of = {(each.slot, each.epoch): key for key, each in zip(keys, voters, strict=True)}

    def verdict(each: AttemptFacts) -> Verdict:
        key = key_of.get((each.slot, each.epoch))
        if key is None:
            return each.verdict
        if not isinstance(judgement, Decision):
            return Verdict.UNDECIDED
        return Verdict.AGREED if key == judgement.key else Verdict.DISAGREED

    decided = judgement if isinstance(judgement, Decision) else None
    return Conclusion(
        decision=decided.kind if decided else None,
        achieved=_CLASS_OF_DECISION[decided.kind] if decided else AchievedClass.NONE,
        agreeing=decided.agreeing if decided else 0,
        disagreeing=decided.disagreeing if decided else 0,
        verdicts=tuple(verdict(each) for each in attempts),
        owners_distinct=len(owners) == len(voters),
    )


def independence_of(
    conclusion: Conclusion, *, prefixes_distinct: bool, waived: bool
) -> Independence:
    """The independence facts of a receipt."""
    return Independence(
        owners_distinct=conclusion.owners_distinct,
        prefixes_distinct=prefixes_distinct,
        waived=Waiver.PRIVATE_CLUSTER if waived else None,
    )


def bound_of(
    conclusion: Conclusion,
    independence: Independence,
    assumed_malicious_ppm: int = ASSUMED_MALICIOUS_PPM,
) -> ErrorBound | None:
    """The error bound of a receipt, or None where no result was accepted."""
    if conclusion.decision is None:
        return None
    ppb, formula = decision_bound(
        conclusion.decision,
        conclusion.agreeing + conclusion.disagreeing,
        independent=independence.owners_distinct and independence.prefixes_distinct,
        malicious_ppm=assumed_malicious_ppm,
    )
    return ErrorBound(
        parts_per_billion=ppb, assumed_malicious_ppm=assumed_malicious_ppm, formula=formula
    )
