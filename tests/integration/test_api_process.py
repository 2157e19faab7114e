"""The process itself: starting, stopping, dying, coming back, and what it costs at rest."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from ambient_vcp.domain.log.checkpoint import parse_checkpoint
from ambient_vcp.domain.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from support.control_plane import (
    PASSWORD,
    ControlPlaneProcess,
    Stream,
    add_task,
    eventually,
    join,
    login,
    new_person,
    running,
    submitted,
)
from support.signed_results import scalar_output, signed_entry

COMMAND = [sys.executable, "-m", "ambient_vcp.apps.control_plane"]


def run(*arguments: str, stdin: str = "", **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


def test_it_says_who_it_is_and_that_it_is_well(plane: ControlPlaneProcess):
    with plane.client() as public:
        health = public.get("/health")
        about = public.get("/control-plane").json()
    assert health.status_code == 200
    checks = health.json()["checks"]
    assert {"database", "blobs", "scheduler", "sweeper", "sealer"} <= set(checks)
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert about["control_plane_id"] == plane.ready["control_plane_id"]
    assert about["assurance_classes"] == ["quorum", "signed"]
    assert about["limits"]["body_bytes_max"] == 1024 * 1024


def test_health_is_degraded_when_blobs_cannot_be_written(tmp_path: Path):
    with running(tmp_path / "data") as plane, plane.client() as public:
        folder = tmp_path / "data" / "blobs"
        folder.rename(tmp_path / "data" / "moved")
        answer = public.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "degraded")
        assert answer.json()["checks"]["blobs"]["status"] == "degraded"
        (tmp_path / "data" / "moved").rename(folder)
        assert public.get("/health").status_code == 200


def test_secrets_are_private_and_never_logged(tmp_path: Path):
    with running(tmp_path / "data") as plane:
        person = new_person(plane)
        code = person.api.post("/node-invites").json()["code"]
        submitted(person)
        log = plane.log()
    keys = list((tmp_path / "data" / "keys").iterdir())
    assert len(keys) == 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for secret in (PASSWORD, person.token, code):
        assert secret not in log
    line = next(json.loads(x) for x in log.splitlines() if '"/tasks"' in x)
    assert {"request_id", "method", "route", "status", "ms"} <= set(line)


def test_sigterm_ends_streams_and_everything_comes_back(tmp_path: Path):
    with running(tmp_path / "data") as plane:
        person = new_person(plane)
        task = submitted(person)
        stream = Stream(person.api, "/events")
        started = time.monotonic()
        assert plane.stop() == 0
        assert time.monotonic() - started < 10
        assert stream.ended.wait(5)
        stream.close()
        assert not (tmp_path / "data" / "control-plane.json").exists()
    with running(tmp_path / "data") as again:
        assert again.ready["public_key"] == plane.ready["public_key"]
        assert again.ready["control_plane_id"] == plane.ready["control_plane_id"]
        with again.client(person.token) as api:
            assert api.get(f"/tasks/{task['task_id']}").json()["status"] in ("pending", "held")
        with again.client() as public:
            login(public, person.username)


def test_what_was_acknowledged_before_sigkill_is_there_afterwards(tmp_path: Path):
    with running(tmp_path / "data") as plane:
        person = new_person(plane)
        machine = join(person)
        task = submitted(person)
        assignment = machine.claim_one(task["task_id"])
        acknowledged = []
        for number in range(50):
            headers = {"Idempotency-Key": f"k{number}"}
            answer = person.api.post("/tasks", json=add_task(), headers=headers)
            acknowledged.append((headers, answer.json()))
        plane.kill()
    with running(tmp_path / "data") as again, again.client(person.token) as api:
        for headers, before in acknowledged:
            answer = api.post("/tasks", json=add_task(), headers=headers)
            assert answer.json() == before
            assert api.get(f"/tasks/{before['task_id']}").status_code == 200
        entry = signed_entry(machine.signer, machine.node_id, assignment, scalar_output(5))
        node_token = machine.api.headers["authorization"].removeprefix("Bearer ")
        with again.client(node_token) as node:
            path = f"/nodes/{machine.node_id}/results"
            (handed,) = node.post(path, json={"results": [entry]}).json()["answers"]
        assert handed["status"] == "accepted"
        eventually(lambda: api.get(f"/tasks/{task['task_id']}/receipt").status_code == 200)


def test_an_upload_continues_after_sigkill(tmp_path: Path):
    data = bytes(range(256)) * 4096
    digest = hashlib.sha256(data).hexdigest()
    with running(tmp_path / "data") as plane:
        person = new_person(plane)
        body = {"digest": digest, "size_bytes": len(data)}
        upload_id = person.api.post("/blobs/uploads", json=body).json()["upload_id"]
        path = f"/blobs/uploads/{upload_id}"
        person.api.patch(path, content=data[:600_000], headers={"Upload-Offset": "0"})
        plane.kill()
    with running(tmp_path / "data") as again, again.client(person.token) as api:
        offset = int(api.head(path).headers["upload-offset"])
        assert offset == 600_000
        headers = {"Upload-Offset": str(offset)}
        assert api.patch(path, content=data[offset:], headers=headers).status_code == 201
        assert api.get(f"/blobs/{digest}").content == data


def test_two_control_planes_do_not_share_a_folder(tmp_path: Path):
    with running(tmp_path / "data"):
        second = run("serve", "--data-dir", str(tmp_path / "data"), "--port", "0")
    assert second.returncode != 0
    assert "another control plane" in second.stderr


def test_a_taken_port_is_said_in_one_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--data-dir", str(tmp_path / "data"), "--port", str(port))
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--lease-ms", "-1"),
        ("--port", "70000"),
        ("--sweep-ms", "0"),
        ("--cluster", "a/b"),
        ("--bcrypt-cost", "99"),
        ("--strategy", "best"),
    ],
)
def test_settings_out_of_bounds_are_refused(tmp_path: Path, option, value):
    done = run("serve", "--data-dir", str(tmp_path), option, value)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_settings_come_from_the_environment_too(tmp_path: Path):
    environment = os.environ | {"AMBIENT_VCP_CONTROL_PLANE_LEASE_MS": "7"}
    done = run("serve", "--data-dir", str(tmp_path), env=environment)
    assert done.returncode == 2
    assert "lease_ms" in done.stderr


def test_the_first_administrator_is_made_on_the_machine_itself(tmp_path: Path):
    data = tmp_path / "data"
    with running(data) as plane:
        person = new_person(plane)
        machine = join(person)
    made = run("admin", "--data-dir", str(data), "--username", "root_1", stdin=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    assert run("admin", "--data-dir", str(data), "--username", person.username).returncode == 0
    weak = run("admin", "--data-dir", str(data), "--username", "root_2", stdin="short\n")
    assert weak.returncode == 1
    assert "Traceback" not in weak.stderr
    with running(data) as again:
        with again.client() as public:
            old, token = person.token, login(public, "root_1")
            promoted = login(public, person.username)
        path = f"/nodes/{machine.node_id}"
        for good in (token, promoted, old):
            with again.client(good) as api:
                assert api.get("/auth/me").json()["role"] == "admin"
                assert api.post(path + "/trust").json()["trusted"] is True
        with again.client(token) as api:
            assert api.post(path + "/untrust").json()["trusted"] is False
            task = add_task()
            with again.client(person.token) as other:
                task_id = other.post("/tasks", json=task).json()["task_id"]
            assert api.get(f"/tasks/{task_id}").status_code == 200


def test_closed_registration_is_closed(tmp_path: Path):
    with running(tmp_path / "data", "--registration", "closed") as plane:
        body = {"username": "someone", "password": PASSWORD}
        with plane.client() as public:
            answer = public.post("/auth/register", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_at_rest_it_stays_small_and_quiet(plane: ControlPlaneProcess):
    process = psutil.Process(plane.process.pid)
    before = process.cpu_times()
    time.sleep(5)
    after = process.cpu_times()
    share = (after.user + after.system - before.user - before.system) / 5
    assert plane.rss_bytes() < 170 * 1024 * 1024
    assert share < 0.04, f"{share:.1%} of a core at rest"


def test_the_openapi_document_lists_every_operation_and_its_errors(plane: ControlPlaneProcess):
    document = httpx.get(plane.url + "/api-docs/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["components"]["securitySchemes"]) == {"account", "node"}
    named = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named.add(operation["operationId"])
            assert {"500", "503", "400"} <= set(operation["responses"]), (path, method)
            if operation["security"] and {} not in operation["security"]:
                assert "401" in operation["responses"], (path, method)
            wanted = {part[1:-1] for part in path.split("/") if part.startswith("{")}
            given = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert given == wanted
    assert len(named) == sum(len(methods) for methods in document["paths"].values())
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        assert reference.rpartition("/")[2] in document["components"]["schemas"]


def test_the_log_is_consistent_and_proves_inclusion(plane: ControlPlaneProcess):
    person = new_person(plane)
    with plane.client() as public:

        def head(beyond: int) -> tuple[int, bytes]:
            found = eventually(
                lambda: (h := public.get("/log/checkpoint").json())["size"] > beyond and h
            )
            checkpoint = parse_checkpoint(found["checkpoint"])
            assert checkpoint.size == found["size"]
            return checkpoint.size, checkpoint.root

        first, first_root = head(0)
        for _ in range(3):
            submitted(person)
        second, second_root = head(first)
        path = public.get(f"/log/consistency?first={first}&second={second}").json()["path"]
        hashes = [bytes.fromhex(step) for step in path]
        assert verify_consistency(
            old_size=first,
            old_root=first_root,
            new_size=second,
            new_root=second_root,
            path=hashes,
        )
        page = public.get(f"/log/leaves?start={second - 1}&limit=1").json()
        leaf = base64.b64decode(page["leaves"][0]["data_b64"])
        query = f"/log/inclusion?index={second - 1}&size={second}"
        proof = [bytes.fromhex(step) for step in public.get(query).json()["path"]]
        place = {"index": second - 1, "size": second, "path": proof, "root": second_root}
        assert verify_inclusion(leaf_hash(leaf), **place)
        assert not verify_inclusion(leaf_hash(leaf + b"x"), **place)
        for bad in (f"/log/inclusion?index={second}&size={second}", "/log/leaves?limit=0"):
            assert public.get(bad).status_code == 400
        too_far = f"/log/consistency?first=1&second={2**50}"
        assert public.get(too_far).status_code == 400
        assert public.get("/log/leaves?start=99999999").json() == {"leaves": [], "next": None}
