"""What every scenario works with: the cluster, the client, the record of what was expected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ambient_vcp.apps.cli.demo.narrator import Narrator
from ambient_vcp.apps.cli.local_cluster import LocalCluster
from ambient_vcp.apps.cli.receipts import fetch_receipt

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client, TaskHandle
    from ambient_vcp.sdk.results import Result, TaskInfo

TASK_TIMEOUT_S = 120.0
HONEST_NODES = ("node-1", "node-2", "node-3")


class DemoAborted(Exception):  # noqa: N818 - the name says what happened
    """A scenario cannot go on; what it expected before stays recorded."""


@dataclass(slots=True, kw_only=True)
class Expectation:
    """``seen`` is what was really there, also when it was as expected."""

    claim: str
    ok: bool
    seen: str


@dataclass(slots=True, kw_only=True)
class Scenario:
    number: int
    title: str
    expectations: list[Expectation] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return bool(self.expectations) and all(each.ok for each in self.expectations)


@dataclass(slots=True, kw_only=True)
class Stage:
    """``lease_s`` and ``sweep_s`` are what the control plane was started with."""

    cluster: LocalCluster
    client: Client
    examples: Path
    output_dir: Path
    narrator: Narrator
    lease_s: float
    sweep_s: float
    scenarios: list[Scenario] = field(default_factory=list)
    receipts: dict[str, Path] = field(default_factory=dict)

    @property
    def current(self) -> Scenario:
        return self.scenarios[-1]

    @contextmanager
    def scenario(self, title: str) -> Iterator[None]:
        """One act: its expectations, its time; a deviation does not stop the next one."""
        self.scenarios.append(Scenario(number=len(self.scenarios) + 1, title=title))
        self.narrator.heading(f"{self.current.number}. {title}")
        started = time.monotonic()
        try:
            yield
        except DemoAborted as aborted:
            self.expect("the scenario runs to its end", ok=False, seen=str(aborted))
        except Exception as failure:  # noqa: BLE001 - any failure is a deviation, and is named
            seen = f"{type(failure).__name__}: {failure}"
            self.expect("the scenario runs to its end", ok=False, seen=seen)
        finally:
            self.current.seconds = time.monotonic() - started

    def expect(self, claim: str, *, ok: bool, seen: Any) -> bool:
        """Record one claim and what was seen."""
        self.current.expectations.append(Expectation(claim=claim, ok=bool(ok), seen=str(seen)))
        self.narrator.claim(claim, ok=bool(ok), seen=str(seen))
        return bool(ok)

    def example(self, name: str) -> Path:
        return self.examples / name

    def submit(self, name: str, module: Path, **fields: Any) -> TaskHandle:
        """Submit a task and name it for the narrator."""
        handle = self.client.submit(module, name=name, **fields)
        self.narrator.names[handle.id] = name
        return handle

    def finish(self, handle: TaskHandle) -> tuple[TaskInfo, Result | None]:
        """Wait for the end; keep the receipt; record the task for the table."""
        info = handle.wait(timeout=TASK_TIMEOUT_S)
        copy_to = self.output_dir / "receipts" / f"{handle.id}.json"
        fetch_receipt(self.client, handle.id, copy_to)
        self.receipts[handle.id] = copy_to
        info = handle.info()  # sealed by now: the receipt's id and the verdicts are in it
        self.current.tasks.append(task_row(info))
        return info, self.client.result_of(info) if info.status == "completed" else None


def task_row(info: TaskInfo) -> dict[str, Any]:
    """What the table and the report say of a task."""
    raw = info.raw
    attempts = [attempt_row(attempt) for attempt in info.attempts]
    agreed = sum(attempt["verdict"] == "agreed" for attempt in attempts)
    voted = sum(attempt["verdict"] in ("agreed", "disagreed") for attempt in attempts)
    started = [attempt["granted_at_ms"] for attempt in attempts if attempt["granted_at_ms"]]
    finished = [attempt["finished_at_ms"] for attempt in attempts if attempt["finished_at_ms"]]
    return {
        "task_id": info.id,
        "name": raw.get("name"),
        "status": info.status,
        "reason": info.reason or None,
        "class": info.assurance_class,
        "decision": raw.get("decision"),
        "assurance": raw.get("assurance"),
        "error_bound_ppb": info.error_bound_ppb,
        "agreed": agreed,
        "voted": voted,
        "fuel_used": raw.get("fuel_used"),
        "wall_ms": max(finished) - min(started) if started and finished else None,
        "receipt_id": info.receipt_id,
        "attempts": attempts,
    }


def attempt_row(attempt: Mapping[str, Any]) -> dict[str, Any]:
    keys = (
        *("slot", "epoch", "purpose", "node_id", "state", "verdict", "reason"),
        *("granted_at_ms", "started_at_ms", "finished_at_ms"),
        *("fuel_used", "millijoules", "energy_label", "output_digest"),
    )
    return {key: attempt.get(key) for key in keys}
