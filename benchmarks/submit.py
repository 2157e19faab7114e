"""Durable submission over HTTP: single requests and bulk requests, on SQLite with FULL sync."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, percentile
from benchmarks.load import drive, request
from benchmarks.server import control_plane, scalar_task

MODULE = Path(__file__).resolve().parent.parent / "examples" / "hello" / "hello.wasm"
SINGLE = 6_000
BULK_REQUESTS = 60
BULK_SIZE = 1_000
CONNECTIONS = 32


def run() -> list[Figure]:
    module = MODULE.read_bytes()
    with control_plane() as server:
        body = json.dumps(scalar_task(module)).encode()
        raw = request("POST", "/tasks", server.token, body)
        drive(server.port, [raw] * 500, connections=CONNECTIONS)
        single = drive(server.port, [raw] * SINGLE, connections=CONNECTIONS)
    with control_plane() as server:
        task = scalar_task(module)
        digest = _upload(server.port, server.token, module)
        del task["wasm_module"]
        task["module"] = {"digest": digest}
        bodies = [_bulk_body(task, number) for number in range(BULK_REQUESTS)]
        raws = [request("POST", "/tasks/bulk", server.token, body) for body in bodies]
        bulk = drive(server.port, raws, connections=4)
    for outcome in (single, bulk):
        if set(outcome.statuses) != {201}:
            raise RuntimeError(f"answers were {outcome.statuses}")
    return [
        Figure(
            figure="submit single, durable, HTTP",
            unit="tasks/s",
            ours=single.per_second,
            target=1_500,
            higher_is_better=True,
            note=f"{CONNECTIONS} connections, p99 {percentile(single.latencies_ms, 0.99):.0f} ms",
        ),
        Figure(
            figure=f"submit bulk of {BULK_SIZE}, durable, HTTP",
            unit="tasks/s",
            ours=bulk.per_second * BULK_SIZE,
            target=20_000,
            higher_is_better=True,
            note=f"p99 of a request {percentile(bulk.latencies_ms, 0.99):.0f} ms",
        ),
    ]


def _bulk_body(task: dict[str, Any], number: int) -> bytes:
    """Every task has arguments of its own, as real work has: no specification repeats."""
    tasks = [
        {**task, "inputs": {"interface": "scalar", "entry": "add", "args": [str(number), str(at)]}}
        for at in range(BULK_SIZE)
    ]
    return json.dumps({"tasks": tasks}).encode()


def _upload(port: int, token: str, module: bytes) -> str:
    digest = hashlib.sha256(module).hexdigest()
    done = drive(port, [request("PUT", f"/blobs/{digest}", token, module)], connections=1)
    if not set(done.statuses) <= {200, 201}:
        raise RuntimeError(f"the module was not taken: {done.statuses}")
    return digest
