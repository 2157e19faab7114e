"""What clients did and heard, kept while things break, and checked when it is over.

The rules are those of a set with unique names: an operation is invoked, and ends ``ok``, or stays
``unknown`` when no answer came. Nothing acknowledged may be missing, and one name makes one thing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["invoke", "ok", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``key`` names the operation; ``task_id`` is what an ``ok`` answered."""

    at_sec: float
    client: int
    kind: Kind
    key: str
    task_id: str = ""


@dataclass(slots=True)
class History:
    """Written by several threads."""

    steps: list[Step] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, client: int, kind: Kind, key: str, task_id: str = "") -> None:
        step = Step(at_sec=time.monotonic(), client=client, kind=kind, key=key, task_id=task_id)
        with self._lock:
            self.steps.append(step)

    def count(self, kind: Kind) -> int:
        return sum(step.kind == kind for step in self.steps)

    def acknowledged(self) -> dict[str, set[str]]:
        """Every id that was ever answered for a key."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for step in self.steps:
            if step.kind == "ok":
                found[step.key].add(step.task_id)
        return dict(found)

    def first_ok_after(self, at_sec: float) -> float | None:
        """Seconds from that moment to the next acknowledgement of a later invocation."""
        began = {}
        for step in sorted(self.steps, key=lambda each: each.at_sec):
            if step.at_sec < at_sec:
                continue
            if step.kind == "invoke":
                began[step.client] = step.key
            elif step.kind == "ok" and began.get(step.client) == step.key:
                return step.at_sec - at_sec
        return None


def check_set(history: History, final: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is wrong with ``final``, the tasks that exist at last, by id; each named by its key."""
    findings = []
    acknowledged = history.acknowledged()
    for key, ids in sorted(acknowledged.items()):
        if len(ids) > 1:
            findings.append(f"key {key} was answered with {len(ids)} tasks")
        findings += [f"task {each} of {key} is lost" for each in sorted(ids - final.keys())]
    invoked = {step.key for step in history.steps if step.kind == "invoke"}
    named = Counter(str(task["name"]) for task in final.values())
    findings += [f"key {name} made {n} tasks" for name, n in sorted(named.items()) if n > 1]
    findings += [f"nobody asked for {name}" for name in sorted(named.keys() - invoked)]
    for task_id, task in sorted(final.items()):
        known = acknowledged.get(str(task["name"]), {task_id})
        if task_id not in known:
            findings.append(f"key {task['name']} was answered with another task than {task_id}")
    return findings
