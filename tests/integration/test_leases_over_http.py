"""Who may end an attempt: the node of the live lease by the control plane's clock, nobody else.

Machines that stop longer than their lease (frozen agents, frozen control planes, simulated nodes
that simply wait) find their work given to another, and what they still bring is ``too_late``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.control_plane import (
    ControlPlaneProcess,
    Machine,
    Person,
    add_task,
    eventually,
    join,
    leave,
    new_person,
    report,
    running,
)
from support.processes import Site, site, spin_task
from support.signed_results import scalar_output, signed_entry

LEASE_MS, SWEEP_MS = 1_500, 200
ROUNDS = 2
"""Of real agents. Each takes a restart of the control plane."""

WAITING = 100
"""Simulated attempts that outlive their lease."""

EACH = 25
"""Of them to a node: more would open its breaker for errors."""

FIVE, SIX = scalar_output(5), scalar_output(6)
UNHURRIED = ("--chaos", "slow:0.5")
"""Work lasts long enough to be seen, and ends well within a lease."""

SHORT = (
    *("--lease-ms", str(LEASE_MS), "--sweep-ms", str(SWEEP_MS)),
    *("--heartbeat-ms", "500", "--offline-after-ms", "1500"),
)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    with running(tmp_path_factory.mktemp("leases") / "data", *SHORT) as process:
        yield process
        assert "request.failed" not in process.log()


@pytest.fixture
def owner(plane: ControlPlaneProcess) -> Iterator[Person]:
    made = new_person(plane)
    yield made
    leave(made)


def info(person: Person, task_id: str) -> dict[str, Any]:
    return person.api.get(f"/tasks/{task_id}").json()


def bulk(person: Person, count: int, **changes: Any) -> list[str]:
    body = {"tasks": [add_task(**changes)] * count}
    answer = person.api.post("/tasks/bulk", json=body)
    assert answer.status_code == 201, answer.text
    return list(answer.json()["task_ids"])


def entries(machine: Machine, taken: list[dict[str, Any]], output: bytes) -> list[dict[str, Any]]:
    return [signed_entry(machine.signer, machine.node_id, each, output) for each in taken]


def handed_in(machine: Machine) -> list[dict[str, Any]]:
    """Take what there is and hand in the right result of it."""
    taken = machine.claim(at_most=64)
    return machine.hand_in(*entries(machine, taken, FIVE)) if taken else []


@pytest.mark.slow
def test_a_result_after_the_lease_is_too_late_and_never_accepted(owner: Person) -> None:
    slow = [join(owner) for _ in range(WAITING // EACH)]
    for machine in slow:
        assert machine.beat(report=report(concurrency_max=EACH)).status_code == 200
    tasks = set(bulk(owner, WAITING))
    late: dict[str, tuple[Machine, dict[str, Any]]] = {}

    def all_claimed() -> bool:
        for machine in slow:
            late.update({taken["task_id"]: (machine, taken) for taken in machine.claim(at_most=64)})
        return late.keys() >= tasks

    eventually(all_claimed)
    # They stay silent from here on, so that the others get the work.
    others = [join(owner) for _ in range(2)]
    done: set[str] = set()

    def all_done() -> bool:
        for other in others:
            other.beat(report=report(concurrency_max=50))
            answers = handed_in(other)
            done.update(a["task_id"] for a in answers if a["status"] == "accepted")
        return done >= tasks

    eventually(all_done, 40)
    for machine in slow:
        # What it brings is wrong, to show that it is not what the tasks end with.
        mine = [taken for holder, taken in late.values() if holder is machine]
        found = machine.hand_in(*entries(machine, mine, SIX))
        assert {(a["status"], a["code"]) for a in found} == {("too_late", "stale_lease")}
        node = owner.api.get(f"/nodes/{machine.node_id}").json()
        assert node["reputation"]["disputes"] == node["reputation"]["completed"] == 0
    for machine, taken in late.values():
        task = info(owner, taken["task_id"])
        assert task["result"] == {"values": [{"type": "i32", "value": "5"}]}, task
        (lost,) = [a for a in task["attempts"] if a["epoch"] == taken["epoch"] and a["slot"] == 0]
        assert lost["node_id"] == machine.node_id
        assert (lost["state"], lost["verdict"]) == ("expired", "too_late")
    print(f"{WAITING} results after the lease: accepted 0 (95 % bound {3 / WAITING:.2f})")


def test_a_lease_that_is_over_but_not_swept_yet_takes_no_result(tmp_path: Path) -> None:
    # The sweeper sleeps for ten minutes: only the lease's own end refuses the result.
    options = ("--lease-ms", "600", "--sweep-ms", "600000")
    with running(tmp_path / "data", *options) as unswept:
        person = new_person(unswept)
        machine = join(person)
        (task_id,) = bulk(person, 1)
        taken = machine.claim_one(task_id)
        time.sleep(0.7)
        (answer,) = machine.hand_in(*entries(machine, [taken], FIVE))
        assert (answer["status"], answer["code"]) == ("too_late", "stale_lease")
        name = {key: taken[key] for key in ("task_id", "slot", "epoch")}
        renewed = machine.api.post(f"/nodes/{machine.node_id}/renew", json={"leases": [name]})
        assert renewed.json() == {"renewed": [], "lost": [name]}
        assert machine.claim(leases=[name]) == []


def test_of_many_identical_results_at_once_one_is_accepted(owner: Person) -> None:
    machine = join(owner)
    for task_id in bulk(owner, 5):
        entry = entries(machine, [machine.claim_one(task_id)], FIVE)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, e=entry: machine.hand_in(*e)[0]["status"], range(8)))
        assert sorted(found) == ["accepted"] + ["duplicate"] * 7


def test_two_different_results_at_once_are_one_accepted_and_one_too_late(owner: Person) -> None:
    machine = join(owner)
    for task_id in bulk(owner, 5):
        taken = machine.claim_one(task_id)
        both = [entries(machine, [taken], output) for output in (FIVE, SIX)]
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda e: machine.hand_in(*e)[0]["status"], both))
        assert sorted(found) == ["accepted", "too_late"]
        value = "5" if found[0] == "accepted" else "6"
        assert info(owner, task_id)["result"]["values"][0]["value"] == value


def test_a_node_keeps_its_lease_by_renewing_and_only_its_own(owner: Person) -> None:
    holder, thief = join(owner), join(owner)
    (task_id,) = bulk(owner, 1)
    taken = eventually(lambda: holder.claimed(task_id) or thief.claimed(task_id))
    if info(owner, task_id)["attempts"][0]["node_id"] == thief.node_id:
        holder, thief = thief, holder
    name = {key: taken[key] for key in ("task_id", "slot", "epoch")}
    ends = time.monotonic() + 2.5 * LEASE_MS / 1000
    while time.monotonic() < ends:
        kept = holder.api.post(f"/nodes/{holder.node_id}/renew", json={"leases": [name]})
        assert [each["task_id"] for each in kept.json()["renewed"]] == [task_id], kept.text
        stolen = thief.api.post(f"/nodes/{thief.node_id}/renew", json={"leases": [name]})
        assert stolen.json() == {"renewed": [], "lost": [name]}
        assert thief.claim(leases=[name]) == []
        holder.beat()
        thief.beat()
        time.sleep(0.2)
    assert holder.hand_in(*entries(holder, [taken], FIVE))[0]["status"] == "accepted"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_agent_frozen_beyond_its_lease_with_a_finished_result_is_too_late(
    tmp_path: Path,
) -> None:
    with site(tmp_path, *SHORT) as made:
        made.agent("frozen", *UNHURRIED)
        for number in range(ROUNDS):
            task_id = freeze_with_result(made)
            if number == 0:
                made.agent("other")
            else:
                made.agents["other"].up()
            task = made.ended(task_id)
            assert [a["node_id"] for a in task["attempts"] if a["state"] == "completed"] == [
                "other"
            ]
            before = made.agents["frozen"].log.count("status=too_late")
            made.agents["frozen"].thaw()
            eventually(
                lambda b=before: made.agents["frozen"].log.count("status=too_late") == b + 1, 20
            )
            assert not made.agents["frozen"].spooled()
            after = made.task(task_id)
            assert (after["result"], after["decision"]) == (task["result"], task["decision"])
            first, *_, last = after["attempts"]
            assert (first["node_id"], first["verdict"]) == ("frozen", "too_late"), after
            assert (last["node_id"], last["verdict"]) == ("other", "agreed"), after
            assert made.node("frozen")["reputation"]["disputes"] == 0
            made.agents["other"].stop()
        print(f"{ROUNDS} agents frozen with a finished result: {ROUNDS} times too_late")


def freeze_with_result(made: Site) -> str:
    """Leave the agent frozen with a result on its disk that it could not hand in."""
    agent = made.agents["frozen"]
    answer = made.api.post("/tasks", json=spin_task(1_000_000))
    assert answer.status_code == 201, answer.text
    task_id = str(answer.json()["task_id"])
    made.in_states(task_id, {"running"})
    made.plane.kill()
    eventually(agent.spooled, 30)
    agent.freeze()
    made.plane.up()
    return task_id


@pytest.mark.slow
def test_an_agent_frozen_in_the_middle_of_work_stops_it_by_its_own_clock(tmp_path: Path) -> None:
    with site(tmp_path, *SHORT) as made:
        agent = made.agent("frozen")
        task_id = str(made.api.post("/tasks", json=spin_task(400_000_000)).json()["task_id"])
        made.in_states(task_id, {"running"})
        agent.freeze()
        made.in_states(task_id, {"pending", "held"})
        other = made.agent("other", "--concurrency", "1")
        agent.thaw()
        task = made.ended(task_id)
        assert task["status"] == "completed"
        assert [a["state"] for a in task["attempts"]].count("completed") == 1
        assert task["attempts"][0]["state"] == "expired"
        assert "lease ended" in agent.log
        assert not agent.spooled()
        assert not other.spooled()


@pytest.mark.slow
def test_a_control_plane_frozen_beyond_the_leases_takes_no_result_of_them(tmp_path: Path) -> None:
    with site(tmp_path, *SHORT) as made:
        agent = made.agent("node", *UNHURRIED)
        task_id = str(made.api.post("/tasks", json=spin_task(1_000_000)).json()["task_id"])
        made.in_states(task_id, {"running"})
        made.plane.freeze()
        eventually(agent.spooled, 30)
        time.sleep(2 * LEASE_MS / 1000)
        made.plane.thaw()
        task = made.ended(task_id)
        states = [(a["epoch"], a["state"], a["verdict"]) for a in task["attempts"]]
        assert states == [(1, "expired", "too_late"), (2, "completed", "agreed")], task
