"""Bad requests of every kind: the right status, one shape, never a 500."""

from __future__ import annotations

import json
import socket

import httpx
import pytest

from support.control_plane import BASE, ControlPlaneProcess, Person, add_task, join

SHAPE = {"error", "code", "message", "hint", "retryable", "request_id", "details"}


def in_shape(answer: httpx.Response, status: int, code: str) -> dict:
    body = answer.json()
    assert (answer.status_code, body["code"], set(body)) == (status, code, SHAPE), answer.text
    assert body["error"] == code
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


@pytest.mark.parametrize("path", ["/nope", "/tasks/", "/nodes/a/b/c", "//", "/health/"])
def test_unknown_routes_are_404_in_the_shape(plane: ControlPlaneProcess, path):
    with plane.client() as public:
        in_shape(public.get(path), 404, "not_found")


def test_a_route_outside_of_the_api_is_404_in_the_shape(plane: ControlPlaneProcess):
    in_shape(httpx.get(plane.url + "/favicon.ico"), 404, "not_found")


def test_the_wrong_method_is_404_in_the_shape(plane: ControlPlaneProcess):
    with plane.client() as public:
        in_shape(public.delete("/health"), 404, "not_found")


def test_the_request_id_is_echoed_when_it_is_sane(plane: ControlPlaneProcess):
    with plane.client() as public:
        assert public.get("/health", headers={"X-Request-Id": "a-b.1"}).headers["x-request-id"] == (
            "a-b.1"
        )
        for odd in ("x" * 129, "a\tb"):
            answer = public.get("/health", headers={"X-Request-Id": odd})
            assert answer.headers["x-request-id"] != odd


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a":1,}',
        b'{"task_type": NaN}',
        b'{"task_type": Infinity}',
        b'{"task_type": -Infinity}',
        b'{"inputs": 1e999}',
        b'{"task_type": "a", "task_type": "b"}',
        b'{"inputs": {"x": {"y": 1, "y": 2}}}',
        b'{"inputs": "\\ud800"}',
        b'{"inputs": "a\\u0000b"}',
        b'{"inputs": {"\\u0000": 1}}',
        b'\xff\xfe{"a":1}',
        b'{"inputs": "\xc3\x28"}',
        b"[" * 200_000,
        b"[" * 40 + b"]" * 40,
        b'{"inputs": ' + b"9" * 5_000 + b"}",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_what_is_not_plain_json_is_400(person: Person, body):
    answer = person.api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    in_shape(answer, 400, "bad_request")


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true"])
def test_a_body_that_is_no_object_is_422(person: Person, body):
    answer = person.api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
    in_shape(answer, 422, "validation_error")


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_another_content_type_is_415(person: Person, media):
    answer = person.api.post(
        "/tasks", content=json.dumps(add_task()), headers={"Content-Type": media}
    )
    in_shape(answer, 415, "unsupported_media_type")


def test_a_content_type_with_a_charset_is_taken(person: Person):
    answer = person.api.post(
        "/tasks",
        content=json.dumps(add_task()),
        headers={"Content-Type": "Application/JSON; charset=utf-8"},
    )
    assert answer.status_code == 201


def test_a_body_over_1_mib_is_413_announced_or_not(person: Person):
    large = json.dumps(add_task(name="x" * 1_100_000)).encode()

    def pieces():
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    in_shape(person.api.post("/tasks", content=large, headers=headers), 413, "body_too_large")
    in_shape(person.api.post("/tasks", content=pieces(), headers=headers), 413, "body_too_large")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"unknown": 1}, "unknown"),
        ({"requirements": {"min_nodes": 1, "surprise": True}}, "surprise"),
        ({"requirements": {"min_nodes": "1"}}, "min_nodes"),
        ({"requirements": {"min_nodes": True}}, "min_nodes"),
        ({"requirements": {"min_nodes": 1.5}}, "min_nodes"),
        ({"requirements": {"require_gpu": 0}}, "require_gpu"),
        ({"limits": {"fuel": "many"}}, "fuel"),
        ({"timeouts": {"queue_sec": None, "extra": 1}}, "extra"),
        ({"name": 5}, "name"),
        ({"task_type": 5}, "task_type"),
        ({"inputs": {"interface": "scalar"}}, "entry"),
        ({"inputs": {"interface": "scalar", "entry": "add", "x": 1}}, "x"),
        ({"inputs": {"interface": "telepathy"}}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"interface": "scalar", "entry": "add", "args": [None]}}, "args"),
        ({"module": {"digest": "XYZ"}}, "digest"),
    ],
)
def test_a_field_of_the_wrong_shape_is_422_and_named(person: Person, change, where):
    body = in_shape(person.api.post("/tasks", json=add_task(**change)), 422, "validation_error")
    assert where in body["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": {"fuel": -1}},
        {"limits": {"fuel": 0}},
        {"limits": {"memory_bytes": 2**50}},
        {"limits": {"wall_ms": -5}},
        {"limits": {"output_bytes": 2**40}},
        {"limits": {"stack_bytes": 2**40}},
        {"requirements": {"min_nodes": 0}},
        {"requirements": {"min_nodes": 1001}},
        {"requirements": {"min_nodes": -(2**52)}},
        {"requirements": {"max_execution_time_sec": 0}},
        {"requirements": {"max_execution_time_sec": 3601}},
        {"requirements": {"min_cpu_cores": 0}},
        {"requirements": {"min_memory_gb": -1.0}},
        {"requirements": {"min_bandwidth_mbps": 1e308}},
        {"verification": {"class": "quorum", "replicas": 1}},
        {"verification": {"class": "quorum", "replicas": 16}},
        {"verification": {"class": "signed", "replicas": 3}},
        {"verification": {"class": "signed", "audit_rate": 0.01}},
        {"verification": {"class": "signed", "audit_rate": 2.0}},
        {"verification": {"class": "magic"}},
        {"verification": {"class": "proved"}},
        {"verification": {"class": "reexecuted"}},
        {"requirements": {"require_proof": True}},
        {"timeouts": {"queue_sec": 0}},
        {"timeouts": {"total_sec": 604_801}},
        {"max_attempts": 0},
        {"max_attempts": 21},
        {"name": "n" * 129},
        {"name": "a\nb"},
        {"task_type": "mining"},
        {"task_type": "zk_proof"},
        {"wasm_module": None},
        {"wasm_module": "not base64!"},
        {"wasm_module": ""},
        {"wasm_module": "AGFzbQ"},
        {"module": {"digest": "0" * 64}},
        {"inputs": {"interface": "bytes", "input": {"text": "a", "base64": "YQ=="}}},
        {"inputs": {"interface": "bytes", "input": {}}},
        {"inputs": {"interface": "bytes", "private_commitment": "0" * 64}},
        {"inputs": {"interface": "wasi", "env": {"A=B": "c"}}},
        {"inputs": {"interface": "wasi", "args": ["x" * 5_000]}},
        {"inputs": {"interface": "scalar", "entry": ""}},
    ],
    ids=str,
)
def test_a_value_that_breaks_a_rule_is_400_with_a_known_code(person: Person, change):
    answer = person.api.post("/tasks", json=add_task(**change))
    codes = {"bad_request", "limit_exceeded", "assurance_class_unavailable"}
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in codes
    assert person.api.get("/tasks").json()["tasks"] == []


