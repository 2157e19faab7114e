"""The judge over whole records with real statements and signatures."""

from dataclasses import replace
from itertools import permutations

import pytest

from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState
from ambient_vcp.domain.tasks.spec import AssuranceClass, VerificationRequest
from ambient_vcp.domain.verification.judge import (
    Accept,
    Assurance,
    Effect,
    Fail,
    OpenSlots,
    Reopen,
    Standing,
    Wait,
    after_failure,
    failure_effect,
    judge,
    judge_audit,
    wants_audit,
)
from ambient_vcp.domain.verification.votes import DecisionKind
from ambient_vcp.testing import builders
from ambient_vcp.testing.clock import START_MS
from ambient_vcp.testing.signers import answer

NOBODY = frozenset()
PAIR = builders.quorum_spec(2)
TRIPLE = builders.quorum_spec(3)
SIGNED = builders.spec()
SUCCESS, DISPUTE = Standing.SUCCESS, Standing.DISPUTE


def votes(spec, letters, *, decider_from=99):
    """A vote per letter by nodes n0, n1, ...; equal letters are equal outputs."""
    return [
        builders.vote(
            spec,
            place,
            f"n{place}",
            output=letter.encode(),
            purpose=SlotPurpose.DECIDER if place >= decider_from else SlotPurpose.PRIMARY,
        )
        for place, letter in enumerate(letters)
    ]


def judged(spec, letters, trusted=NOBODY, *, decider_from=99, waiting=0):
    attempts = votes(spec, letters, decider_from=decider_from)
    filled = [
        builders.slot(a.slot, state=SlotState.FILLED, purpose=a.purpose, lease_epoch=1)
        for a in attempts
    ]
    empty = [builders.slot(len(attempts) + n) for n in range(waiting)]
    return judge(builders.record(spec, attempts, [*filled, *empty]), frozenset(trusted))


def standings(verdict):
    return {effect.node_id: effect.standing for effect in verdict.effects}


def test_one_signature_completes_a_signed_task_provisionally():
    verdict = judged(SIGNED, "A")
    assert isinstance(verdict, Accept)
    assert (verdict.decision, verdict.assurance) == (DecisionKind.SINGLE, Assurance.PROVISIONAL)
    assert standings(verdict) == {"n0": SUCCESS}
    assert verdict.verdicts == {(0, 1): "agreed"}


def test_nothing_is_decided_while_replicas_are_out():
    assert isinstance(judged(PAIR, "", waiting=2), Wait)
    assert isinstance(judged(PAIR, "A", waiting=1), Wait)
    assert isinstance(judged(TRIPLE, "AA", waiting=1), Wait)


@pytest.mark.parametrize(("spec", "letters"), [(PAIR, "AA"), (TRIPLE, "AAA")])
def test_unanimous_replicas_are_final(spec, letters):
    verdict = judged(spec, letters)
    assert (verdict.decision, verdict.assurance) == (DecisionKind.UNANIMOUS, Assurance.FINAL)
    assert set(standings(verdict).values()) == {SUCCESS}
    assert verdict.accepted == (0, 1)


def test_a_pair_that_disagrees_asks_for_one_more():
    assert judged(PAIR, "AB") == OpenSlots(count=1)
    assert isinstance(judged(PAIR, "AB", waiting=1), Wait), "it is on its way already"


@pytest.mark.parametrize("letters", sorted(set(permutations("AAB"))))
def test_after_a_disagreement_the_majority_decides_and_the_minority_loses_the_dispute(letters):
    verdict = judged(PAIR, letters, decider_from=2)
    liar = f"n{letters.index('B')}"
    assert verdict.decision is DecisionKind.MAJORITY_AFTER_DISAGREEMENT
    assert standings(verdict) == {
        f"n{n}": DISPUTE if f"n{n}" == liar else SUCCESS for n in range(3)
    }
    assert verdict.verdicts[letters.index("B"), 1] == "disagreed"
    assert letters[verdict.accepted[0]] == "A"


def test_three_different_results_ask_for_two_more_and_five_end_it():
    assert judged(PAIR, "ABC", decider_from=2) == OpenSlots(count=2)
    verdict = judged(PAIR, "ABCDE", decider_from=2)
    assert isinstance(verdict, Fail)
    assert verdict.reason == "quorum_not_reached"
    assert isinstance(judged(PAIR, "ABCAA", decider_from=2), Accept)


