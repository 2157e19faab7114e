"""Nodes over HTTP: invitations, enrolment, heartbeats, owners' actions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ambient_vcp.wire.challenge import challenge_message
from support.control_plane import (
    ControlPlaneProcess,
    Machine,
    Person,
    capabilities,
    eventually,
    join,
    new_person,
    report,
    running,
    submitted,
    telemetry,
)


def code_of(person: Person) -> str:
    return person.api.post("/node-invites").json()["code"]


def test_a_join_code_enrols_one_machine_for_its_maker(person: Person):
    machine = Machine(person.plane)
    answer = machine.enrol(code_of(person))
    assert answer.status_code == 201
    node = answer.json()["node"]
    assert node["owner_id"] == person.user_id
    assert node["public_key"] == machine.signer.public_key
    assert node["status"] == "online"
    assert node["health"]["bandwidth"] is None
    assert answer.json()["control_plane_public_key"] == person.plane.ready["public_key"]


def test_an_account_token_enrols_a_machine_without_a_code(person: Person):
    machine = Machine(person.plane)
    assert machine.enrol(None, account=person).status_code == 201


def test_a_join_code_is_good_once_even_for_many_at_the_same_time(person: Person):
    code = code_of(person)
    machines = [Machine(person.plane) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(lambda machine: machine.enrol(code).status_code, machines))
    assert statuses == [201] + [403] * 5


def test_unknown_codes_and_no_code_are_403(person: Person):
    assert Machine(person.plane).enrol("nonsense").status_code == 403
    assert Machine(person.plane).enrol(None).status_code == 403


def test_a_refused_enrolment_does_not_spend_the_code(person: Person):
    code, taken = code_of(person), join(person)
    refused = Machine(person.plane, taken.node_id).enrol(code)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert Machine(person.plane).enrol(code).status_code == 201


def test_the_same_key_comes_back_as_the_same_node_without_a_code(person: Person):
    machine = join(person)
    again = machine.enrol(None, region="elsewhere")
    assert again.status_code == 200
    assert again.json()["node"]["node_id"] == machine.node_id
    assert again.json()["node"]["region"] == "elsewhere"
    assert again.json()["node"]["owner_id"] == person.user_id


def test_the_same_key_under_another_id_is_409(person: Person):
    machine = join(person)
    machine.node_id = "another-name"
    assert machine.enrol(code_of(person)).status_code == 409


def test_a_challenge_is_good_once(person: Person):
    machine = Machine(person.plane)
    body = machine.enrolment(code_of(person))
    assert machine.api.post("/nodes/enrol", json=body).status_code == 201
    again = machine.api.post("/nodes/enrol", json=body)
    assert (again.status_code, again.json()["code"]) == (401, "unauthorized")


def test_a_signature_for_another_purpose_key_or_node_is_401(person: Person):
    code = code_of(person)
    machine, other = Machine(person.plane), Machine(person.plane)

    def tried(purpose: str, node_id: str, signer: Machine) -> int:
        challenge = machine.challenge()
        message = challenge_message(purpose, challenge, machine.signer.public_key, node_id)
        body = machine.enrolment(code) | {
            "challenge": challenge,
            "signature": signer.signer.sign(message),
        }
        return machine.api.post("/nodes/enrol", json=body).status_code

    assert tried("token", machine.node_id, machine) == 401
    assert tried("enrol", "someone-else", machine) == 401
    assert tried("enrol", machine.node_id, other) == 401
    assert tried("enrol", machine.node_id, machine) == 201


def test_a_challenge_made_for_one_key_does_not_serve_another(person: Person):
    machine, other = Machine(person.plane), Machine(person.plane)
    challenge = other.challenge()
    message = challenge_message("enrol", challenge, machine.signer.public_key, machine.node_id)
    body = machine.enrolment(code_of(person)) | {
        "challenge": challenge,
        "signature": machine.signer.sign(message),
    }
    assert machine.api.post("/nodes/enrol", json=body).status_code == 401


@pytest.mark.parametrize(
    "key",
    [
        "00" * 32,
        "01" + "00" * 31,
        "ee" + "ff" * 30 + "7f",
        "zz" * 32,
        "ab" * 31,
        "",
        "AB" * 32,
    ],
)
def test_keys_that_no_honest_signer_has_are_400(plane: ControlPlaneProcess, key):
    with plane.client() as public:
        answer = public.post("/nodes/challenge", json={"public_key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_key")


@pytest.mark.parametrize(
    "change",
    [
        {"node_id": "has space"},
        {"node_id": "x" * 65},
        {"node_id": ""},
        {"region": ""},
        {"region": "r" * 33},
        {"node_type": "toaster"},
        {"capabilities": capabilities(cpu_cores=0)},
        {"capabilities": capabilities(cpu_cores=257)},
        {"capabilities": capabilities(memory_gb=0.5)},
        {"capabilities": capabilities(bandwidth_mbps=9)},
    ],
    ids=str,
)
def test_a_machine_that_describes_itself_impossibly_is_400(person: Person, change):
    answer = Machine(person.plane).enrol(code_of(person), **change)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_node_gets_a_fresh_token_by_signing(person: Person):
    machine = join(person)
    challenge = machine.challenge()
    message = challenge_message("token", challenge, machine.signer.public_key, machine.node_id)
    body = {
        "node_id": machine.node_id,
        "challenge": challenge,
        "signature": machine.signer.sign(message),
    }
    answer = machine.api.post("/nodes/token", json=body)
    assert answer.status_code == 200
    machine.api.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    assert machine.beat().status_code == 200
    assert machine.api.post("/nodes/token", json=body).status_code == 401


def test_nobody_gets_a_token_for_anothers_node(person: Person):
    machine, other = join(person), join(person)
    challenge = other.challenge()
    message = challenge_message("token", challenge, other.signer.public_key, machine.node_id)
    body = {
        "node_id": machine.node_id,
        "challenge": challenge,
        "signature": other.signer.sign(message),
    }
    assert other.api.post("/nodes/token", json=body).status_code == 401


def test_a_registered_node_has_no_key_until_its_owner_enrols_one(person: Person, stranger: Person):
    node_id = "reserved-" + person.username[-8:]
    body = {
        "node_id": node_id,
        "region": "eu",
        "node_type": "compute",
        "capabilities": capabilities(),
        "observability_port": 9090,
    }
    made = person.api.post("/nodes", json=body)
    assert made.status_code == 201
    assert made.json()["public_key"] is None
    assert made.json()["observability_port"] == 9090
    assert person.api.post("/nodes", json=body).status_code == 409
    assert "observability_port" not in stranger.api.get(f"/nodes/{node_id}").json()
    assert Machine(person.plane, node_id).enrol(code_of(stranger)).status_code == 409
    machine = Machine(person.plane, node_id)
    assert machine.enrol(code_of(person)).status_code == 201
    assert person.api.get(f"/nodes/{node_id}").json()["public_key"] == machine.signer.public_key


def test_a_heartbeat_moves_health_and_shows_breakers(person: Person):
    machine = join(person)
    good = machine.beat(
        telemetry=telemetry(upload_mbps=900.0, download_mbps=900.0, cpu_percent=1.0)
    ).json()
    hot = machine.beat(telemetry=telemetry(temperature_c=91.0, cpu_percent=99.0)).json()
    assert hot["health_score"] < good["health_score"]
    assert (good["breaker_reasons"], hot["breaker_reasons"]) == ([], ["temperature"])
    shown = person.api.get(f"/nodes/{machine.node_id}").json()
    assert shown["breaker_reasons"] == ["temperature"]
    assert shown["telemetry"]["temperature_c"] == 91.0


def test_a_heartbeat_without_a_body_is_taken_from_the_owner_too(person: Person):
    machine = join(person)
    answer = person.api.put(f"/nodes/{machine.node_id}/heartbeat")
    assert answer.status_code == 200
    assert answer.json()["node_id"] == machine.node_id


def test_a_hot_node_gets_no_work_and_explain_says_so(person: Person):
    machine = join(person)
    machine.beat(telemetry=telemetry(temperature_c=99.0))
    task = submitted(person, requirements={"min_cpu_cores": 4})
    time.sleep(0.3)
    assert machine.claim() == []
    slots = person.api.get(f"/tasks/{task['task_id']}/explain").json()["slots"]
    reasons = {node["node_id"]: node["reasons"] for node in slots[0]["nodes"]}
    assert reasons[machine.node_id] != []
    person.api.delete(f"/tasks/{task['task_id']}")


def test_strangers_cannot_touch_a_node(person: Person, stranger: Person):
    machine, foreign = join(person), join(stranger)
    path = f"/nodes/{machine.node_id}"
    for method, tail in [
        ("DELETE", ""),
        ("POST", "/reject"),
        ("POST", "/drain"),
        ("POST", "/undrain"),
        ("PUT", "/heartbeat"),
        ("GET", "/heartbeat/activity"),
    ]:
        assert stranger.api.request(method, path + tail).status_code == 404, tail
    for method, tail in [
        ("PUT", "/heartbeat"),
        ("POST", "/claim"),
        ("POST", "/drain"),
        ("GET", "/events"),
    ]:
        assert foreign.api.request(method, path + tail).status_code == 404, tail
    assert foreign.api.post(path + "/renew", json={"leases": []}).status_code == 404
    assert person.api.get(path).json()["status"] == "online"


def test_draining_and_undraining_by_owner_and_by_the_node(person: Person):
    machine = join(person)
    path = f"/nodes/{machine.node_id}"
    assert person.api.post(path + "/drain").json()["status"] == "draining"
    assert machine.beat().json()["node_status"] == "draining"
    assert machine.api.post(path + "/undrain").json()["status"] == "online"
    assert machine.api.post(path + "/drain").json()["status"] == "draining"
    assert machine.enrol(None).json()["node"]["status"] == "draining"
    assert person.api.post(path + "/undrain").json()["status"] == "online"


def test_a_deleted_node_is_gone_until_its_owner_invites_it_again(person: Person, stranger: Person):
    machine = join(person)
    path = f"/nodes/{machine.node_id}"
    assert person.api.delete(path).json()["node_id"] == machine.node_id
    assert person.api.get(path).status_code == 404
    assert machine.beat().status_code == 404
    assert person.api.delete(path).status_code == 404
    assert machine.enrol(None).status_code == 403
    assert machine.enrol(code_of(stranger)).status_code == 409
    assert machine.enrol(code_of(person)).status_code == 200
    assert machine.beat().json()["node_status"] == "online"


def test_a_rejected_node_stays_out(person: Person):
    machine = join(person)
    path = f"/nodes/{machine.node_id}"
    assert person.api.post(path + "/reject").json()["status"] == "rejected"
    assert person.api.get(path).json()["status"] == "rejected"
    listed = person.api.get("/nodes?mine=true").json()["nodes"]
    assert machine.node_id not in [node["node_id"] for node in listed]
    assert machine.beat().status_code == 403
    assert machine.enrol(code_of(person)).status_code == 403


def test_deleting_a_node_gives_its_work_to_another(person: Person):
    first = join(person)
    task = submitted(person)
    assert first.claim_one(task["task_id"])["task_id"] == task["task_id"]
    second = join(person)
    assert person.api.delete(f"/nodes/{first.node_id}").status_code == 200
    again = second.claim_one(task["task_id"])
    assert (again["task_id"], again["epoch"]) == (task["task_id"], 2)
    attempts = person.api.get(f"/tasks/{task['task_id']}").json()["attempts"]
    assert [(a["node_id"], a["state"]) for a in attempts] == [
        (first.node_id, "failed"),
        (second.node_id, "in_progress"),
    ]
    assert attempts[0]["reason"] == "node_deleted"
    person.api.delete(f"/tasks/{task['task_id']}")


def test_lists_of_nodes_are_paged_and_can_be_ones_own(person: Person, stranger: Person):
    mine = {join(person).node_id for _ in range(3)}
    join(stranger)
    seen, cursor = [], None
    while True:
        query = {"limit": 2, "mine": "true"} | ({"cursor": cursor} if cursor else {})
        page = person.api.get("/nodes", params=query).json()
        seen += [node["node_id"] for node in page["nodes"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 3
    assert set(seen) == mine
    everybody = person.api.get("/nodes?limit=200").json()["nodes"]
    assert len(everybody) > 3


def test_the_history_of_a_node_tells_what_happened_to_it(person: Person):
    machine = join(person)
    person.api.post(f"/nodes/{machine.node_id}/drain")
    events = person.api.get(f"/nodes/{machine.node_id}/heartbeat/activity").json()["events"]
    assert "draining" in [event["event"] for event in events]


def test_the_clusters_figures_follow_what_is_there(person: Person):
    before = person.api.get("/cluster/stats").json()
    join(person, capabilities=capabilities(cpu_cores=2, memory_gb=4.0))
    after = person.api.get("/cluster/stats").json()
    assert after["total_nodes"] == before["total_nodes"] + 1
    capacity = after["total_compute_capacity"] - before["total_compute_capacity"]
    assert capacity == pytest.approx(8.0)
    assert 0 <= after["avg_health_score"] <= 100


def test_the_probe_sends_and_takes_bytes(person: Person):
    machine = join(person)
    assert len(machine.api.get("/probe?bytes=100000").content) == 100_000
    taken = machine.api.post("/probe", content=bytes(300_000))
    assert taken.json() == {"received_bytes": 300_000}
    assert machine.api.get(f"/probe?bytes={5 * 1024 * 1024}").status_code == 400
    assert machine.api.get("/probe").status_code == 400
    assert machine.api.post("/probe", content=bytes(4 * 1024 * 1024 + 1)).status_code == 413


def test_a_silent_node_goes_offline_and_comes_back_with_a_heartbeat(tmp_path):
    with running(tmp_path / "data", "--offline-after-ms", "300", "--sweep-ms", "50") as plane:
        person = new_person(plane)
        machine = join(person)
        path = f"/nodes/{machine.node_id}"
        eventually(lambda: person.api.get(path).json()["status"] == "offline")
        assert machine.beat(report=report()).json()["node_status"] == "online"
