"""Histories that must end well, each played on purpose in the simulated cluster."""

from dataclasses import replace

import pytest

from ambient_vcp.domain.nodes.reputation import Reputation
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, TaskState
from ambient_vcp.domain.tasks.spec import AssuranceClass, LeaseRef, VerificationRequest
from ambient_vcp.ports.store import NewSlot
from ambient_vcp.services.tasks import results, settle
from ambient_vcp.testing import builders, final_checks
from ambient_vcp.testing.cluster import Cluster, Submission
from ambient_vcp.testing.entropy import SeededEntropy
from ambient_vcp.testing.invariants import InvariantViolationError
from ambient_vcp.testing.nemesis import run_seed
from ambient_vcp.testing.signers import EXEC_CLASS, signed_result, signer_named, success
from ambient_vcp.testing.simulated_node import Character, truth
from ambient_vcp.testing.simulated_plane import VERIFIER

SLOW = Character(slowness=30.0, concurrency=2)
QUICK = Character(slowness=0.1)
STUBBORN = replace(SLOW, stubborn=True)


def spec(program=b"v", **changes):
    return builders.spec(public_input=builders.input_ref(program + b"12345678"), **changes)


def one_task(cluster, task_spec):
    cluster.submit(Submission(key="key", at_ms=0, specs=(task_spec,)))


def only(cluster):
    (record,) = cluster.records()
    return record


@pytest.mark.parametrize("seed", range(10))
def test_a_node_that_slept_through_its_lease_changes_nothing_when_it_wakes(seed):
    """Paused longer than the lease; the slot goes to another node; then both report."""
    cluster = Cluster(seed, [STUBBORN, QUICK])
    with cluster.explained():
        cluster.plane.drain("n01", draining=True)
        one_task(cluster, spec())
        cluster.run_for(6_000)
        assert only(cluster).attempts[0].node_id == "n00"
        cluster.plane.drain("n01", draining=False)
        sleeper = cluster.nodes["n00"]
        for work in sleeper.work.values():
            work.done_at_ms = cluster.clock.monotonic_ms() + 10_000
        sleeper.paused_until_ms = cluster.clock.monotonic_ms() + 60_000
        cluster.run_for(90_000)
        record = only(cluster)
        assert record.task.state is TaskState.COMPLETED
        # An audit may follow by chance; it is no part of this story.
        late, accepted = (a for a in record.attempts if a.purpose is SlotPurpose.PRIMARY)
        assert (late.node_id, late.state, late.verdict) == (
            "n00",
            AttemptState.EXPIRED,
            "too_late",
        )
        assert late.result is not None
        assert (accepted.node_id, accepted.epoch) == ("n01", late.epoch + 1)
        assert record.task.accepted == (0, accepted.epoch)
        final_checks.check_receipts(cluster.plane, [record])


def test_a_single_machine_that_slept_through_its_lease_may_do_the_work_again():
    cluster = Cluster(1, [STUBBORN])
    with cluster.explained():
        one_task(cluster, spec())
        cluster.run_for(4_000)
        node = cluster.nodes["n00"]
        for work in node.work.values():
            work.done_at_ms = cluster.clock.monotonic_ms() + 5_000
        node.paused_until_ms = cluster.clock.monotonic_ms() + 60_000
        cluster.run_for(150_000)
        record = only(cluster)
        *lost, last = [a.state for a in record.attempts]
        assert last is AttemptState.COMPLETED
        assert set(lost) == {AttemptState.EXPIRED}
        assert record.attempts[0].verdict == "too_late"
        assert record.task.state is TaskState.COMPLETED


def test_the_work_of_a_dead_node_moves_within_lease_and_sweep():
    cluster = Cluster(3, [SLOW, SLOW])
    with cluster.explained():
        one_task(cluster, spec())
        cluster.run_for(25_000)
        first = only(cluster).attempts[0]
        cluster.nodes[first.node_id].crash()
        cluster.run_for(35_500)
        second = only(cluster).attempts[1]
        assert second.node_id != first.node_id
        moved_ms = second.granted_at_ms - (cluster.clock.now_ms() - 35_500)
        print(f"moved after {moved_ms} ms")
        assert moved_ms <= 35_000


def test_a_guest_that_kills_its_cells_ends_after_three_and_harms_no_standing():
    cluster = Cluster(4, [QUICK] * 4)
    with cluster.explained():
        one_task(cluster, spec(b"c"))
        cluster.run_for(30_000)
        record = only(cluster)
        assert (record.task.state, record.task.reason) == (TaskState.FAILED, "cell_crashed")
        assert len({a.node_id for a in record.attempts}) == 3
        for node in cluster.store.read(lambda tx: tx.nodes.placeable(10)):
            assert node.reputation == Reputation()


def test_a_lost_answer_is_one_task_and_one_result():
    """Every first answer of the control plane is lost: everything is asked twice."""
    cluster = Cluster(5, [QUICK, QUICK])
    with cluster.explained():
        cluster.network.outward |= {"client", "n00", "n01"}
        one_task(cluster, spec())
        cluster.run_for(30_000)
        cluster.network.heal()
        cluster.run_for(60_000)
        record = only(cluster)
        assert cluster.client.ids == {"key": [record.task.id]}
        assert record.task.state is TaskState.COMPLETED
        assert len([a for a in record.attempts if a.state is AttemptState.COMPLETED]) == 1


