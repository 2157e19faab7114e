"""How a task looks on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ambient_vcp.apps.cli.failures import Exit
from ambient_vcp.apps.cli.output import Column, Output, note, printable

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client
    from ambient_vcp.sdk.results import TaskInfo

TEXT_SHOWN_MAX = 2000
PPB_PER_PERCENT = 10_000_000


def energy(attempt: Mapping[str, Any]) -> str:
    """Joules with their label, or that they are unknown."""
    millijoules = attempt.get("millijoules")
    label = attempt.get("energy_label") or "unknown"
    return str(label) if millijoules is None else f"{millijoules / 1000:.3f} J {label}"


def bound(error_bound_ppb: int | None) -> str:
    """The stated error bound as a percentage."""
    return "-" if error_bound_ppb is None else f"{error_bound_ppb / PPB_PER_PERCENT:.7g} %"


LIST_COLUMNS = (
    Column("TASK", lambda task: task["task_id"]),
    Column("NAME", lambda task: task.get("name")),
    Column("TYPE", lambda task: task.get("task_type")),
    Column("STATUS", lambda task: task.get("status")),
    Column("REASON", lambda task: task.get("reason")),
    Column("CLASS", lambda task: task.get("class")),
    Column("CREATED", lambda task: task.get("created_at")),
)

ATTEMPT_COLUMNS = (
    Column("SLOT", lambda attempt: attempt.get("slot")),
    Column("EPOCH", lambda attempt: attempt.get("epoch")),
    Column("PURPOSE", lambda attempt: attempt.get("purpose")),
    Column("NODE", lambda attempt: attempt.get("node_id")),
    Column("STATE", lambda attempt: attempt.get("state")),
    Column("VERDICT", lambda attempt: attempt.get("verdict")),
    Column("REASON", lambda attempt: attempt.get("reason")),
    Column("FUEL", lambda attempt: attempt.get("fuel_used")),
    Column("ENERGY", energy),
)


def show_task(
    client: Client, info: TaskInfo, out: Output, *, receipt: Path | None, output_file: str | None
) -> int:
    """Print the task with what is known of its result; answer the exit code it deserves."""
    raw = info.raw
    lines: list[tuple[str, Any]] = [("task", info.id), ("status", info.status)]
    if raw.get("hold"):
        lines.append(("held", f"{raw['hold'].get('code')}: {raw['hold'].get('reason')}"))
    if info.reason:
        lines.append(("reason", info.reason))
    if info.detail:
        lines.append(("detail", info.detail))
    if info.status == "completed":
        lines += [("result", line) for line in result_lines(client, info, out, output_file)]
    lines += [
        ("class", " ".join(filter(None, (info.assurance_class, raw.get("assurance"))))),
        ("error bound", bound(info.error_bound_ppb)),
        ("decision", raw.get("decision")),
        ("nodes", ", ".join(_computed(info)) or None),
        ("fuel", raw.get("fuel_used")),
    ]
    if info.receipt_id:
        lines.append(("receipt", info.receipt_id))
    data = dict(raw) if receipt is None else {**raw, "receipt_file": str(receipt)}
    out.one(data, "task_id", [line for line in lines if line[1] not in (None, "", "-")])
    if receipt is not None and out.state.format == "table":
        note(f"check it: ambient-vcp verify {info.receipt_id or info.id}")
    if info.status in ("failed", "cancelled"):
        note(f"error: the task {info.status}: {info.reason or info.status}")
        return Exit.FAILED
    return Exit.OK


def result_lines(client: Client, info: TaskInfo, out: Output, output_file: str | None) -> list[str]:
    """The result as text for a terminal."""
    if out.state.format != "table":
        return []
    from ambient_vcp.sdk.results import ProgramResult, ScalarResult  # noqa: PLC0415 - with the client

    result = client.result_of(info)
    if isinstance(result, ScalarResult):
        return [" ".join(str(value) for value in result.values) or "(nothing)"]
    if isinstance(result, ProgramResult):
        return [f"{name}: {value}" for name, value in result.values.items()]
    size = f"{result.size_bytes} bytes, SHA-256 {result.digest}"
    if output_file is not None:
        return [f"{size}, in {output_file}"]
    if result.data is not None and len(result.data) <= TEXT_SHOWN_MAX:
        try:
            return [printable(line) for line in result.data.decode().splitlines()] or ["(empty)"]
        except UnicodeDecodeError:
            pass
    return [f"{size}; save it with --output FILE"]


def _computed(info: TaskInfo) -> list[str]:
    return [
        f"{attempt['node_id']} ({attempt.get('verdict') or attempt.get('state')})"
        for attempt in info.attempts
    ]
