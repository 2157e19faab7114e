"""Finished results on disk: there completely, or not at all, whatever dies when."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from ambient_vcp.apps.node.disk.spool import Entry, Spool, batch_of
from ambient_vcp.domain.ids import NodeId, TaskId
from ambient_vcp.domain.tasks.spec import LeaseRef

REF = LeaseRef(task_id=TaskId("task-1"), slot=0, epoch=3, node_id=NodeId("node-a"))
OUTPUT = b"large output " * 1000

# Keeps one result with a large output and, when told so, acknowledges it. Dies by SIGKILL just
# before its N-th durable operation, counted over every call that changes the disk.
CHILD = """
import os, signal, sys
from pathlib import Path
root, fatal_step, acknowledge = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "ack"
from ambient_vcp.apps.node.disk.spool import Entry, Spool
from tests_child import REF, an_entry, OUTPUT
step = 0
def fatal(call):
    def counted(*args, **kwargs):
        global step
        step += 1
        if step == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return counted
produced = root / "work-output"
produced.write_bytes(OUTPUT)
for name in ("open", "fsync", "replace", "rename", "unlink"):
    setattr(os, name, fatal(getattr(os, name)))
spool = Spool(root / "spool", root / "outputs")
spool.keep_output(REF, produced)
spool.add(an_entry())
os.write(1, b"kept\\n")
if acknowledge:
    spool.acknowledged(REF)
    os.write(1, b"gone\\n")
os.write(1, f"steps {step}\\n".encode())
"""


def an_entry(number: int = 1, *, large: bool = True, text: str = "x") -> Entry:
    return Entry(
        task_id=f"task-{number}",
        slot=0,
        epoch=3,
        node_id="node-a",
        message={"text": text},
        output_digest=hashlib.sha256(OUTPUT).hexdigest() if large else "",
        output_size_bytes=len(OUTPUT) if large else 0,
        finished_at_ms=number,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("spool", "outputs"):
        (tmp_path / name).mkdir()
    return tmp_path


def a_spool(root: Path) -> Spool:
    return Spool(root / "spool", root / "outputs")


def die_at(root: Path, step: int, mode: str) -> str:
    (root / "tests_child.py").write_text(
        f"from importlib.util import spec_from_file_location, module_from_spec\n"
        f"spec = spec_from_file_location('spool_tests', {str(Path(__file__))!r})\n"
        f"module = module_from_spec(spec)\n"
        f"spec.loader.exec_module(module)\n"
        f"REF, an_entry, OUTPUT = module.REF, module.an_entry, module.OUTPUT\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(root), str(step), mode],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode in {0, -9}, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", ["keep", "ack"])
def test_a_kill_before_any_disk_operation_leaves_all_or_nothing(root: Path, mode: str) -> None:
    step, seen_states = 0, set()
    while True:
        step += 1
        said = die_at(root, step, mode)
        spool = a_spool(root)
        spool.recover()
        present = REF in spool
        if "kept" in said and mode == "keep":
            assert present, f"a kept result was lost by a kill at operation {step}"
        if "gone" in said:
            assert not present, f"an acknowledged result came back after a kill at {step}"
        if present:
            assert spool.pending() == (an_entry(),)
            assert spool.output_path(REF).read_bytes() == OUTPUT
        else:
            assert list((root / "outputs").iterdir()) == []
        seen_states.add((present, "kept" in said, "gone" in said))
        if "steps" in said:
            break
        for path in (*(root / "spool").iterdir(), *(root / "outputs").iterdir()):
            path.unlink()
    # Keeping a result is at least: open, fsync, rename of the output and of the entry.
    assert step > 8
    assert (True, True, False) in seen_states
    assert (False, False, False) in seen_states


def test_a_damaged_entry_is_set_aside_and_the_others_are_kept(root: Path) -> None:
    spool = a_spool(root)
    spool.add(an_entry(1, large=False))
    spool.add(an_entry(2, large=False))
    victim = min((root / "spool").glob("*.json"))
    victim.write_bytes(victim.read_bytes()[:20])

    again = a_spool(root)
    recovered = again.recover()

    assert recovered.entries == 1
    assert recovered.damaged == (victim.name,)
    assert victim.with_suffix(".damaged").exists()


def test_entries_come_back_in_the_order_in_which_they_were_finished(root: Path) -> None:
    spool = a_spool(root)
    for number in (3, 1, 2):
        spool.add(an_entry(number, large=False))

    again = a_spool(root)
    again.recover()

    assert [entry.task_id for entry in again.pending()] == ["task-1", "task-2", "task-3"]


def test_an_acknowledged_entry_is_gone_from_memory_and_disk(root: Path) -> None:
    spool = a_spool(root)
    spool.add(an_entry(large=False))

    spool.acknowledged(REF)
    spool.acknowledged(REF)

    assert len(spool) == 0
    assert list((root / "spool").iterdir()) == []


def test_a_task_id_from_outside_cannot_leave_the_folder(root: Path) -> None:
    spool = a_spool(root)
    entry = Entry(
        task_id="../../../etc/passwd", slot=0, epoch=1, node_id="n", message={}, finished_at_ms=1
    )

    spool.add(entry)

    assert [path.parent for path in (root / "spool").iterdir()] == [root / "spool"]


def test_an_entry_that_the_disk_refused_is_still_sent(root: Path) -> None:
    spool = Spool(root / "not there", root / "outputs")

    with pytest.raises(OSError, match="No such file"):
        spool.add(an_entry(large=False))

    assert REF in spool


def test_a_batch_stays_below_the_size_of_a_request_and_is_never_empty() -> None:
    entries = tuple(an_entry(number, large=False, text="x" * 400) for number in range(10))

    assert len(batch_of(entries, count_max=64, bytes_max=1_000)) == 2
    assert len(batch_of(entries, count_max=4, bytes_max=1_000_000)) == 4
    assert len(batch_of(entries, count_max=64, bytes_max=10)) == 1
