"""Submit to result over HTTP with one real node and a real cell: a scalar call on an idle system.

Also how long it takes until the node has the work (submission to the start of the attempt).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import httpx

from benchmarks.figure import Figure, percentile
from benchmarks.peers import column
from benchmarks.server import Server, control_plane, scalar_task
from benchmarks.submit import MODULE

TASKS = 100
READY_S = 30


def start_node(server: Server, client: httpx.Client) -> subprocess.Popen[bytes]:
    code = client.post("/node-invites", json={}).raise_for_status().json()["code"]
    command = [sys.executable, "-m", "ambient_vcp.apps.node", "join"]
    command += [f"http://127.0.0.1:{server.port}", "--id", "bench-node"]
    command += ["--data-dir", str(server.folder / "node")]
    with (server.folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, "AMBIENT_VCP_JOIN_CODE": code}, stdout=log, stderr=log
        )
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        nodes = client.get("/nodes").raise_for_status().json()["nodes"]
        if any(node["status"] == "online" and node["telemetry"] for node in nodes):
            return process
        time.sleep(0.1)
    process.terminate()
    raise RuntimeError((server.folder / "node.log").read_text(encoding="utf-8")[-2000:])


def one(client: httpx.Client, body: bytes) -> tuple[float, float]:
    """Milliseconds from the request to the completed task, and to the attempt's start."""
    began = time.perf_counter()
    headers = {"Content-Type": "application/json"}
    answer = client.post("/tasks", content=body, headers=headers).raise_for_status().json()
    with client.stream(
        "GET", "/events", params={"task_id": answer["task_id"], "after": 0}
    ) as lines:
        started = 0.0
        for line in lines.iter_lines():
            if not line.startswith("data:"):
                continue
            kind = json.loads(line[5:])["kind"]
            now = (time.perf_counter() - began) * 1000
            if kind == "attempt.started" and not started:
                started = now
            if kind == "task.completed":
                return now, started
            if kind == "task.failed":
                raise RuntimeError("the task failed")
    raise RuntimeError("the stream ended early")


def run() -> list[Figure]:
    body = json.dumps(scalar_task(MODULE.read_bytes())).encode()
    with control_plane() as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            node = start_node(server, client)
            try:
                for _ in range(5):
                    one(client, body)
                results = [one(client, body) for _ in range(TASKS)]
            finally:
                node.terminate()
                node.wait(timeout=60)
    totals = [total for total, _ in results]
    starts = [started for _, started in results]
    p50, note_50 = column("p50_ms")
    p99, note_99 = column("p99_ms")
    return [
        Figure(
            figure="submit to result, idle, p50",
            unit="ms",
            ours=percentile(totals, 0.5),
            target=None,
            higher_is_better=False,
            peers=p50,
            note=note_50 or "peers call a function in a warm worker and store nothing durably",
        ),
        Figure(
            figure="submit to result, idle, p99",
            unit="ms",
            ours=percentile(totals, 0.99),
            target=None,
            higher_is_better=False,
            peers=p99,
            note=note_99,
        ),
        Figure(
            figure="submit to the node has it, idle, p99",
            unit="ms",
            ours=percentile(starts, 0.99),
            target=50,
            higher_is_better=False,
            note="until the claim is committed, as seen by the submitter",
        ),
    ]
