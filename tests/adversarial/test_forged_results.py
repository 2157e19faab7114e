"""Results that nobody may hand in, over HTTP, against a real control plane.

After each lie the task, the node's standing and its leases are as they were, and the true result
is still taken.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

import pytest

from support.control_plane import (
    ControlPlaneProcess,
    Person,
    add_task,
    eventually,
    join,
    leave,
    new_person,
    report,
    running,
    submitted,
)
from support.forgery import FIVE, FOREVER, LIES, SIX, Bench, Json
from support.signed_results import signed_entry


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    with running(tmp_path_factory.mktemp("forged") / "data", *FOREVER) as process:
        yield process
        failures = [line for line in process.log().splitlines() if "request.failed" in line]
        assert not failures, failures[:3]


@pytest.fixture
def owner(plane: ControlPlaneProcess) -> Iterator[Person]:
    made = new_person(plane)
    yield made
    leave(made)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_changes_nothing(owner: Person, name: str) -> None:
    bench = Bench(owner)
    before = bench.state()
    (answer,) = bench.machine.hand_in(LIES[name](bench))
    assert answer["status"] == "refused", answer
    assert answer["code"], answer
    assert bench.state() == before
    (honest,) = bench.machine.hand_in(bench.good())
    assert (honest["status"], honest["task_status"]) == ("accepted", "completed")


def test_of_a_mixed_batch_only_the_good_are_accepted(owner: Person) -> None:
    machine = join(owner)
    room = {"report": report(concurrency_max=50)}
    machine.beat(**room)
    tasks = [submitted(owner)["task_id"] for _ in LIES]

    def all_granted() -> bool:
        # Audits of other people's tasks may come beside them.
        return {x["task_id"] for x in machine.beat(**room).json()["leases"]} >= set(tasks)

    eventually(all_granted)
    benches = [Bench(owner, machine, task_id) for task_id in tasks]
    lying = benches[: len(LIES) // 2]
    sent = [lie(bench) for bench, lie in zip(lying, LIES.values(), strict=False)]
    sent += [bench.good() for bench in benches[len(lying) :]]
    random.Random(1).shuffle(sent)
    answers = machine.hand_in(*sent)
    assert len(answers) == len(sent)
    accepted = {a["task_id"] for a in answers if a["status"] == "accepted"}
    assert accepted == {bench.task_id for bench in benches[len(lying) :]}
    assert {a["status"] for a in answers} == {"accepted", "refused"}
    for bench in lying:
        assert bench.state()[0]["status"] == "running"
        assert machine.hand_in(bench.good())[0]["status"] == "accepted"


def test_the_same_lease_twice_in_one_batch_is_counted_once(owner: Person) -> None:
    bench = Bench(owner)
    answers = bench.machine.hand_in(bench.good(), bench.good(), bench.good(SIX))
    assert answers[0]["status"] == "accepted"
    task = bench.state()[0]
    assert task["result"]["values"][0]["value"] == "5"
    assert sum(a["state"] == "completed" and a["slot"] == 0 for a in task["attempts"]) == 1


def test_a_result_of_one_task_is_no_result_of_its_twin(owner: Person) -> None:
    bench = Bench(owner)
    twin = submitted(owner)["task_id"]
    taken = bench.machine.claim_one(twin)
    assert bench.machine.hand_in(bench.good())[0]["status"] == "accepted"
    replayed = bench.good() | {"task_id": twin}
    before = owner.api.get(f"/tasks/{twin}").json()
    assert bench.machine.hand_in(replayed)[0]["status"] == "refused"
    assert owner.api.get(f"/tasks/{twin}").json() == before
    good = signed_entry(bench.machine.signer, bench.machine.node_id, taken, FIVE)
    assert bench.machine.hand_in(good)[0]["status"] == "accepted"


def test_a_result_is_taken_from_the_node_of_the_lease_alone(owner: Person) -> None:
    bench, thief = Bench(owner), join(owner)
    before = bench.state()
    own = signed_entry(thief.signer, thief.node_id, bench.assignment, FIVE)
    for entry in (own, bench.good(), own | {"node_id": bench.machine.node_id}):
        (answer,) = thief.hand_in(entry)
        assert answer["status"] == "refused", answer
        # Nor by the other's address with one's own token.
        path = f"/nodes/{bench.machine.node_id}/results"
        assert thief.api.post(path, json={"results": [entry]}).status_code in {403, 404}
        one = {key: value for key, value in entry.items() if key != "task_id"}
        answer = thief.api.post(f"/tasks/{bench.task_id}/result", json=one)
        assert answer.status_code in {400, 404, 409}, answer.text
    name = {key: bench.assignment[key] for key in ("task_id", "slot", "epoch")}
    assert thief.claim(leases=[name]) == []
    renewed = thief.api.post(f"/nodes/{thief.node_id}/renew", json={"leases": [name]})
    assert renewed.json() == {"renewed": [], "lost": [name]}
    failure = {**name, "node_id": thief.node_id, "failure": {"reason": "node_error"}}
    assert thief.hand_in(failure)[0]["status"] in {"refused", "too_late"}
    assert bench.state() == before
    assert bench.machine.hand_in(bench.good())[0]["status"] == "accepted"


def test_a_result_of_a_lease_that_was_never_granted_is_refused(owner: Person) -> None:
    machine = join(owner, node_type="storage")
    bench = Bench(owner)
    for epoch in (1, 2, 10**9):
        entry = signed_entry(machine.signer, machine.node_id, bench.assignment | {"epoch": epoch})
        assert machine.hand_in(entry)[0]["status"] == "refused"
    unknown = "00000000-0000-4000-8000-000000000000"
    entry = signed_entry(machine.signer, machine.node_id, bench.assignment | {"task_id": unknown})
    (answer,) = machine.hand_in(entry)
    assert (answer["status"], answer["code"]) == ("refused", "not_found")


def test_a_result_of_a_lease_that_was_granted_but_not_claimed_is_recorded_once(
    owner: Person,
) -> None:
    """A node that lost the claim's answer may still hand in: the lease is its own, and live."""
    bench = Bench(owner)
    task_id = submitted(owner)["task_id"]

    def granted() -> Json | None:
        leases = bench.machine.beat().json()["leases"]
        return next((each for each in leases if each["task_id"] == task_id), None)

    lease = eventually(granted)
    assert not lease["claimed"]
    known = bench.assignment | {"task_id": task_id, "slot": lease["slot"]}
    entry = signed_entry(bench.machine.signer, bench.machine.node_id, known, FIVE)
    statuses = [bench.machine.hand_in(entry)[0]["status"] for _ in range(2)]
    assert statuses == ["accepted", "duplicate"]


def test_tokens_open_only_their_own_doors(owner: Person) -> None:
    bench = Bench(owner)
    before = bench.state()
    node_token, public = bench.machine.api, owner.plane.client()
    for path in ("/tasks", "/auth/me", f"/tasks/{bench.task_id}", "/nodes", "/cluster/stats"):
        assert node_token.get(path).status_code == 401, path
    assert node_token.post("/tasks", json=add_task()).status_code == 401
    assert node_token.post(f"/tasks/{bench.task_id}/cancel").status_code == 401
    body = {"results": [bench.good()]}
    path = f"/nodes/{bench.machine.node_id}/results"
    assert owner.api.post(path, json=body).status_code == 401
    assert public.post(path, json=body).status_code == 401
    token = bench.machine.api.headers["authorization"].removeprefix("Bearer ")
    head, claims, signature = token.split(".")
    worse = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    worse |= {"sub": bench.machine.node_id, "exp": worse["exp"] + 10**6}
    forged = base64.urlsafe_b64encode(json.dumps(worse).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    for bad in (f"{head}.{forged}.{signature}", f"{none}.{forged}.", f"{head}.{claims}.{'A' * 86}"):
        answer = public.post(path, json=body, headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401, answer.text
    assert bench.state() == before
