"""Node agents as real processes against a real control plane."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import wasmtime

from support.node_cluster import FAST, Cluster, eventually

ADD = wasmtime.wat2wasm(
    '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'
)
# Counts down; about a second for 400 million rounds, which fit the default fuel.
COUNT = wasmtime.wat2wasm(
    '(module (func (export "count") (param i64) (result i64) loop $again'
    " local.get 0 i64.const 1 i64.sub local.tee 0 i64.const 0 i64.ne br_if $again end"
    " local.get 0))"
)
TRAPS = wasmtime.wat2wasm('(module (func (export "trap") unreachable))')
# Copies the public input to the output in pieces of 64 KiB.
COPY_TEXT = """(module
      (import "vcp" "input_len" (func $len (param i32) (result i32)))
      (import "vcp" "input_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "vcp" "output_write" (func $write (param i32 i32)))
      (memory (export "memory") 1)
      (func (export "run") (local $at i32) (local $got i32)
        loop $again
          (local.set $got
            (call $read (i32.const 0) (i32.const 0) (local.get $at) (i32.const 65536)))
          (call $write (i32.const 0) (local.get $got))
          (local.set $at (i32.add (local.get $at) (local.get $got)))
          (br_if $again (i32.lt_u (local.get $at) (call $len (i32.const 0))))
        end))"""
COPY = wasmtime.wat2wasm(COPY_TEXT)
# The same after about a second and a half of counting.
SLOW_COPY = wasmtime.wat2wasm(
    COPY_TEXT.replace("(local $got i32)", "(local $got i32) (local $left i64)").replace(
        "        loop $again",
        "        (local.set $left (i64.const 400000000)) loop $count (br_if $count (i64.ne"
        " (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0))) end\n"
        "        loop $again",
    )
)
LONG_LEASE = ("--lease-ms", "30000", *FAST[2:])
ROUNDS_PER_SECOND = 400_000_000


def scalar(entry: str, *args: str) -> dict[str, object]:
    return {"interface": "scalar", "entry": entry, "args": list(args)}


def counting(seconds: float) -> tuple[bytes, dict[str, object], dict[str, object]]:
    """Work that takes about that long, with fuel enough."""
    rounds = int(ROUNDS_PER_SECOND * seconds)
    return bytes(COUNT), scalar("count", str(rounds)), {"limits": {"fuel": rounds * 10}}


@pytest.fixture(scope="module")
def quick_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("quick"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("patient"), *LONG_LEASE)
    yield made
    made.close()


@pytest.fixture
def cluster(quick_plane: Cluster, tmp_path: Path) -> Cluster:
    quick_plane.new_scene(tmp_path)
    return quick_plane


@pytest.fixture
def patient_cluster(patient_plane: Cluster, tmp_path: Path) -> Cluster:
    """Leases of half a minute: they outlive a restart of the control plane."""
    patient_plane.new_scene(tmp_path)
    return patient_plane


def spooled(cluster: Cluster, name: str) -> list[Path]:
    return list((cluster.folder(name) / "spool").glob("*.json"))


def cells_of(pid: int) -> list[psutil.Process]:
    """Descendants of the agent that run a guest now: below its helper, and using the processor."""
    agent = psutil.Process(pid)
    helpers = set(agent.children())
    found = []
    for child in agent.children(recursive=True):
        try:
            busy = child.cpu_times().user > 0.1 and child.status() == psutil.STATUS_RUNNING
        except psutil.NoSuchProcess:
            continue
        if busy and child not in helpers:
            found.append(child)
    return found


def test_a_node_joins_with_a_code_and_computes(cluster: Cluster) -> None:
    node = cluster.node("alpha", "--region", "eu-1")

    task = cluster.ended(cluster.submit(ADD, scalar("add", "2", "40")))

    assert task["result"] == {"values": [{"type": "i32", "value": "42"}]}
    assert task["attempts"][0]["node_id"] == cluster.id("alpha")
    assert task["attempts"][0]["energy_label"] in {"measured", "estimated"}
    node.logged("accepted")
    assert spooled(cluster, "alpha") == []
    info = cluster.info("alpha")
    assert info["region"] == "eu-1"
    assert info["engine"].startswith("wasmtime ")
    assert info["telemetry"]["cpu_percent"] is not None


def test_bandwidth_and_latency_are_measured_and_reach_the_control_plane(cluster: Cluster) -> None:
    cluster.node("alpha")

    def measured() -> bool:
        telemetry = cluster.info("alpha")["telemetry"] or {}
        names = ("upload_mbps", "download_mbps", "latency_ms")
        return all(telemetry.get(name) is not None for name in names)

    eventually("complete telemetry", measured)
    info = cluster.info("alpha")
    assert info["capabilities"]["bandwidth_mbps"] > 10


def test_large_inputs_and_outputs_travel_as_blobs(cluster: Cluster) -> None:
    cluster.node("alpha")
    data = random.Random(7).randbytes(9 * 1024 * 1024 + 17)
    digest = cluster.upload(data)

    task_id = cluster.submit(COPY, {"interface": "bytes", "input": {"digest": digest}})
    task = cluster.ended(task_id, 60)

    assert task["state"] == "completed", task
    assert task["output"]["digest"] == digest
    output = cluster.api.get(f"/tasks/{task_id}/output").content
    assert hashlib.sha256(output).hexdigest() == digest
    eventually("empty outputs", lambda: not list((cluster.folder("alpha") / "outputs").iterdir()))


def test_a_module_is_fetched_once_and_damage_in_the_cache_is_noticed(cluster: Cluster) -> None:
    cluster.node("alpha")
    padding = b"\x00\x81\x80\x08\x01x" + bytes(0x20000 - 1)  # a custom section of 128 KiB
    module = bytes(ADD) + padding
    assert cluster.ended(cluster.submit(module, scalar("add", "1", "1")))["state"] == "completed"
    (cached,) = [p for p in (cluster.folder("alpha") / "cache").iterdir() if not p.suffix]
    first = cached.stat().st_ino
    assert cluster.ended(cluster.submit(module, scalar("add", "1", "2")))["state"] == "completed"
    assert cached.stat().st_ino == first

    cached.write_bytes(bytes(ADD) + padding[:-1] + b"!")

    assert cluster.ended(cluster.submit(module, scalar("add", "1", "3")))["state"] == "completed"
    assert hashlib.sha256(cached.read_bytes()).hexdigest() == cached.name


def test_a_trap_is_a_result_and_a_run_without_end_is_a_failure(cluster: Cluster) -> None:
    cluster.node("alpha")

    trapped = cluster.ended(cluster.submit(TRAPS, scalar("trap")))
    module, inputs, more = counting(3600)
    more["limits"] = {"fuel": 10**12, "wall_ms": 500}
    endless = cluster.ended(cluster.submit(module, inputs, max_attempts=1, **more))

    assert (trapped["state"], trapped["reason"]) == ("failed", "trap")
    assert trapped["attempts"][0]["fuel_used"] is not None
    assert endless["state"] == "failed"
    assert endless["attempts"][0]["reason"] == "wall_clock_exceeded"


def test_a_task_beyond_the_owners_memory_is_not_run(cluster: Cluster) -> None:
    cluster.node("alpha", "--memory-gb", "1")

    limits = {"memory_bytes": 2 * 1024**3}
    task = cluster.ended(
        cluster.submit(ADD, scalar("add", "1", "1"), limits=limits, max_attempts=1)
    )

    assert task["state"] == "failed"
    assert task["attempts"][0]["reason"] == "node_error"
    assert "the owner lends 1073741824" in task["attempts"][0]["detail"]


def test_work_starts_within_milliseconds_of_its_grant(cluster: Cluster) -> None:
    cluster.node("alpha")
    waits = []
    for number in range(20):
        task = cluster.ended(cluster.submit(ADD, scalar("add", "1", str(number))))
        attempt = task["attempts"][0]
        waits.append(attempt["started_at_ms"] - attempt["granted_at_ms"])

    waits.sort()
    # A heartbeat would come only after up to 500 ms: 250 ms on average.
    assert waits[10] < 100, waits


def test_a_cancelled_task_kills_its_cell(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    module, inputs, more = counting(25)
    task_id = cluster.submit(module, inputs, **more)
    cells = eventually("running cell", lambda: cells_of(node.pid))

    cluster.api.post(f"/tasks/{task_id}/cancel").raise_for_status()

    node.logged("the task was cancelled")
    _, alive = psutil.wait_procs(cells, timeout=3)
    assert alive == []


def test_a_killed_agent_s_work_finishes_elsewhere(cluster: Cluster) -> None:
    victim = cluster.node("alpha")
    module, inputs, more = counting(8)
    task_id = cluster.submit(module, inputs, **more)
    eventually("running cell", lambda: cells_of(victim.pid))
    cluster.node("beta")

    victim.send(signal.SIGKILL)
    task = cluster.ended(task_id, 40)

    assert task["state"] == "completed"
    by_state = {attempt["node_id"]: attempt["state"] for attempt in task["attempts"]}
    assert by_state == {cluster.id("alpha"): "expired", cluster.id("beta"): "completed"}


def test_no_cell_outlives_a_killed_agent(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    module, inputs, more = counting(25)
    cluster.submit(module, inputs, **more)
    eventually("running cell", lambda: cells_of(node.pid))
    family = psutil.Process(node.pid).children(recursive=True)

    node.send(signal.SIGKILL)
    node.wait()

    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_a_restarted_agent_takes_up_the_work_that_it_had_claimed(patient_cluster: Cluster) -> None:
    cluster = patient_cluster
    node = cluster.node("alpha")
    module, inputs, more = counting(2)
    task_id = cluster.submit(module, inputs, **more)
    eventually("running cell", lambda: cells_of(node.pid))
    node.send(signal.SIGKILL)
    node.wait()

    again = cluster.node("alpha", join=False)
    task = cluster.ended(task_id)

    again.logged("taking up claimed work again")
    assert [attempt["epoch"] for attempt in task["attempts"]] == [1]
    assert task["state"] == "completed"


def test_a_result_outlives_the_control_plane_s_absence(patient_cluster: Cluster) -> None:
    cluster = patient_cluster
    node = cluster.node("alpha")
    module, inputs, more = counting(1)
    task_id = cluster.submit(module, inputs, **more)
    cluster.in_state(task_id, "running")

    cluster.plane.kill()
    node.logged("finished")
    eventually("spooled result", lambda: spooled(cluster, "alpha"))
    node.logged("cannot reach the control plane")
    cluster.start_plane()
    task = cluster.ended(task_id)

    assert task["state"] == "completed"
    assert [attempt["epoch"] for attempt in task["attempts"]] == [1]
    eventually("empty spool", lambda: not spooled(cluster, "alpha"))
    node.logged("connected again")


def test_a_result_outlives_the_control_plane_and_the_agent(patient_cluster: Cluster) -> None:
    cluster = patient_cluster
    node = cluster.node("alpha")
    data = random.Random(8).randbytes(2 * 1024 * 1024)
    inputs = {"interface": "bytes", "input": {"digest": cluster.upload(data)}}
    task_id = cluster.submit(SLOW_COPY, inputs)
    eventually("running cell", lambda: cells_of(node.pid))
    cluster.plane.kill()
    eventually("spooled result", lambda: spooled(cluster, "alpha"))
    node.send(signal.SIGKILL)
    node.wait()

    cluster.start_plane()
    again = cluster.node("alpha", join=False)
    task = cluster.ended(task_id)

    again.logged("unsent results of an earlier run")
    assert task["state"] == "completed"
    assert task["output"]["digest"] == hashlib.sha256(data).hexdigest()
    assert [attempt["epoch"] for attempt in task["attempts"]] == [1]


def test_a_node_logs_in_again_when_its_token_is_no_longer_good(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    cluster.plane.kill()
    (cluster.plane_folder / "keys" / "tokens.json").unlink()

    cluster.start_plane()
    cluster.log_in()

    assert cluster.ended(cluster.submit(ADD, scalar("add", "1", "1")))["state"] == "completed"
    node.logged("accepted")


def test_a_signal_drains_and_running_work_is_finished(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    module, inputs, more = counting(1.5)
    task_id = cluster.submit(module, inputs, **more)
    eventually("running cell", lambda: cells_of(node.pid))

    node.send(signal.SIGTERM)

    assert node.wait(30) == 0
    assert cluster.task(task_id)["state"] == "completed"
    assert cluster.info("alpha")["status"] == "draining"
    cluster.node("alpha", join=False)
    assert cluster.info("alpha")["status"] == "online"


def test_a_second_signal_gives_running_work_back_at_once(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    module, inputs, more = counting(25)
    task_id = cluster.submit(module, inputs, **more)
    eventually("running cell", lambda: cells_of(node.pid))

    node.send(signal.SIGTERM)
    node.logged("draining")
    began = time.monotonic()
    node.send(signal.SIGINT)

    assert node.wait(10) == 0
    assert time.monotonic() - began < 5
    assert cluster.task(task_id)["attempts"][0]["reason"] == "node_drained"


def test_an_agent_that_cannot_reach_the_control_plane_still_ends_in_order(
    cluster: Cluster,
) -> None:
    node = cluster.node("alpha")
    cluster.plane.kill()
    node.logged("cannot reach the control plane")

    node.send(signal.SIGTERM)

    assert node.wait(15) == 0


def test_run_waits_for_a_control_plane_that_is_away(cluster: Cluster) -> None:
    cluster.node("alpha").kill()
    cluster.plane.kill()
    node = cluster.start_node("alpha", join=False)
    node.logged("cannot reach the control plane")

    cluster.start_plane()

    node.logged("node ready", 30)


def test_a_liar_s_result_is_well_formed_signed_and_wrong(cluster: Cluster) -> None:
    cluster.node("liar", "--chaos", "wrong-result")

    task = cluster.ended(cluster.submit(ADD, scalar("add", "2", "40")))

    assert task["state"] == "completed"
    assert task["result"] == {"values": [{"type": "i32", "value": "43"}]}


def test_an_agent_that_crashes_after_claiming_loses_nothing(cluster: Cluster) -> None:
    crashing = cluster.node("alpha", "--chaos", "crash-after-claim")
    task_id = cluster.submit(ADD, scalar("add", "2", "40"))
    assert crashing.wait(20) == -signal.SIGKILL

    cluster.node("beta")

    assert cluster.ended(task_id)["state"] == "completed"


def test_outside_the_owner_s_hours_no_work_is_taken(cluster: Cluster) -> None:
    now = time.localtime()
    start, stop = (now.tm_hour + 2) % 24, (now.tm_hour + 3) % 24
    node = cluster.node("alpha", "--hours", f"{start}-{stop}")
    node.logged("outside_hours")

    task_id = cluster.submit(ADD, scalar("add", "2", "40"))
    eventually(
        "refusal at the control plane",
        lambda: cluster.info("alpha")["refusing"] == ["outside_hours"],
    )
    time.sleep(2)

    assert cluster.task(task_id)["state"] == "pending"
    cluster.node("beta")
    assert cluster.ended(task_id)["attempts"][-1]["node_id"] == cluster.id("beta")


def test_one_data_folder_has_one_agent(cluster: Cluster) -> None:
    cluster.node("alpha")

    second = cluster.start_node("alpha", join=False)

    assert second.wait() == 4
    assert "an agent with process id" in second.log


@pytest.mark.parametrize(("code", "problem"), [("wrong-code", "refused"), ("", "join code")])
def test_a_wrong_or_missing_code_is_explained(cluster: Cluster, code: str, problem: str) -> None:
    done = run_agent(cluster.url, cluster.folder("alpha"), code)

    assert done.returncode == 2
    assert problem in done.stderr
    assert "ambient-vcp node invite" in done.stderr
    assert "Traceback" not in done.stderr


def test_joining_where_nobody_listens_ends_with_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run_agent(url, tmp_path / "alpha", "some-code")

    assert done.returncode == 2
    assert "no connection to the control plane" in done.stderr
    assert "Traceback" not in done.stderr


def run_agent(url: str, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ambient_vcp.apps.node", "join", url, "--data-dir", str(folder)],
        env={**os.environ, "AMBIENT_VCP_JOIN_CODE": code},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_secret_reaches_the_log(cluster: Cluster) -> None:
    code = cluster.code()
    node = cluster.start_node("alpha", "--code", code)
    node.logged("node ready", 30)
    cluster.ended(cluster.submit(ADD, scalar("add", "2", "40")))
    key_text = (cluster.folder("alpha") / "node.key").read_text()

    assert code not in node.log
    assert "Bearer" not in node.log
    assert not any(line in node.log for line in key_text.splitlines() if "KEY" not in line)


def test_the_owner_sees_what_runs_at_this_machine_only(cluster: Cluster) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster.node("alpha", "--observability", "--observability-port", str(port))
    page = f"http://127.0.0.1:{port}/node/status"
    module, inputs, more = counting(2)

    idle = httpx.get(page, trust_env=False).json()
    cluster.submit(module, inputs, **more)

    assert idle["current_workload"] == "idle"
    assert idle["trust_summary"] is None
    assert set(idle["resources"]) >= {"cpu_percent", "memory_percent", "temperature_c"}
    eventually(
        "workload",
        lambda: httpx.get(page, trust_env=False).json()["current_workload"] == "compute",
    )
    eventually(
        "health",
        lambda: httpx.get(page, trust_env=False).json()["health_score"] is not None,
    )
    foreign = httpx.get(page, headers={"Host": "evil.example.org"}, trust_env=False)
    assert foreign.status_code == 403


def test_doctor_finds_a_joined_node_in_order_and_a_missing_control_plane(
    cluster: Cluster,
) -> None:
    cluster.node("alpha").kill()
    command = [sys.executable, "-m", "ambient_vcp.apps.node", "doctor", "--json"]
    command += ["--data-dir", str(cluster.folder("alpha"))]

    well = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    cluster.plane.kill()
    ill = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    checks = {check["check"]: check for check in json.loads(well.stdout)["checks"]}
    assert well.returncode == 0, well.stdout + well.stderr
    assert checks["login"]["grade"] == "ok"
    assert checks["sandbox"]["grade"] == "ok"
    assert checks["clock"]["grade"] == "ok"
    assert ill.returncode == 1
    failed = [c["check"] for c in json.loads(ill.stdout)["checks"] if c["grade"] == "fail"]
    assert "control plane" in failed


def test_an_idle_agent_is_small(cluster: Cluster) -> None:
    node = cluster.node("alpha")
    cluster.ended(cluster.submit(ADD, scalar("add", "2", "40")))
    time.sleep(2)

    resident = psutil.Process(node.pid).memory_info().rss

    assert resident <= 80 * 1000 * 1000, f"{resident / 1e6:.1f} MB"
    modules = Path(f"/proc/{node.pid}/maps").read_text()
    assert "wasmtime" not in modules
