"""The demonstration, judged by its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TITLES = ("scalar", "bytes program", "wasi", "liar", "sigkill", "guests", "receipt")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_keeps_every_promise_and_reports_it(tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ambient_vcp.apps.cli", "demo"),
            *("--report", str(report_file), "--output-dir", str(tmp_path / "out")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=380,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(report_file.read_text())
    assert report["ok"] is True
    scenarios = report["scenarios"]
    for scenario, word in zip(scenarios, TITLES, strict=True):
        assert word in scenario["title"].lower()
        assert scenario["expectations"]
        assert all(each["ok"] for each in scenario["expectations"])
    assert (tmp_path / "out" / "drawing.png").read_bytes().startswith(b"\x89PNG")
    tasks = {task["name"]: task for scenario in scenarios for task in scenario["tasks"]}
    assert tasks["image filter"]["agreed"] == 3
    assert tasks["word count"]["agreed"] == 2
    verdicts = {a["node_id"]: a["verdict"] for a in tasks["image filter, liar"]["attempts"]}
    assert verdicts["node-liar"] == "disagreed"
    assert sorted(verdicts.values()) == ["agreed", "agreed", "disagreed"]
    standing = scenarios[3]["figures"]["liar_reputation"]
    assert standing["after"]["score"] < standing["before"]["score"]
    figures = scenarios[4]["figures"]
    assert 0 < figures["recovery_s"] <= report["lease_s"] + report["sweep_s"] + figures["placing_s"]
    reasons = {tasks[name]["reason"] for name in ("loops forever", "grabs memory")}
    assert reasons == {"fuel_exhausted", "memory_exceeded"}
    assert tasks["imports forbidden"]["reason"] == "forbidden_import"
    receipts = [Path(path) for path in report["receipts"].values()]
    assert len(receipts) == len(tasks)
    assert all(json.loads(path.read_bytes())["signature"] for path in receipts)
    assert all(task["receipt_id"] for task in tasks.values())
    labels = {a["energy_label"] for task in tasks.values() for a in task["attempts"]}
    assert labels <= {"measured", "estimated", "unknown", None}
