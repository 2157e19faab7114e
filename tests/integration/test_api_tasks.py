"""Tasks over HTTP from submission to receipt, with nodes that really sign."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.receipts.receipt import receipt_from_json
from support.control_plane import (
    HELLO,
    Machine,
    Person,
    add_task,
    eventually,
    join,
    submitted,
)
from support.signed_results import scalar_output, signed_entry

FIVE = scalar_output(5)


def info(person: Person, task_id: str) -> dict:
    return person.api.get(f"/tasks/{task_id}").json()


def finish(machine: Machine, task: dict, output: bytes = FIVE, **how) -> dict:
    """Take a slot of the task and hand in a result."""
    assignment = machine.claim_one(task["task_id"])
    (answer,) = machine.hand_in(
        signed_entry(machine.signer, machine.node_id, assignment, output, **how)
    )
    return answer


def test_a_task_goes_from_submission_to_a_receipt(person: Person):
    machine = join(person)
    task = submitted(person, name="two and three")
    assert (task["status"], task["class"], task["result"]) == ("pending", "signed", None)
    stored = info(person, task["task_id"])
    moving = {"status", "state", "updated_at", "assigned_nodes", "attempts"}
    assert {k: v for k, v in stored.items() if k not in moving} == {
        k: v for k, v in task.items() if k not in moving
    }
    assignment = machine.claim_one(task["task_id"])
    assert assignment["spec"]["call"] == {"interface": "scalar", "name": "add", "args": ["2", "3"]}
    assert base64.b64decode(assignment["spec"]["module"]["inline"]) == HELLO
    assert info(person, task["task_id"])["status"] == "running"
    assert info(person, task["task_id"])["assigned_nodes"] == [machine.node_id]
    entry = signed_entry(machine.signer, machine.node_id, assignment, FIVE)
    (answer,) = machine.hand_in(entry)
    assert (answer["status"], answer["task_status"]) == ("accepted", "completed")
    done = info(person, task["task_id"])
    assert done["result"] == {"values": [{"type": "i32", "value": "5"}]}
    assert done["name"] == "two and three"
    assert done["assurance"] == "provisional"
    assert done["error_bound_ppb"] == 200_000_000
    assert done["fuel_used"] == 42
    assert base64.b64decode(done["output"]["inline_b64"]) == FIVE
    receipt = person.api.get(f"/tasks/{task['task_id']}/receipt")
    assert receipt.status_code == 200
    assert receipt.json()["body"]["task"]["task_id"] == task["task_id"]
    assert person.api.get(f"/tasks/{task['task_id']}/output").content == FIVE
    logs = person.api.get(f"/tasks/{task['task_id']}/logs").json()["attempts"]
    assert base64.b64decode(logs[0]["log_b64"]) == b"a line\n"
    eventually(lambda: info(person, task["task_id"])["receipt_id"] == task["task_id"])


def test_the_sealed_receipt_verifies_offline(person: Person, tmp_path):
    machine = join(person)
    task = submitted(person)
    finish(machine, task)
    text = person.api.get(f"/tasks/{task['task_id']}/receipt").content
    receipt = receipt_from_json(text)
    assert receipt.body.control_plane.public_key == person.plane.ready["public_key"]
    assert receipt.log is not None


def test_repeating_a_result_is_a_duplicate_and_changes_nothing(person: Person):
    machine = join(person)
    task = submitted(person)
    assignment = machine.claim_one(task["task_id"])
    entry = signed_entry(machine.signer, machine.node_id, assignment, FIVE)
    assert machine.hand_in(entry)[0]["status"] == "accepted"
    assert machine.hand_in(entry)[0]["status"] == "duplicate"
    assert info(person, task["task_id"])["status"] == "completed"


def test_results_that_are_not_what_was_signed_are_refused_alone(person: Person):
    machine = join(person)
    first, second = (machine.claim_one(submitted(person)["task_id"]) for _ in range(2))
    good = signed_entry(machine.signer, machine.node_id, first, FIVE)
    bad = json.loads(json.dumps(signed_entry(machine.signer, machine.node_id, second, FIVE)))
    bad["result"]["outcome"]["fuel_used"] += 1
    malformed = {**good, "slot": 7, "result": {"version": 1}}
    nothing = {key: value for key, value in good.items() if key != "result"}
    answers = machine.hand_in(malformed, bad, nothing, good)
    assert [a["status"] for a in answers] == ["refused", "refused", "refused", "accepted"]
    assert answers[0]["slot"] == 7
    retry = signed_entry(machine.signer, machine.node_id, second, FIVE)
    assert machine.hand_in(retry)[0]["status"] == "accepted"


def test_nobody_hands_in_for_another_nodes_lease(person: Person):
    holder, thief = join(person), join(person)
    task = submitted(person)
    assignment = eventually(
        lambda: holder.claimed(task["task_id"]) or thief.claimed(task["task_id"])
    )
    attempts = info(person, task["task_id"])["attempts"]
    if attempts[0]["node_id"] == thief.node_id:
        holder, thief = thief, holder
    stolen = signed_entry(thief.signer, thief.node_id, assignment, FIVE)
    (answer,) = thief.hand_in(stolen)
    assert (answer["status"], answer["code"]) == ("refused", "stale_lease")
    pretended = signed_entry(holder.signer, holder.node_id, assignment, FIVE)
    assert thief.hand_in(pretended)[0]["status"] == "refused"
    assert info(person, task["task_id"])["status"] == "running"
    assert holder.hand_in(pretended)[0]["status"] == "accepted"


def test_a_quorum_of_two_needs_two_nodes_and_says_what_it_is_worth(person: Person):
    machines = [join(person) for _ in range(2)]
    task = submitted(person, requirements={"min_nodes": 2})
    assert (task["class"], task["replicas"]) == ("quorum", 2)
    for machine in machines:
        assert finish(machine, task)["status"] == "accepted"
    done = info(person, task["task_id"])
    assert (done["status"], done["decision"], done["assurance"]) == (
        "completed",
        "unanimous",
        "final",
    )
    assert done["error_bound_ppb"] == 200_000_000, "one owner: no better than one node"
    assert {a["verdict"] for a in done["attempts"]} == {"agreed"}


def test_a_liar_is_outvoted_and_loses_standing(person: Person):
    machines = [join(person) for _ in range(3)]
    task = submitted(person, verification={"class": "quorum", "replicas": 2})
    liar = None
    for _ in range(3):
        machine, assignment = eventually(
            lambda: next(
                ((m, work) for m in machines if (work := m.claimed(task["task_id"]))), None
            )
        )
        machines.remove(machine)
        lies = liar is None
        liar = liar or machine
        output = scalar_output(6) if lies else FIVE
        machine.hand_in(signed_entry(machine.signer, machine.node_id, assignment, output))
    done = info(person, task["task_id"])
    assert done["status"] == "completed"
    assert done["result"] == {"values": [{"type": "i32", "value": "5"}]}
    verdicts = {a["node_id"]: a["verdict"] for a in done["attempts"]}
    assert verdicts[liar.node_id] == "disagreed"
    standing = person.api.get(f"/nodes/{liar.node_id}").json()["reputation"]
    assert standing["disputes"] == 1


def test_a_guests_own_failure_is_an_answer_with_a_receipt(person: Person):
    machine = join(person)
    task = submitted(person)
    finish(machine, task, reason=Reason.FUEL_EXHAUSTED)
    done = info(person, task["task_id"])
    assert (done["status"], done["reason"], done["result"]) == ("failed", "fuel_exhausted", None)
    assert person.api.get(f"/tasks/{task['task_id']}/receipt").status_code == 200
    assert person.api.get(f"/tasks/{task['task_id']}/output").status_code == 404


def test_a_nodes_own_trouble_is_tried_again_elsewhere_or_later(person: Person):
    machine = join(person)
    task = submitted(person, max_attempts=2)
    for epoch in (1, 2):
        assignment = machine.claim_one(task["task_id"])
        assert assignment["epoch"] == epoch
        failure = {
            "task_id": task["task_id"],
            "slot": 0,
            "epoch": epoch,
            "node_id": machine.node_id,
            "failure": {"reason": "node_error", "detail": "no disk", "log_b64": ""},
        }
        assert machine.hand_in(failure)[0]["status"] == "accepted"
    done = info(person, task["task_id"])
    assert done["status"] == "failed"
    assert [a["reason"] for a in done["attempts"]] == ["node_error", "node_error"]


def test_one_result_in_the_references_way(person: Person):
    machine = join(person)
    task = submitted(person)
    assignment = machine.claim_one(task["task_id"])
    entry = signed_entry(machine.signer, machine.node_id, assignment, FIVE)
    path = f"/tasks/{task['task_id']}/result"
    answer = machine.api.post(path, json=entry)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"
    assert answer.json()["completed_at"] is not None
    never_granted = {**assignment, "epoch": 9}
    stale = machine.api.post(
        path, json=signed_entry(machine.signer, machine.node_id, never_granted, FIVE)
    )
    assert stale.status_code == 409
    assert stale.json()["code"] == "stale_lease"


def test_leases_are_renewed_and_lost_ones_named(person: Person):
    machine = join(person)
    task = submitted(person)
    assignment = machine.claim_one(task["task_id"])
    mine = {key: assignment[key] for key in ("task_id", "slot", "epoch")}
    wrong = {**mine, "epoch": 99}
    path = f"/nodes/{machine.node_id}/renew"
    answer = machine.api.post(path, json={"leases": [wrong]}).json()
    assert (answer["renewed"], answer["lost"]) == ([], [wrong])
    assert machine.api.post(path, json={"leases": [mine, wrong]}).status_code == 400
    answer = machine.api.post(path, json={"leases": [mine]}).json()
    assert [lease["epoch"] for lease in answer["renewed"]] == [1]
    assert 0 < answer["renewed"][0]["expires_in_ms"] <= 30_000
    held = machine.beat().json()
    assert held["assigned_task_ids"] == [task["task_id"]]
    assert held["leases"][0]["claimed"] is True


def test_claiming_again_by_name_gives_the_same_work(person: Person):
    machine = join(person)
    task = submitted(person)
    first = machine.claim_one(task["task_id"])
    name = {key: first[key] for key in ("task_id", "slot", "epoch")}
    (again,) = machine.claim(leases=[name])
    assert again["spec"] == first["spec"]
    assert machine.claim(leases=[{**name, "epoch": 5}]) == []


def test_cancelling_tells_the_node_and_is_repeatable(person: Person):
    machine = join(person)
    task = submitted(person)
    assignment = machine.claim_one(task["task_id"])
    path = f"/tasks/{task['task_id']}/cancel"
    assert person.api.post(path).json()["status"] == "cancelled"
    assert person.api.post(path).json()["status"] == "cancelled"
    cancelled = machine.beat().json()["cancelled"]
    assert cancelled == [{key: assignment[key] for key in ("task_id", "slot", "epoch")}]
    late = signed_entry(machine.signer, machine.node_id, assignment, FIVE)
    assert machine.hand_in(late)[0]["status"] == "too_late"
    assert info(person, task["task_id"])["status"] == "cancelled"
    assert person.api.get(f"/tasks/{task['task_id']}/receipt").status_code == 200


def test_a_completed_task_cannot_be_cancelled_but_hidden(person: Person):
    machine = join(person)
    task = submitted(person)
    finish(machine, task)
    path = f"/tasks/{task['task_id']}"
    assert person.api.post(path + "/cancel").status_code == 409
    assert person.api.delete(path).json()["status"] == "completed"
    assert person.api.get("/tasks").json()["tasks"] == []


def test_deleting_a_live_task_cancels_it(person: Person):
    task = submitted(person)
    answer = person.api.delete(f"/tasks/{task['task_id']}")
    assert answer.json()["status"] == "cancelled"


def test_receipt_and_output_of_an_unfinished_task_are_409(person: Person):
    task = submitted(person)
    for tail in ("receipt", "output"):
        answer = person.api.get(f"/tasks/{task['task_id']}/{tail}")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_other_peoples_tasks_are_404_everywhere(person: Person, stranger: Person):
    machine = join(person)
    task = submitted(person)
    finish(machine, task)
    path = f"/tasks/{task['task_id']}"
    for method, tail in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/explain"),
        ("GET", "/logs"),
        ("GET", "/output"),
        ("GET", "/receipt"),
    ]:
        answer = stranger.api.request(method, path + tail)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), tail
    assert stranger.api.get(f"/events?task_id={task['task_id']}").status_code == 404
    assert stranger.api.get("/tasks").json()["tasks"] == []
    assert info(person, task["task_id"])["status"] == "completed"


def test_the_same_key_and_body_make_one_task_even_at_the_same_time(person: Person):
    def send(_: int) -> tuple[int, bytes]:
        answer = person.api.post("/tasks", json=add_task(), headers={"Idempotency-Key": "once"})
        return answer.status_code, answer.content

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(send, range(24)))
    assert len(answers) == 1
    assert answers.pop()[0] == 201
    assert len(person.api.get("/tasks").json()["tasks"]) == 1


def test_the_same_key_with_another_body_or_route_is_422(person: Person):
    headers = {"Idempotency-Key": "mine"}
    assert person.api.post("/tasks", json=add_task(), headers=headers).status_code == 201
    other = person.api.post("/tasks", json=add_task(name="x"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    bulk = person.api.post("/tasks/bulk", json={"tasks": [add_task()]}, headers=headers)
    assert bulk.status_code == 422
    assert len(person.api.get("/tasks").json()["tasks"]) == 1


def test_idempotency_keys_of_two_accounts_do_not_meet(person: Person, stranger: Person):
    headers = {"Idempotency-Key": "same"}
    one = person.api.post("/tasks", json=add_task(), headers=headers).json()
    two = stranger.api.post("/tasks", json=add_task(name="b"), headers=headers).json()
    assert one["task_id"] != two["task_id"]


def test_a_refused_request_does_not_spend_its_key(person: Person):
    headers = {"Idempotency-Key": "again"}
    refused = person.api.post("/tasks", json=add_task(max_attempts=0), headers=headers)
    assert refused.status_code == 400
    assert person.api.post("/tasks", json=add_task(), headers=headers).status_code == 201


def test_an_invitation_with_a_key_is_made_once(person: Person):
    headers = {"Idempotency-Key": "invite"}
    first = person.api.post("/node-invites", headers=headers)
    assert first.status_code == 201
    assert person.api.post("/node-invites", headers=headers).json() == first.json()


def test_bulk_is_all_or_none(person: Person):
    answer = person.api.post("/tasks/bulk", json={"tasks": [add_task()] * 20})
    assert answer.status_code == 201
    assert len(set(answer.json()["task_ids"])) == 20
    bad = person.api.post("/tasks/bulk", json={"tasks": [add_task(), add_task(max_attempts=0)]})
    assert bad.status_code == 400
    assert len(person.api.get("/tasks?limit=200").json()["tasks"]) == 20
    assert person.api.post("/tasks/bulk", json={"tasks": []}).status_code == 422


def test_lists_are_paged_newest_first_and_filtered(person: Person):
    ids = [submitted(person, name=f"n{number}")["task_id"] for number in range(5)]
    person.api.delete(f"/tasks/{ids[0]}")
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = person.api.get("/tasks", params=query).json()
        seen += [task["task_id"] for task in page["tasks"]]
        assert all("attempts" not in task for task in page["tasks"])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    cancelled = person.api.get("/tasks?status=cancelled").json()["tasks"]
    assert [task["task_id"] for task in cancelled] == [ids[0]]


def test_a_computation_runs_a_program_of_the_catalogue(person: Person):
    task = person.api.post(
        "/tasks", json={"task_type": "computation", "inputs": {"expression": "1+2"}}
    )
    assert task.status_code == 201, task.text
    assert task.json()["program"] == "expression"
    names = {program["name"] for program in person.api.get("/programs").json()["programs"]}
    assert {"expression", "monte_carlo_pi", "matrix_multiply", "text_statistics", "sort"} <= names


@pytest.mark.parametrize(
    "inputs", [{}, {"program": "nope"}, {"expression": 5}, {"program": "sort"}, [], None]
)
def test_a_computation_that_means_no_program_is_refused(person: Person, inputs):
    answer = person.api.post("/tasks", json={"task_type": "computation", "inputs": inputs})
    assert answer.status_code in (400, 404), answer.text


def test_a_large_module_and_input_travel_as_blobs(person: Person):
    machine = join(person)
    module, data = b"\0asm\1\0\0\0" + bytes(200_000), bytes(range(256)) * 1_000
    for blob in (module, data):
        digest = hashlib.sha256(blob).hexdigest()
        assert person.api.put(f"/blobs/{digest}", content=blob).status_code == 201
    task = submitted(
        person,
        wasm_module=None,
        module={"digest": hashlib.sha256(module).hexdigest()},
        inputs={
            "interface": "bytes",
            "input": {"digest": hashlib.sha256(data).hexdigest()},
        },
    )
    assignment = machine.claim_one(task["task_id"])
    assert assignment["task_id"] == task["task_id"]
    for name, blob in (("module", module), ("public_input", data)):
        ref = assignment["spec"][name]
        assert (ref["inline"], ref["size_bytes"]) == (None, len(blob))
        assert machine.api.get(f"/blobs/{ref['digest']}").content == blob


def test_a_large_output_is_uploaded_first_and_fetched_by_its_owner(person: Person):
    machine = join(person)
    task = submitted(person, inputs={"interface": "bytes"})
    assignment = machine.claim_one(task["task_id"])
    output = bytes(range(256)) * 2_000
    entry = signed_entry(machine.signer, machine.node_id, assignment, output, inline=False)
    assert machine.hand_in(entry)[0]["code"] == "output_missing"
    digest = hashlib.sha256(output).hexdigest()
    assert machine.api.put(f"/blobs/{digest}", content=output).status_code == 201
    assert machine.hand_in(entry)[0]["status"] == "accepted"
    path = f"/tasks/{task['task_id']}/output"
    assert person.api.get(path).content == output
    part = person.api.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, output[10:20])
    done = info(person, task["task_id"])
    assert done["output"] == {"digest": digest, "size_bytes": len(output), "inline_b64": None}


def test_a_private_input_reaches_the_node_and_never_the_task_info(person: Person):
    machine = join(person)
    secret = b"the secret number is 4711"
    task = submitted(
        person,
        inputs={
            "interface": "bytes",
            "private_input": {"base64": base64.b64encode(secret).decode()},
        },
    )
    text = person.api.get(f"/tasks/{task['task_id']}").text
    assert base64.b64encode(secret).decode() not in text
    assignment = machine.claim_one(task["task_id"])
    assert base64.b64decode(assignment["spec"]["private_input"]["inline"]) == secret
    assert len(assignment["spec"]["private_commitment"]) == 64


def test_work_reaches_an_idle_node_within_milliseconds(person: Person):
    machine = join(person)
    waits = []
    for _ in range(10):
        started = time.perf_counter()
        task = submitted(person)
        assignment = machine.claim_one(task["task_id"])
        waits.append(time.perf_counter() - started)
        machine.hand_in(signed_entry(machine.signer, machine.node_id, assignment, FIVE))
    assert sorted(waits)[5] < 0.5, waits
