"""The client's operations, played through without a network: each effect gets a scripted answer."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ambient_vcp.domain.receipts.statement import commit_private_input
from ambient_vcp.sdk import cluster, events, tasks
from ambient_vcp.sdk.effects import (
    Reply,
    Request,
)
from ambient_vcp.sdk.errors import (
    BadRequest,
    ConnectionFailed,
    LoginNeeded,
    RequestRefused,
    ServerError,
    TaskCancelled,
    TaskFailed,
    TimedOut,
)
from ambient_vcp.sdk.request import INPUT_INLINE_BYTES_MAX, TaskRequest, prepare
from ambient_vcp.sdk.results import BytesResult, ProgramResult, ScalarResult, TaskInfo, typed_result
from ambient_vcp.sdk.session import TRIES_MAX, Credential
from support.scripted import World, error, reply, script, session

MODULE = b"\0asm\1\0\0\0"


def test_a_get_is_repeated_after_broken_connections_and_passing_server_errors() -> None:
    world = script(
        ConnectionFailed("broken"), error(503, "service_unavailable"), reply(200, {"a": 1})
    )
    assert world.run(cluster.stats(session())) == {"a": 1}
    assert len(world.requests) == 3
    assert len(world.pauses) == 2


def test_retries_are_bounded_and_the_pauses_grow() -> None:
    world = World(lambda _request: ConnectionFailed("broken"))
    with pytest.raises(ConnectionFailed):
        world.run(cluster.stats(session()))
    assert len(world.requests) == TRIES_MAX
    assert all(0 < pause <= 5 for pause in world.pauses)
    assert world.pauses[-1] > world.pauses[0]


def test_a_post_without_an_idempotency_key_is_sent_once_only() -> None:
    world = script(ConnectionFailed("broken"))
    with pytest.raises(ConnectionFailed):
        world.run(cluster.invite(session()))
    assert len(world.requests) == 1


def test_a_submission_is_repeated_with_the_same_idempotency_key() -> None:
    world = script(ConnectionFailed("broken"), reply(201, {"task_id": "t-1"}))
    assert world.run(tasks.submit(session(), MODULE, invoke="f")) == "t-1"
    keys = [request.headers["Idempotency-Key"] for request in world.requests]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 16


def test_two_submissions_have_different_idempotency_keys() -> None:
    world = World(lambda _request: reply(201, {"task_id": "t"}))
    world.run(tasks.submit(session(), MODULE, invoke="f"))
    world.run(tasks.submit(session(), MODULE, invoke="f"))
    first, second = (request.headers["Idempotency-Key"] for request in world.requests)
    assert first != second


def test_retry_after_is_obeyed() -> None:
    limited = reply(429, {"code": "rate_limited", "message": "slowly"}, retry_after="7")
    world = script(limited, reply(200, {}))
    world.run(cluster.stats(session()))
    assert world.pauses == [7.0]


def test_a_refused_request_is_not_repeated_and_keeps_every_field() -> None:
    world = script(error(422, "validation_error"))
    with pytest.raises(RequestRefused) as caught:
        world.run(cluster.stats(session()))
    failure = caught.value
    assert (failure.code, failure.hint, failure.status) == ("validation_error", "do this", 422)
    assert (failure.request_id, failure.details) == ("r-1", {"where": "x"})
    assert not failure.retryable


def test_an_expired_token_is_renewed_once_with_the_kept_credential() -> None:
    told: list[str] = []
    mine = session(credential=Credential(username="u", password="p"), on_token=told.append)
    world = script(
        error(401, "unauthorized"), reply(200, {"access_token": "t1"}), reply(200, {"ok": True})
    )
    assert world.run(cluster.stats(mine)) == {"ok": True}
    assert [request.path for request in world.requests][1] == "/auth/login"
    assert world.requests[2].headers["Authorization"] == "Bearer t1"
    assert told == ["t1"]


def test_without_a_credential_an_expired_token_needs_a_login() -> None:
    with pytest.raises(LoginNeeded):
        script(error(401, "unauthorized")).run(cluster.stats(session()))


def test_a_token_that_is_refused_again_does_not_loop() -> None:
    mine = session(credential=Credential(username="u", password="p"))
    world = script(
        error(401, "unauthorized"),
        reply(200, {"access_token": "t1"}),
        error(401, "unauthorized"),
    )
    with pytest.raises(LoginNeeded):
        world.run(cluster.stats(mine))


def test_credentials_and_tokens_are_not_shown() -> None:
    mine = session(token="secret", credential=Credential(username="u", password="secret"))
    assert "secret" not in repr(mine)
    assert "secret" not in repr(mine.credential)


def test_an_answer_that_is_not_json_says_that_the_address_may_be_wrong() -> None:
    world = script(Reply(status=200, headers={}, content=b"<html>"))
    with pytest.raises(ServerError, match="not what a control plane says"):
        world.run(cluster.stats(session()))


def test_small_bytes_travel_inside_the_request_and_large_ones_by_digest(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(INPUT_INLINE_BYTES_MAX + 1))
    small = prepare(TaskRequest(module=MODULE, input=bytes(INPUT_INLINE_BYTES_MAX)))
    assert base64.b64decode(small.body["wasm_module"]) == MODULE
    assert small.uploads == ()
    big = prepare(TaskRequest(module=MODULE, input=large))
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    assert big.body["inputs"] == {"interface": "bytes", "input": {"digest": digest}}
    assert [(each.digest, each.size_bytes) for each in big.uploads] == [(digest, 49_153)]


def test_each_interface_has_its_own_inputs() -> None:
    scalar = prepare(TaskRequest(module=MODULE, invoke="add", args=[-2, "3", 0.5])).body
    assert scalar["inputs"] == {"interface": "scalar", "entry": "add", "args": ["-2", "3", "0.5"]}
    wasi = prepare(TaskRequest(module=MODULE, wasi=True, args=["-x"], env={"A": "b"})).body
    assert wasi["inputs"] == {"interface": "wasi", "args": ["-x"], "env": {"A": "b"}}
    program = prepare(TaskRequest(program="sort", input={"items": [2, 1]})).body
    assert program["task_type"] == "computation"
    assert program["inputs"] == {"program": "sort", "input": {"items": [2, 1]}}


def test_a_private_input_is_committed_to_with_the_given_blinder() -> None:
    blinder = bytes(range(32))
    body = prepare(TaskRequest(module=MODULE, private_input=b"secret", blinder=blinder)).body
    expected = commit_private_input(blinder, hashlib.sha256(b"secret").hexdigest())  # type: ignore[arg-type]  # a digest by construction
    assert body["inputs"]["private_commitment"] == expected


@pytest.mark.parametrize(
    "request_",
    [
        TaskRequest(),
        TaskRequest(module=MODULE, program="sort"),
        TaskRequest(module=MODULE, invoke="f", input=b"x"),
        TaskRequest(module=MODULE, invoke="f", wasi=True),
        TaskRequest(module=MODULE, args=["1"]),
        TaskRequest(module=MODULE, invoke="f", args=[True]),
        TaskRequest(module=MODULE, invoke="f", args=[[1]]),
        TaskRequest(module=MODULE, wasi=True, private_input=b"x"),
        TaskRequest(module=MODULE, input=3),
        TaskRequest(program="sort", invoke="f"),
    ],
)
def test_contradictory_requests_are_refused_before_anything_is_sent(request_: TaskRequest) -> None:
    with pytest.raises(BadRequest):
        prepare(request_)


def test_events_are_parsed_as_the_standard_says() -> None:
    parser = events.EventParser()
    lines = [": hello", "id: 7", "event: task", 'data: {"a":', "data: 1}", "", "data: {}", ""]
    assert parser.feed_all(lines) == [("task", {"a": 1}), ("message", {})]
    assert parser.last_id == "7"
    assert parser.feed_all(["event: task", "data: not json", ""]) == []


def test_the_event_stream_is_taken_up_after_the_last_event() -> None:
    world = World(lambda _request: reply(200))
    event = json.dumps({"sequence": 5, "kind": "task.completed", "task_id": "t", "at_ms": 1})
    world.lines = ["id: 5", "event: task", f"data: {event}", "", ConnectionFailed("cut")]
    world.run(events.events(session(), timeout_s=0.3))
    assert [item.kind for item in world.emitted] == ["task.completed"]
    assert world.requests[-1].headers["Last-Event-ID"] == "5"
    assert len(world.requests) >= 2


def info(status: str, **fields: Any) -> dict[str, Any]:
    return {"task_id": "t", "status": status, **fields}


def test_waiting_asks_again_after_opening_the_stream_so_that_no_end_is_missed() -> None:
    world = script(reply(200, info("running")), reply(200), reply(200, info("completed")))
    assert world.run(tasks.wait(session(), "t")).status == "completed"
    assert [request.path for request in world.requests] == ["/tasks/t", "/events", "/tasks/t"]


def test_waiting_falls_back_to_asking_where_there_are_no_events() -> None:
    answers = [info("pending")] * 3 + [info("completed")]

    def answer(request: Request) -> Reply | Exception:
        if request.path == "/events":
            return error(503, "service_unavailable", retryable=True)
        return reply(200, answers.pop(0))

    world = World(answer)
    assert world.run(tasks.wait(session(), "t")).status == "completed"
    assert all(pause <= tasks.POLL_S for pause in world.pauses)


def test_waiting_ends_in_time() -> None:
    def answer(request: Request) -> Reply | Exception:
        if request.path == "/events":
            return ConnectionFailed("none")
        return reply(200, info("running"))

    world = World(answer)
    with pytest.raises(TimedOut) as caught:
        world.run(tasks.wait(session(), "t", 3.0))
    assert 3.0 <= world.now < 5.0
    assert "task get t" in caught.value.hint


@pytest.mark.parametrize(("status", "kind"), [("failed", TaskFailed), ("cancelled", TaskCancelled)])
def test_a_task_without_a_result_raises_with_its_reason(status: str, kind: type) -> None:
    world = script(reply(200, info(status, reason="trap", detail="division by zero")))
    with pytest.raises(kind) as caught:
        world.run(tasks.result(session(), "t"))
    assert (caught.value.reason, caught.value.detail) == ("trap", "division by zero")


def test_results_are_typed() -> None:
    values = [{"type": "i64", "value": "-5"}, {"type": "f64", "value": "0.5"}]
    scalar = typed_result(TaskInfo(info("completed", result={"values": values})), None)
    assert scalar == ScalarResult(values=(-5, 0.5), types=("i64", "f64"))
    program = typed_result(TaskInfo(info("completed", program="sort", result={"count": 2})), None)
    assert isinstance(program, ProgramResult)
    assert program["count"] == 2
    output = {"digest": "ab", "size_bytes": 2}
    plain = typed_result(TaskInfo(info("completed", result={}, output=output)), b"hi")
    assert isinstance(plain, BytesResult)
    assert plain.text == "hi"


def test_lists_follow_the_cursor_and_stop_at_the_limit() -> None:
    pages = [
        {"tasks": [info("completed"), info("failed")], "next_cursor": "c"},
        {"tasks": [info("running")], "next_cursor": None},
    ]
    world = script(*(reply(200, page) for page in pages))
    world.run(tasks.list_tasks(session()))
    assert [item.status for item in world.emitted] == ["completed", "failed", "running"]
    assert world.requests[1].query["cursor"] == "c"
    world = script(reply(200, pages[0]))
    world.run(tasks.list_tasks(session(), limit=2))
    assert len(world.requests) == 1


@pytest.mark.parametrize("task_id", ["", "../nodes", "a/b", "t?x=1", "t#", "ü"])
def test_an_id_that_would_address_something_else_is_refused(task_id: str) -> None:
    with pytest.raises(BadRequest):
        script().run(tasks.get(session(), task_id))


def test_bulk_submissions_are_cut_to_the_size_of_a_request() -> None:
    def answer(request: Request) -> Reply | Exception:
        batch = json.loads(request.content or b"")["tasks"]
        assert len(request.content or b"") < 1024 * 1024
        return reply(201, {"task_ids": [task["name"] for task in batch]})

    world = World(answer)
    requests = [TaskRequest(module=MODULE, input=bytes(40_000), name=str(n)) for n in range(50)]
    assert world.run(tasks.submit_many(session(), requests)) == [str(n) for n in range(50)]
    assert len(world.requests) > 1