def test_a_trusted_decider_decides_alone_even_against_a_majority():
    verdict = judged(TRIPLE, "AABB", trusted={"n3"}, decider_from=3)
    assert verdict.decision is DecisionKind.TRUSTED_REEXECUTION
    assert standings(verdict) == {"n0": DISPUTE, "n1": DISPUTE, "n2": SUCCESS, "n3": SUCCESS}


def test_a_trusted_node_that_is_one_replica_among_others_is_a_vote_like_theirs():
    assert judged(PAIR, "AB", trusted={"n0"}) == OpenSlots(count=1)
    verdict = judged(PAIR, "ABB", trusted={"n0"}, decider_from=2)
    assert verdict.decision is DecisionKind.MAJORITY_AFTER_DISAGREEMENT
    assert standings(verdict)["n0"] is DISPUTE


def test_a_failure_that_is_an_answer_votes_like_a_result():
    trap = answer(Reason.TRAP, trap="unreachable")
    both = [builders.vote(PAIR, n, f"n{n}", trap) for n in range(2)]
    verdict = judge(builders.record(PAIR, both), NOBODY)
    assert (verdict.reason, verdict.decision) == ("trap", DecisionKind.UNANIMOUS)
    assert set(standings(verdict).values()) == {SUCCESS}
    mixed = [both[0], builders.vote(PAIR, 1, "n1")]
    assert judge(builders.record(PAIR, mixed), NOBODY) == OpenSlots(count=1)


def test_traps_with_different_codes_disagree():
    codes = [
        builders.vote(PAIR, n, f"n{n}", answer(Reason.TRAP, trap=code))
        for n, code in enumerate(["unreachable", "integer_divide_by_zero"])
    ]
    assert judge(builders.record(PAIR, codes), NOBODY) == OpenSlots(count=1)


def test_other_fuel_is_another_result_within_a_class():
    honest = builders.vote(PAIR, 0, "n0")
    outcome = replace(honest.result.outcome, fuel_used=1)
    skimmed = builders.vote(PAIR, 1, "n1", outcome)
    assert judge(builders.record(PAIR, [honest, skimmed]), NOBODY) == OpenSlots(count=1)


@pytest.mark.parametrize("state", [AttemptState.EXPIRED, AttemptState.SUPERSEDED])
def test_a_late_result_is_no_vote(state):
    attempts = votes(PAIR, "AB")
    attempts[1] = replace(attempts[1], state=state, verdict="too_late")
    slots = [builders.slot(0, state=SlotState.FILLED), builders.slot(1)]
    assert isinstance(judge(builders.record(PAIR, attempts, slots), NOBODY), Wait)


def test_an_audit_vote_does_not_count_before_the_end():
    attempts = votes(PAIR, "AA")
    attempts[1] = replace(attempts[1], purpose=SlotPurpose.AUDIT)
    slots = [builders.slot(0, state=SlotState.FILLED), builders.slot(1)]
    assert isinstance(judge(builders.record(PAIR, attempts, slots), NOBODY), Wait)


def audited(letters, trusted=NOBODY, *, waiting=0):
    """A completed signed task whose first result was accepted, with audits."""
    attempts = [
        replace(vote, purpose=SlotPurpose.AUDIT if vote.slot else SlotPurpose.PRIMARY)
        for vote in votes(SIGNED, letters)
    ]
    slots = [builders.slot(a.slot, state=SlotState.FILLED, purpose=a.purpose) for a in attempts] + [
        builders.slot(len(attempts) + n, purpose=SlotPurpose.AUDIT) for n in range(waiting)
    ]
    record = builders.record(SIGNED, attempts, slots, accepted=(0, 1))
    return judge_audit(record, frozenset(trusted))


def test_an_audit_that_agrees_upholds_the_result_and_books_only_the_auditor():
    verdict = audited("AA")
    assert (verdict.assurance, verdict.more, verdict.refuted_node) == (Assurance.AUDITED, 0, None)
    assert [(e.node_id, e.standing) for e in verdict.effects] == [("n1", SUCCESS)]


