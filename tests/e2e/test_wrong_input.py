"""Every wrong input is answered with an exit code, an error code and a hint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.terminal import EXAMPLES, Terminal

HELLO = str(EXAMPLES / "hello" / "hello.wasm")
NO_TASK = "00000000-0000-4000-8000-000000000000"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COMMAND_LINES = [
    (("task", "run", "nosuch.wasm"), 4, "bad_arguments"),
    (("task", "run"), 4, "bad_arguments"),
    (("task", "run", HELLO, "extra"), 4, "bad_arguments"),
    (("task", "run", HELLO, "--wiat"), 4, "bad_arguments"),
    (("task", "run", HELLO, "--invoke", "add", "--wasi"), 4, "bad_arguments"),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--limit", "fuel=-5"), 4, "bad_arguments"),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--class", "sworn"), 4, None),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--class", "proved"), 4,
     "assurance_class_unavailable"),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--replicas", "-2"), 4, None),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--audit-rate", "nan"), 4, None),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--limit", "memory=900GiB"), 4, None),
    (("task", "run", HELLO, "--invoke", "add", "1", "2", "--max-attempts", "0"), 4, None),
    (("task", "run", "--program", "nosuch"), 4, None),
    (("task", "run", "--program", "sort", "--input-json", "{"), 4, "bad_arguments"),
    (("task", "run", "--program", "sort", "--input-json", '{"items": [NaN]}'), 4, "bad_arguments"),
    (("task", "run", "--program", "sort", "--input-json", '{"itmes": []}'), 4, None),
    (("task", "show", NO_TASK), 4, "not_found"),
    (("task", "show", "../nodes"), 4, "bad_request"),
    (("task", "cancel", NO_TASK), 4, "not_found"),
    (("task", "list", "--status", "asleep"), 4, None),
    (("node", "show", "nobody"), 4, "not_found"),
    (("node", "invite", "--ttl", "-5"), 4, None),
    (("program", "show", "nosuch"), 4, "not_found"),
    (("verify", "nosuch"), 4, "not_found"),
    (("profile", "use", "nosuch"), 4, "not_found"),
    (("profile", "use", "../x"), 4, "bad_request"),
    (("profile", "save", "x", "--endpoint", "ftp://x"), 4, "bad_request"),
    (("--profile", "x"), 4, "bad_arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "exit_code", "code"), COMMAND_LINES, ids=lambda v: str(v)[-60:])
def test_a_wrong_command_line_is_answered_clearly(
    terminal: Terminal, line: tuple[str, ...], exit_code: int, code: str | None
) -> None:
    done = terminal.run(*line)
    assert done.code == exit_code, done.out + done.err
    assert done.out == ""
    assert done.err.startswith("error: ")
    if code is not None:
        assert f"[{code}]" in done.err
    assert "hint:" in done.err
    assert "Traceback" not in done.err


def tasks_count(terminal: Terminal) -> int:
    return int(terminal.run("task", "list", "--limit", "500", "-o", "name").out.count("\n"))


def test_wrong_module_bytes_end_with_their_own_reason(terminal: Terminal, tmp_path: Path) -> None:
    module = tmp_path / "no.wasm"
    module.write_bytes(b"GIF89a, and no module at all")
    done = terminal.run("task", "run", str(module), "--invoke", "f")
    assert done.code in (1, 4), done.err
    assert "module_invalid" in done.out + done.err or "module" in done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--invoke", "nosuch"), "missing_export"),
        (("--invoke", "add", "x", "1"), "bad_arguments"),
        (("--invoke", "add", "1"), "bad_arguments"),
        (("--invoke", "add", "1", "99999999999"), "bad_arguments"),
        (("--invoke", "divide", "1", "0"), "trap"),
        (("--bytes",), "missing_export"),
    ],
)
def test_what_only_the_module_can_tell_fails_with_a_reason_and_a_receipt(
    terminal: Terminal, arguments: tuple[str, ...], reason: str
) -> None:
    done = terminal.run("task", "run", HELLO, *arguments, "-o", "json")
    assert done.code == 1, done.err
    data = done.data()
    assert (data["status"], data["reason"]) == ("failed", reason)
    assert terminal.run("verify", data["receipt_id"]).code == 0


def test_a_module_over_the_limit_is_refused_before_it_is_stored(
    terminal: Terminal, tmp_path: Path
) -> None:
    module = tmp_path / "large.wasm"
    module.write_bytes(b"\0asm\1\0\0\0" + bytes(11 << 20))
    before = tasks_count(terminal)
    done = terminal.run("task", "run", str(module), "--invoke", "f", "-o", "json")
    assert done.code in (1, 4)
    if done.code == 4:
        assert done.error()["hint"]
        assert tasks_count(terminal) == before
    else:
        assert done.data()["reason"] == "module_too_large"


def api(terminal: Terminal) -> httpx.Client:
    profile = json.loads((terminal.home / "vcp/config/profiles/local.json").read_text())
    return httpx.Client(
        base_url=f"{profile['endpoint']}/api/v1",
        headers={"Authorization": f"Bearer {profile['token']}"},
        trust_env=False,
    )


SCALAR = {"interface": "scalar", "entry": "f", "args": []}
BODY: dict[str, Any] = {
    "task_type": "wasm_execution",
    "wasm_module": "AGFzbQEAAAA=",
    "inputs": SCALAR,
}


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "blue"},
        {"task_type": "magic"},
        {"wasm_module": "not base64!"},
        {"module": {"digest": "0" * 64}},
        {"limits": {"fuel": -1}},
        {"limits": {"fuel": 0}},
        {"limits": {"fuel": 1.5}},
        {"limits": {"speed": 1}},
        {"max_attempts": 1000},
        {"requirements": {"min_nodes": 0}},
        {"requirements": {"max_execution_time_sec": 10**9}},
        {"verification": {"class": "quorum", "replicas": 1}},
        {"verification": {"class": "signed", "audit_rate": 0.0}},
        {"inputs": {"interface": "scalar", "entry": "f", "args": [None]}},
        {"inputs": {"interface": "telepathy"}},
        {"inputs": {"interface": "bytes", "input": {"digest": "xyz"}}},
        {"inputs": {"interface": "bytes", "input": {"digest": "a" * 64}}},
        {"inputs": None},
        {"name": "x" * 1000},
    ],
    ids=str,
)
def test_a_wrong_task_is_refused_whole(terminal: Terminal, change: dict[str, Any]) -> None:
    before = tasks_count(terminal)
    with api(terminal) as client:
        answer = client.post("/tasks", json={**BODY, **change})
    body = answer.json()
    assert 400 <= answer.status_code < 500, body
    assert body["code"] == body["error"]
    assert body["message"]
    assert body["hint"]
    assert body["request_id"]
    assert tasks_count(terminal) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"a": NaN}',
        b'{"task_type": "wasm_execution"',
        b"\xff\xfe",
        b"1" * 5000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(terminal: Terminal, content: bytes) -> None:
    with api(terminal) as client:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/tasks", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"]


def test_a_body_over_the_limit_is_refused(terminal: Terminal) -> None:
    with api(terminal) as client:
        answer = client.post("/tasks", content=b" " * (2 << 20))
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_an_unknown_route_is_json(terminal: Terminal) -> None:
    with api(terminal) as client:
        answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_token_that_is_not_ours_needs_a_login(terminal: Terminal) -> None:
    done = terminal.run("task", "list", "-o", "json", AMBIENT_VCP_TOKEN="nonsense")
    assert done.code == 2
    assert done.error()["code"] == "unauthorized"
    assert done.error()["hint"]


def test_another_accounts_task_is_not_found(terminal: Terminal, tmp_path: Path) -> None:
    mine = terminal.run("task", "submit", HELLO, "--invoke", "add", "1", "2", "-q").out.strip()
    endpoint = terminal.run("profile", "show", "-o", "json").data()["endpoint"]
    other = Terminal(tmp_path)
    password = {"AMBIENT_VCP_PASSWORD": "Another-Account-9000"}
    assert other.run("auth", "register", "other1", "--endpoint", endpoint, **password).code == 0
    done = other.run("auth", "login", "other1", "--endpoint", endpoint, **password)
    assert done.code == 0, done.err
    assert "Another-Account" not in done.out + done.err
    for verb in ("show", "logs", "explain", "cancel", "get"):
        done = other.run("task", verb, mine)
        assert done.code == 4, (verb, done.err)
        assert "[not_found]" in done.err


def test_nobody_listens_is_a_connection_failure(tmp_path: Path) -> None:
    done = Terminal(tmp_path).run("health", AMBIENT_VCP_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 2
    done = Terminal(tmp_path).run(
        "task", "list", "-o", "json", AMBIENT_VCP_ENDPOINT="http://127.0.0.1:9"
    )
    assert done.code == 2
    assert done.error()["code"] == "connection_failed"
    assert done.error()["retryable"] is True
