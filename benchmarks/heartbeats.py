"""What the heartbeats of 20,000 nodes at 30 s cost the control plane, in shares of one core."""

from __future__ import annotations

import json
import time

import psutil

from benchmarks.figure import Figure, percentile
from benchmarks.load import drive, request
from benchmarks.server import control_plane, enrol, report, telemetry

NODES = 20_000
INTERVAL_S = 30
ENROLLED = 400
"""Nodes really enrolled; each beats so often that the rate is that of 20,000."""

SECONDS = 10


def run() -> list[Figure]:
    rate = NODES / INTERVAL_S
    with control_plane() as server:
        nodes = [enrol(server, f"beat-{index}") for index in range(ENROLLED)]
        body = json.dumps({"telemetry": telemetry(), "report": report()}).encode()
        raw = [request("PUT", f"/nodes/{n.id}/heartbeat", n.token, body) for n in nodes]
        drive(server.port, raw, connections=16)
        process = psutil.Process(server.pid)
        before = process.cpu_times()
        began = time.perf_counter()
        latencies: list[float] = []
        sent = 0
        while (passed := time.perf_counter() - began) < SECONDS:
            due = int(passed * rate) - sent
            if due < 32:
                time.sleep(0.02)
                continue
            batch = [raw[(sent + index) % len(raw)] for index in range(due)]
            done = drive(server.port, batch, connections=16)
            if set(done.statuses) != {200}:
                raise RuntimeError(f"answers were {done.statuses}")
            latencies += done.latencies_ms
            sent += due
        passed = time.perf_counter() - began
        after = process.cpu_times()
        memory_mb = process.memory_info().rss / 1e6
    used = (after.user - before.user) + (after.system - before.system)
    share = 100 * used / passed
    return [
        Figure(
            figure=f"heartbeats of {NODES} nodes every {INTERVAL_S} s",
            unit="% of one core",
            ours=share * rate * passed / sent,
            target=25,
            higher_is_better=False,
            note=(
                f"{sent / passed:.0f}/s over {ENROLLED} enrolled nodes, "
                f"p99 {percentile(latencies, 0.99):.0f} ms, {memory_mb:.0f} MB"
            ),
        )
    ]
