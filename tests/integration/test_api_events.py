"""Event streams: in order, resumable, prompt, and ended when they must be."""

from __future__ import annotations

import time

import httpx

from support.control_plane import (
    ControlPlaneProcess,
    Machine,
    Person,
    Stream,
    eventually,
    join,
    submitted,
)
from support.signed_results import scalar_output, signed_entry


def kinds(stream: Stream, task: dict) -> list[str]:
    return [e["data"]["kind"] for e in stream.events if e["data"]["task_id"] == task["task_id"]]


def work_off(machine: Machine, task: dict) -> None:
    assignment = machine.claim_one(task["task_id"])
    machine.hand_in(signed_entry(machine.signer, machine.node_id, assignment, scalar_output(5)))


def test_a_listener_hears_a_tasks_whole_life_in_order(person: Person):
    machine = join(person)
    stream = Stream(person.api, "/events")
    task = submitted(person)
    work_off(machine, task)
    eventually(lambda: "task.sealed" in kinds(stream, task))
    heard = [k for k in kinds(stream, task) if k != "task.audit_opened"]
    assert heard[:4] == ["task.submitted", "attempt.assigned", "attempt.started", "task.completed"]
    sequences = [event["data"]["sequence"] for event in stream.events]
    assert sequences == sorted(set(sequences))
    assert [int(event["id"]) for event in stream.events] == sequences
    stream.close()


def test_a_listener_that_comes_back_misses_nothing_and_hears_nothing_twice(person: Person):
    first = Stream(person.api, "/events")
    tasks = [submitted(person) for _ in range(3)]
    eventually(lambda: len(first.events) >= 3)
    last = first.events[1]["id"]
    seen = [event["id"] for event in first.events]
    first.close()
    tasks += [submitted(person) for _ in range(3)]
    second = Stream(person.api, "/events", headers={"Last-Event-ID": last})
    tasks += [submitted(person) for _ in range(3)]
    eventually(lambda: sum("task.submitted" in kinds(second, task) for task in tasks) >= 7)
    ids = [event["id"] for event in second.events]
    assert ids == sorted(set(ids), key=int)
    assert ids[0] == seen[2]
    assert [k for task in tasks[2:] for k in kinds(second, task)].count("task.submitted") == 7
    second.close()


def test_one_can_listen_from_the_beginning_and_to_one_task(person: Person):
    one, other = submitted(person), submitted(person)
    everything = Stream(person.api, "/events?after=0")
    eventually(lambda: kinds(everything, one) and kinds(everything, other))
    only = Stream(person.api, f"/events?after=0&task_id={other['task_id']}")
    person.api.post(f"/tasks/{other['task_id']}/cancel")
    eventually(lambda: "task.cancelled" in kinds(only, other))
    assert {event["data"]["task_id"] for event in only.events} == {other["task_id"]}
    everything.close()
    only.close()


def test_nobody_hears_of_other_peoples_tasks(person: Person, stranger: Person):
    foreign = Stream(stranger.api, "/events?after=0")
    mine = Stream(person.api, "/events?after=0")
    task = submitted(person)
    eventually(lambda: kinds(mine, task))
    submitted(stranger)
    eventually(lambda: foreign.events)
    assert kinds(foreign, task) == []
    foreign.close()
    mine.close()


def test_a_node_hears_of_work_and_of_its_end_at_once(person: Person):
    machine = join(person)
    stream = Stream(machine.api, f"/nodes/{machine.node_id}/events")
    started = time.perf_counter()
    task = submitted(person)
    eventually(lambda: [e for e in stream.events if e["event"] == "leases"])
    assert time.perf_counter() - started < 2
    assignment = machine.claim_one(task["task_id"])
    person.api.post(f"/tasks/{task['task_id']}/cancel")
    (cancel,) = eventually(lambda: [e for e in stream.events if e["event"] == "cancel"])
    assert cancel["data"] == {key: assignment[key] for key in ("task_id", "slot", "epoch")}
    person.api.post(f"/nodes/{machine.node_id}/drain")
    eventually(lambda: [e for e in stream.events if e["event"] == "drain"])
    stream.close()


def test_a_node_that_comes_late_is_told_of_waiting_leases(person: Person):
    machine = join(person)
    task = submitted(person)
    eventually(lambda: machine.beat().json()["leases"])
    stream = Stream(machine.api, f"/nodes/{machine.node_id}/events")
    eventually(lambda: [e for e in stream.events if e["event"] == "leases"])
    machine.claim_one(task["task_id"])
    stream.close()


def test_the_stream_of_a_deleted_node_ends(person: Person):
    machine = join(person)
    stream = Stream(machine.api, f"/nodes/{machine.node_id}/events")
    person.api.delete(f"/nodes/{machine.node_id}")
    assert stream.ended.wait(10)
    stream.close()
    assert machine.api.get(f"/nodes/{machine.node_id}/events").status_code == 404


def test_idle_streams_carry_comments(person: Person):
    stream = Stream(person.api, "/events")
    eventually(lambda: stream.comments >= 3)
    stream.close()


def test_a_stream_needs_a_token_and_sane_positions(plane: ControlPlaneProcess, person: Person):
    with plane.client() as public:
        assert public.get("/events").status_code == 401
    for bad in ("/events?after=-1", "/events?after=x", "/events?nope=1"):
        assert person.api.get(bad).status_code == 400
    answer = person.api.get("/events", headers={"Last-Event-ID": "abc"})
    assert answer.status_code == 400
    assert person.api.get("/events?task_id=nope").status_code == 404


def test_many_streams_that_come_and_go_leave_nothing_behind(plane, person: Person):
    for _ in range(20):
        with (
            httpx.Client(base_url=person.api.base_url, headers=person.api.headers) as client,
            client.stream("GET", "/events") as answer,
        ):
            assert answer.status_code == 200
    task = submitted(person)
    stream = Stream(person.api, "/events?after=0")
    eventually(lambda: "task.submitted" in kinds(stream, task))
    stream.close()