ALWAYS = VerificationRequest(
    assurance_class=AssuranceClass.SIGNED, replicas=1, audit_rate_ppm=1_000_000
)


class Court:
    """Hands slots to nodes and results to the judge by hand, in the order that a test wants."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.entropy = SeededEntropy(1)

    def submit(self, key, program=b"v"):
        plane = self.cluster.plane
        wanted = spec(program + key.encode(), verification=ALWAYS)
        return plane.submit(builders.ACCOUNT_ID, key, [wanted], waived=True)[0]

    def record(self, task_id):
        return self.cluster.store.read(lambda tx: tx.tasks.load([task_id]))[task_id]

    def reputation(self, name):
        return self.cluster.store.read(lambda tx: tx.nodes.get(name)).reputation

    def vote(self, task_id, slot, name, *, lie=False):
        task_spec = self.record(task_id).task.spec
        outcome, output = truth(task_spec, EXEC_CLASS)
        if lie:
            output = b"lie"
            outcome = success(output)

        def use_case(tx):
            (grant,) = tx.tasks.grant([(task_id, slot, name)], lease_ms=30_000)
            result = signed_result(
                task_spec, grant.lease, outcome, signer_named(name), output=output
            )
            return results.hand_in(
                tx,
                node=tx.nodes.get(name),
                submissions=[results.Submission(lease=grant.lease, result=result)],
                verifier=VERIFIER,
                entropy=self.entropy,
            )

        (answer,) = self.cluster.store.transact(use_case)
        assert answer.status == "accepted"
        return answer


@pytest.fixture
def court():
    cluster = Cluster(6, [QUICK] * 6)
    yield Court(cluster)
    cluster.close()


def audits(record):
    return [slot for slot in record.slots if slot.purpose is SlotPurpose.AUDIT]


def test_a_liar_found_by_an_audit_has_its_other_results_executed_again(court):
    quiet, caught = court.submit("quiet"), court.submit("caught")
    court.vote(quiet, 0, "n00")
    court.vote(caught, 0, "n00", lie=True)
    court.vote(caught, 1, "n01")
    assert court.record(caught).task.assurance == "disputed"
    court.vote(caught, 2, "n02")
    assert court.record(caught).task.assurance == "refuted"
    assert court.record(quiet).task.assurance == "disputed"
    assert court.reputation("n00").disputes == 1
    assert (court.reputation("n01").completed, court.reputation("n02").completed) == (1, 1)


def test_a_result_whose_audit_is_under_way_is_not_audited_twice_when_its_node_is_caught(court):
    quiet, caught = court.submit("quiet"), court.submit("caught")
    court.vote(quiet, 0, "n00")
    court.vote(caught, 0, "n00", lie=True)
    court.vote(caught, 1, "n01")
    court.vote(caught, 2, "n02")
    assert len(audits(court.record(quiet))) == 1
    court.vote(quiet, 1, "n03")
    assert court.record(quiet).task.assurance == "audited"
    assert court.reputation("n03").completed == 1


def test_an_audit_that_has_decided_closes_the_others_and_books_each_outcome_once(court):
    task = court.submit("task")
    court.vote(task, 0, "n00", lie=True)
    court.vote(task, 1, "n01")
    court.cluster.store.transact(
        lambda tx: tx.tasks.add_slots(
            [NewSlot(task_id=task, purpose=SlotPurpose.AUDIT, not_before_ms=0)]
        )
    )
    court.vote(task, 2, "n02")
    assert [slot.state for slot in court.record(task).slots] == [
        "filled",
        "filled",
        "filled",
        "closed",
    ]
    for name in ("n01", "n02"):
        assert court.reputation(name).completed == 1
    assert court.reputation("n00").disputes == 1


def lives(seeds):
    for seed in range(1, seeds):
        run_seed(seed)


def test_the_checker_notices_a_judge_that_accepts_the_first_vote(monkeypatch):
    """The simulation can fail: a control plane that skips the quorum is caught."""
    honest = settle.judge

    def hasty(record, trusted):
        one = replace(record.task.spec, verification=builders.spec().verification)
        return honest(replace(record, task=replace(record.task, spec=one)), trusted)

    monkeypatch.setattr(settle, "judge", hasty)
    with pytest.raises(InvariantViolationError, match="a receipt verifies"):
        lives(30)


def test_the_checker_notices_a_sweeper_that_forgets_what_expired(monkeypatch):
    monkeypatch.setattr("ambient_vcp.testing.simulated_plane.sweep", lambda tx, **_: _Nothing)
    with pytest.raises(InvariantViolationError, match="I5"):
        lives(10)


class _Nothing:
    expired = timed_out = offline = 0
    cancelled = ()
    more = False


def test_the_checker_notices_a_result_that_nobody_made(court):
    task = court.submit("task")
    court.vote(task, 0, "n00")
    court.cluster.witness.ended.clear()
    with pytest.raises(InvariantViolationError, match="I8"):
        final_checks.check_truth([court.record(task)], court.cluster.witness)


def test_the_checker_notices_a_stale_lease_that_is_accepted(court):
    task = court.submit("task")
    answer = court.vote(task, 0, "n00")
    stale = LeaseRef(task_id=task, slot=0, epoch=9, node_id="n00")
    with pytest.raises(InvariantViolationError, match="I3"):
        court.cluster.witness.answered(
            [results.Submission(lease=stale, result=court.record(task).attempts[0].result)],
            [replace(answer, lease=stale)],
        )