@pytest.mark.parametrize(
    "inputs",
    [
        {"deep": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]},
        {"long": list(range(1001))},
        {"wide": {str(n): n for n in range(1001)}},
        {"k" * 257: 1},
        {"text_of_mine": "x" * 10_001},
    ],
    ids=lambda value: next(iter(value))[:12],
)
def test_inputs_beyond_the_bounds_are_400(person: Person, inputs):
    in_shape(person.api.post("/tasks", json=add_task(inputs=inputs)), 400, "bad_request")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "what=1", "cursor=!!", "status=odd"],
)
def test_a_bad_query_is_400(person: Person, query):
    in_shape(person.api.get(f"/tasks?{query}"), 400, "bad_request")


@pytest.mark.parametrize("bad", ["not-a-uuid", "%00", "A" * 4000, "..%2f..", "%ff%fe"])
def test_impossible_ids_are_404(person: Person, bad):
    for path in (f"/tasks/{bad}", f"/nodes/{bad}", f"/blobs/{bad}"):
        in_shape(person.api.get(path), 404, "not_found")


def test_an_idempotency_key_must_be_printable_and_short(person: Person):
    for key in ("", "x" * 129, "tab\there"):
        answer = person.api.post("/tasks", json=add_task(), headers={"Idempotency-Key": key})
        in_shape(answer, 400, "bad_request")


def test_a_client_that_hangs_up_in_the_middle_of_a_body_harms_nobody(plane, person: Person):
    address = (plane.ready["host"], plane.ready["port"])
    for _ in range(5):
        with socket.create_connection(address) as raw:
            raw.sendall(
                f"POST {BASE}/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n"
                "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
            )
    assert person.api.get("/tasks").json() == {"tasks": [], "next_cursor": None}


def test_garbage_on_the_socket_does_not_stop_the_server(plane: ControlPlaneProcess):
    address = (plane.ready["host"], plane.ready["port"])
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 4096):
        with socket.create_connection(address) as raw:
            raw.sendall(garbage)
            raw.settimeout(5)
            raw.recv(1024)
    with plane.client() as public:
        assert public.get("/health").status_code == 200


def test_a_heartbeat_with_nan_or_nonsense_is_refused(person: Person):
    machine = join(person)
    path = f"/nodes/{machine.node_id}/heartbeat"
    headers = {"Content-Type": "application/json"}
    body = b'{"telemetry": {"measured_at_ms": 1, "cpu_percent": NaN}}'
    in_shape(machine.api.put(path, content=body, headers=headers), 400, "bad_request")
    for telemetry in (
        {"measured_at_ms": -1},
        {"measured_at_ms": 1, "cpu_percent": "5"},
        {"measured_at_ms": 1, "cpu": 5},
        {"cpu_percent": 5},
    ):
        answer = machine.api.put(path, json={"telemetry": telemetry})
        in_shape(answer, 422, "validation_error")


def test_a_heartbeat_from_a_machine_whose_clock_is_wrong_is_taken(person: Person):
    machine = join(person)
    for measured_at_ms in (0, 2**52):
        answer = machine.beat(telemetry={"measured_at_ms": measured_at_ms, "cpu_percent": 1.0})
        assert answer.status_code == 200
        assert answer.json()["breaker_reasons"] == []
