"""Memory and processor of an idle control plane and an idle node agent (without its cells)."""

from __future__ import annotations

import time

import httpx
import psutil

from benchmarks.figure import Figure
from benchmarks.latency import start_node
from benchmarks.server import control_plane

SETTLE_S = 5
WATCH_S = 30


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def run() -> list[Figure]:
    with control_plane() as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
            node = start_node(server, client)
        try:
            time.sleep(SETTLE_S)
            parts = {
                "control plane": (psutil.Process(server.pid), 150.0, 1.0),
                "node agent": (psutil.Process(node.pid), 80.0, 0.5),
            }
            before = {name: cpu_seconds(process) for name, (process, _, _) in parts.items()}
            time.sleep(WATCH_S)
            figures = []
            for name, (process, memory_target, cpu_target) in parts.items():
                used = 100 * (cpu_seconds(process) - before[name]) / WATCH_S
                figures += [
                    Figure(
                        figure=f"idle {name}: memory",
                        unit="MB RSS",
                        ours=process.memory_info().rss / 1e6,
                        target=memory_target,
                        higher_is_better=False,
                    ),
                    Figure(
                        figure=f"idle {name}: processor",
                        unit="% of one core",
                        ours=used,
                        target=cpu_target,
                        higher_is_better=False,
                        note="one node, one submitter's profile, heartbeats every 10 s",
                    ),
                ]
            helpers = psutil.Process(node.pid).children(recursive=True)
            shared = sum(child.memory_info().rss for child in helpers) / 1e6
            figures.append(
                Figure(
                    figure="idle node: waiting cells and their parent, shared pages counted each",
                    unit="MB RSS",
                    ours=shared,
                    target=None,
                    higher_is_better=False,
                )
            )
        finally:
            node.terminate()
            node.wait(timeout=60)
    return figures
