"""Claim and complete over HTTP: simulated nodes claim leases, sign results and hand them in.

Every result is checked (signature, trace, lease epoch), judged and recorded durably. Sealing of the
receipts runs beside it; when the last receipt was sealed is printed too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

from benchmarks.figure import Figure
from benchmarks.load import exchange, request
from benchmarks.peers import column
from benchmarks.server import Server, SimulatedNode, control_plane, enrol, report, telemetry

MODULE = Path(__file__).resolve().parent.parent / "examples" / "hello" / "hello.wasm"
TASKS = 10_000
NODES = 8
BATCH = 10
LEASES_PER_NODE = "100"
"""Few enough that none runs out before its turn: these nodes never renew."""
PATIENCE_S = 120


def submit(server: Server) -> None:
    module = MODULE.read_bytes()
    digest = hashlib.sha256(module).hexdigest()
    task = {
        "task_type": "wasm_execution",
        "module": {"digest": digest},
        "inputs": {"interface": "scalar", "entry": "add", "args": ["2", "3"]},
    }
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        client.put(f"/blobs/{digest}", content=module).raise_for_status()
        for _ in range(TASKS // 1_000):
            client.post("/tasks/bulk", json={"tasks": [task] * 1_000}).raise_for_status()


async def beat(port: int, node: SimulatedNode) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"telemetry": telemetry(), "report": report()}).encode()
    path = f"/nodes/{node.id}/heartbeat"
    status, answer = await exchange(reader, writer, request("PUT", path, node.token, body))
    writer.close()
    if status != 200:
        raise RuntimeError(answer.decode())


class Tally:
    def __init__(self) -> None:
        self.done = 0


async def work(port: int, node: SimulatedNode, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    claim = request("POST", f"/nodes/{node.id}/claim", node.token, b'{"at_most": %d}' % BATCH)
    deadline = time.monotonic() + PATIENCE_S
    while tally.done < TASKS and time.monotonic() < deadline:
        _, body = await exchange(reader, writer, claim)
        assignments: list[dict[str, Any]] = json.loads(body)["assignments"]
        if not assignments:
            await asyncio.sleep(0.01)
            continue
        results = json.dumps({"results": [node.result(each) for each in assignments]}).encode()
        raw = request("POST", f"/nodes/{node.id}/results", node.token, results)
        status, body = await exchange(reader, writer, raw)
        answers = json.loads(body)["answers"] if status == 200 else []
        if status != 200 or any(each["status"] != "accepted" for each in answers):
            raise RuntimeError(body.decode()[:500])
        tally.done += len(answers)
    writer.close()


async def measure(port: int, nodes: list[SimulatedNode]) -> float:
    for node in nodes:
        await beat(port, node)
    tally, began = Tally(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(work(port, node, tally))
    return tally.done / (time.perf_counter() - began)


def sealed_after(server: Server) -> float:
    began = time.perf_counter()
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        oldest = client.get("/tasks", params={"limit": 1}).json()["tasks"][0]["task_id"]
        while time.perf_counter() - began < PATIENCE_S:
            if client.get(f"/tasks/{oldest}/receipt").status_code == 200:
                return time.perf_counter() - began
            time.sleep(0.1)
    raise RuntimeError("the last receipt was not sealed")


def run() -> list[Figure]:
    with control_plane("--leases-per-node-max", LEASES_PER_NODE) as server:
        nodes = [enrol(server, f"bench-{index}") for index in range(NODES)]
        submit(server)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            per_second = runner.run(measure(server.port, nodes))
        sealed_s = sealed_after(server)
    peers, missing = column("per_second")
    return [
        Figure(
            figure=f"place + claim + complete, durable, HTTP, batches of {BATCH}",
            unit="tasks/s",
            ours=per_second,
            target=5_000,
            higher_is_better=True,
            peers=peers,
            note=f"{NODES} nodes signing in the client; last receipt {sealed_s:.1f} s later"
            + (f"; {missing}" if missing else ""),
        )
    ]
