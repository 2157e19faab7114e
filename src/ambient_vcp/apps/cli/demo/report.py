"""The end of the demonstration: the table for people and the report for programs."""

from __future__ import annotations

import os
import platform
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ambient_vcp import __version__
from ambient_vcp.apps.cli.demo.stage import Scenario, Stage
from ambient_vcp.apps.cli.task_view import bound, energy

SCHEMA_VERSION = 1
COLUMNS = (
    "task",
    "status",
    "class",
    "bound",
    "who computed",
    "agreement",
    "fuel",
    "energy",
    "time",
)
MARKS = {"agreed": "+", "disagreed": "-", "undecided": "?"}


def print_table(scenarios: list[Scenario]) -> None:
    """One line a task: class, who computed, agreement, fuel, joules with label, wall time."""
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title="What was done", header_style="bold", expand=False)
    for title in COLUMNS:
        table.add_column(title, justify="right" if title in ("fuel", "time") else "left")
    for task in (task for scenario in scenarios for task in scenario.tasks):
        table.add_row(*(Text(cell) for cell in _cells(task)))
    console.print(table)
    console.print("+ agreed  - disagreed  ? no verdict. Energy is of each node that computed.")


def _cells(task: dict[str, Any]) -> list[str]:
    attempts = task["attempts"]
    who = [
        f"{MARKS.get(each['verdict'], '.')} {each['node_id']}"
        + (f" ({each['state']})" if each["verdict"] not in MARKS else "")
        for each in attempts
    ]
    agreement = f"{task['agreed']} of {task['voted']}" if task["voted"] else "-"
    wall = "-" if task["wall_ms"] is None else f"{task['wall_ms'] / 1000:.2f} s"
    status = task["status"] if not task["reason"] else f"{task['status']}: {task['reason']}"
    return [
        task["name"] or task["task_id"],
        status,
        task["class"] or "-",
        bound(task["error_bound_ppb"]),
        "\n".join(who) or "-",
        agreement,
        "-" if task["fuel_used"] is None else f"{task['fuel_used']:,}",
        "\n".join(energy(each) for each in attempts) or "-",
        wall,
    ]


def report(stage: Stage, seconds: float) -> dict[str, Any]:
    """Everything that happened, for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "ok": all(scenario.ok for scenario in stage.scenarios),
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds": seconds,
        "lease_s": stage.lease_s,
        "sweep_s": stage.sweep_s,
        "scenarios": [
            {
                "number": scenario.number,
                "title": scenario.title,
                "ok": scenario.ok,
                "seconds": scenario.seconds,
                "expectations": [
                    {"claim": each.claim, "ok": each.ok, "seen": each.seen}
                    for each in scenario.expectations
                ],
                "figures": scenario.figures,
                "tasks": scenario.tasks,
            }
            for scenario in stage.scenarios
        ],
        "receipts": {task_id: str(path) for task_id, path in stage.receipts.items()},
        "events": stage.narrator.events,
    }