def test_an_audit_that_disagrees_asks_a_third_node():
    verdict = audited("AB")
    assert (verdict.assurance, verdict.more) == (Assurance.DISPUTED, 1)
    assert verdict.effects == ()
    assert audited("AB", waiting=1).more == 0


def test_a_refuted_result_costs_its_node_the_dispute():
    verdict = audited("ABB")
    assert (verdict.assurance, verdict.refuted_node) == (Assurance.REFUTED, "n0")
    assert standings(verdict) == {"n0": DISPUTE, "n1": SUCCESS, "n2": SUCCESS}


def test_an_auditor_that_lies_loses_the_dispute_itself():
    verdict = audited("ABA")
    assert verdict.assurance is Assurance.AUDITED
    assert standings(verdict) == {"n1": DISPUTE, "n2": SUCCESS}


def test_a_trusted_auditor_decides_alone():
    verdict = audited("AB", trusted={"n1"})
    assert (verdict.assurance, verdict.refuted_node) == (Assurance.REFUTED, "n0")


def test_audits_that_never_agree_leave_the_result_disputed():
    verdict = audited("ABCDE")
    assert (verdict.assurance, verdict.more, verdict.effects) == (Assurance.DISPUTED, 0, ())


@pytest.mark.parametrize(("unit", "wanted"), [(0.0, True), (0.0499999, True), (0.05, False)])
def test_the_audit_rate_decides_on_the_random_number(unit, wanted):
    assert wants_audit(SIGNED, unit) is wanted


def test_a_quorum_is_never_audited_and_a_full_rate_always():
    assert not wants_audit(PAIR, 0.0)
    always = VerificationRequest(
        assurance_class=AssuranceClass.SIGNED, replicas=1, audit_rate_ppm=1_000_000
    )
    assert wants_audit(builders.spec(verification=always), 1 - 1e-12)


def failed(*reasons, attempts_max=5):
    spec = builders.spec(attempts_max=attempts_max)
    attempts = [
        builders.attempt(
            0,
            f"n{epoch}",
            epoch=epoch + 1,
            state=AttemptState.EXPIRED if reason == "lease_expired" else AttemptState.FAILED,
            reason=reason,
        )
        for epoch, reason in enumerate(reasons)
    ]
    slot = builders.slot(0, state=SlotState.LEASED)
    return after_failure(builders.record(spec, attempts, [slot]), slot, START_MS, 0.5)


def test_the_first_failure_is_retried_at_once_and_later_ones_after_a_while():
    assert failed("lease_expired") == Reopen(not_before_ms=START_MS)
    assert failed("lease_expired", "node_error") == Reopen(not_before_ms=START_MS + 500)


def test_attempts_are_bounded_and_the_dead_letter_names_every_reason():
    verdict = failed("lease_expired", "node_error", "node_drained", attempts_max=3)
    assert verdict.reason == "attempts_exhausted"
    assert "n0: lease_expired, n1: node_error, n2: node_drained" in verdict.detail


def test_a_guest_that_crashes_three_cells_is_not_tried_on_a_fourth():
    assert isinstance(failed("cell_crashed", "cell_crashed"), Reopen)
    verdict = failed("cell_crashed", "lease_expired", "cell_crashed", "cell_crashed")
    assert (verdict.reason, verdict.detail) == (
        "cell_crashed",
        "3 attempts on 3 nodes ended so",
    )


def test_a_guest_that_runs_too_long_twice_is_not_tried_a_third_time():
    assert isinstance(failed("wall_clock_exceeded"), Reopen)
    assert failed("wall_clock_exceeded", "wall_clock_exceeded").reason == "wall_clock_exceeded"


@pytest.mark.parametrize(
    ("reason", "standing"),
    [
        ("lease_expired", Standing.FAILURE),
        ("node_error", Standing.FAILURE),
        ("input_unavailable", Standing.FAILURE),
        ("cell_crashed", None),
        ("wall_clock_exceeded", None),
        ("node_drained", None),
    ],
)
def test_only_the_nodes_own_failures_lower_its_standing(reason, standing):
    expected = None if standing is None else Effect(node_id="n", standing=standing)
    assert failure_effect("n", reason) == expected
