"""Write docs/protocol/states.md from the tables in the code. ``--check`` only compares."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ambient_vcp.domain import errors
from ambient_vcp.domain.execution.invocation import CellLimits
from ambient_vcp.domain.execution.outcome import (
    DETERMINISTIC_REASONS,
    GUEST_SUSPECT_REASONS,
    Reason,
)
from ambient_vcp.domain.nodes.breaker import BreakerReason, SafetyPolicy
from ambient_vcp.domain.scheduling.filters import LASTING, Refusal
from ambient_vcp.domain.scheduling.view import Strategy
from ambient_vcp.domain.tasks.lifecycle import ATTEMPT_MOVES, TASK_MOVES
from ambient_vcp.domain.tasks.policy import PROFILES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "protocol" / "states.md"


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def moves(name: str, moves_by_state: Mapping[Any, frozenset[Any]]) -> str:
    order = list(moves_by_state)
    rows: list[tuple[object, ...]] = [
        (f"`{state}`", ", ".join(f"`{to}`" for to in order if to in allowed) or "*(an end)*")
        for state, allowed in moves_by_state.items()
    ]
    arrows = "\n".join(
        f"    {state} --> {to}"
        for state, allowed in moves_by_state.items()
        for to in order
        if to in allowed
    )
    diagram = f"```mermaid\nstateDiagram-v2\n{arrows}\n```"
    return f"## {name}\n\n{table(('state', 'may become'), rows)}\n\n{diagram}\n"


def reasons() -> str:
    def kind(reason: Reason) -> str:
        if reason in DETERMINISTIC_REASONS:
            return "an answer: every honest node sees the same; it votes and is signed"
        if reason in GUEST_SUSPECT_REASONS:
            return "guest and node are both suspect: tried again elsewhere before it is final"
        return "the node's own trouble: tried again elsewhere"

    rows: list[tuple[object, ...]] = [(f"`{reason}`", kind(reason)) for reason in Reason]
    return "## Why an execution did not return a result\n\n" + table(("reason", "meaning"), rows)


def policies() -> str:
    rows: list[tuple[object, ...]] = []
    for profile, policy_by_type in PROFILES.items():
        for task_type, row in policy_by_type.items():
            minimum = (row.min_bandwidth_mbps, row.min_cpu_cores, row.min_memory_gb)
            rows.append(
                (
                    profile,
                    task_type,
                    row.node_type,
                    *minimum,
                    row.execution_sec_max,
                    row.payload_bytes_max,
                    "yes" if row.module_allowed else "no",
                )
            )
    header = (
        "profile",
        "task type",
        "node type",
        "min Mbit/s",
        "min cores",
        "min GB",
        "longest run s",
        "largest inputs bytes",
        "own module",
    )
    return "## Policy by task type\n\n" + table(header, rows)


def limits() -> str:
    defaults = CellLimits()
    rows: list[tuple[object, ...]] = [
        (f"`{name}`", getattr(defaults, name)) for name in CellLimits.__dataclass_fields__
    ]
    return "## Default limits of one execution\n\n" + table(("limit", "default"), rows)


def refusals() -> str:
    rows: list[tuple[object, ...]] = [
        (f"`{reason}`", "no" if reason in LASTING else "yes") for reason in Refusal
    ]
    strategies = ", ".join(f"`{strategy}`" for strategy in Strategy)
    return (
        "## Why a node is not chosen\n\n"
        + table(("reason", "may pass by waiting"), rows)
        + f"\n\nStrategies among those that may: {strategies}."
    )


def breakers() -> str:
    policy = SafetyPolicy()
    rows: list[tuple[object, ...]] = [
        (BreakerReason.TEMPERATURE, f"more than {policy.temperature_c_max} °C"),
        (BreakerReason.LATENCY, f"more than {policy.latency_ms_max} ms"),
        (
            BreakerReason.ERRORS,
            (
                f"more than {policy.consecutive_errors_max} in a row; closes "
                f"{policy.errors_cool_down_ms // 1000} s after the last"
            ),
        ),
        (BreakerReason.STALE_TELEMETRY, "no telemetry, or too old"),
        (BreakerReason.INVALID_TELEMETRY, "a figure that no machine reports"),
    ]
    return "## Breakers of a node\n\n" + table(("reason", "trips at"), rows)


def error_codes() -> str:
    classes = [
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, errors.VcpError) and item is not errors.VcpError
    ]
    rows: list[tuple[object, ...]] = sorted(
        (f"`{item.code}`", item.http_status, "yes" if item.retryable else "no") for item in classes
    )
    return "## Error codes\n\n" + table(("code", "HTTP status", "retryable"), rows)


def render() -> str:
    parts = [
        (
            "# States, reasons and tables\n\n"
            "Written by `tools/protocol_pages.py` from the tables in "
            "`src/ambient_vcp/domain`. Do not edit.\n"
        ),
        moves("Tasks", TASK_MOVES),
        moves("Attempts", ATTEMPT_MOVES),
        reasons(),
        refusals(),
        breakers(),
        limits(),
        policies(),
        error_codes(),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    fresh = render()
    if not parser.parse_args().check:
        PAGE.write_text(fresh, encoding="utf-8")
        return
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh:
        sys.exit("docs/protocol/states.md is stale; run: make pages")


if __name__ == "__main__":
    main()
