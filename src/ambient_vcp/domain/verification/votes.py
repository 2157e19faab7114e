"""Decide what the results of a task's nodes mean together. Pure, used to judge and to verify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import NodeId

AGREEING_MIN = 2
"""Votes that must agree once nodes have disagreed."""


class DecisionKind(StrEnum):
    SINGLE = "single"
    UNANIMOUS = "unanimous"
    MAJORITY_AFTER_DISAGREEMENT = "majority_after_disagreement"
    TRUSTED_REEXECUTION = "trusted_reexecution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One node's result. Equal keys are equal results; ``trusted`` marks the operator's node."""

    key: Hashable
    node: NodeId
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``key`` is the accepted result; ``agreeing + disagreeing`` is the number of votes."""

    kind: DecisionKind
    key: Hashable
    agreeing: int
    disagreeing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedMore:
    """``count`` is the fewest further votes that can decide, if all of them agree."""

    count: int
    disagreement: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """No further vote of an ordinary node can decide.

    ``trusted_may_decide`` says whether a trusted re-execution still could.
    """

    reason: str
    trusted_may_decide: bool


Judgement: TypeAlias = Decision | NeedMore | Impossible


def votes_max(replicas: int) -> int:
    """The most votes that are ever collected for a task."""
    return 2 * replicas + 1


def decide_votes(votes: Sequence[Vote], replicas: int) -> Judgement:
    """Say what ``votes`` decide when ``replicas`` equal results were asked for.

    1. Trusted votes decide: alone if they agree with each other, not at all if they do not.
    2. ``replicas`` or more votes, all equal, decide.
    3. After any disagreement the result with strictly more than half of all votes decides, when it
       has at least two and at least ``replicas`` votes are in.
    4. Otherwise more votes are needed, up to ``votes_max(replicas)`` in all.

    The order of the votes never matters.

    Raises:
        InvalidInputError: ``replicas`` below 1, or a node with two votes.
    """
    if replicas < 1:
        raise InvalidInputError(where="replicas", rule="at least 1", got=str(replicas))
    if len({vote.node for vote in votes}) != len(votes):
        raise InvalidInputError(where="votes", rule="a node has one vote")
    trusted = {vote.key for vote in votes if vote.trusted}
    if len(trusted) > 1:
        return Impossible(reason="the trusted nodes disagree", trusted_may_decide=False)
    counts = Counter(vote.key for vote in votes)
    if trusted:
        return _decided(DecisionKind.TRUSTED_REEXECUTION, trusted.pop(), counts)
    return _decide_untrusted(counts, replicas)


def _decide_untrusted(counts: Counter[Hashable], replicas: int) -> Judgement:
    total = counts.total()
    if not total:
        return NeedMore(count=replicas, disagreement=False)
    leader, leading = counts.most_common(1)[0]
    if leading == total:
        if total < replicas:
            return NeedMore(count=replicas - total, disagreement=False)
        kind = DecisionKind.SINGLE if total == 1 else DecisionKind.UNANIMOUS
        return _decided(kind, leader, counts)
    # From here two votes differ, so a strict majority has at least two votes.
    if total >= replicas and 2 * leading > total:
        return _decided(DecisionKind.MAJORITY_AFTER_DISAGREEMENT, leader, counts)
    # The fewest agreeing votes r with leading + r > (total + r) / 2 and total + r >= replicas.
    missing = max(total - 2 * leading + 1, replicas - total)
    if total + missing > votes_max(replicas):
        return Impossible(
            reason=f"{total} votes are too divided for {votes_max(replicas)} to decide",
            trusted_may_decide=True,
        )
    return NeedMore(count=missing, disagreement=True)


def _decided(kind: DecisionKind, key: Hashable, counts: Counter[Hashable]) -> Decision:
    return Decision(
        kind=kind, key=key, agreeing=counts[key], disagreeing=counts.total() - counts[key]
    )
