"""The newcomer's path by hand, and the client's, against the cluster that `up` started."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ambient_vcp import AsyncClient
from ambient_vcp.apps.cli.local_cluster import free_port
from support.terminal import CLI, EXAMPLES, ROOT, Terminal, stop, wait_for_text

HELLO = str(EXAMPLES / "hello" / "hello.wasm")
SLOW = str(EXAMPLES / "misbehaving" / "slow.wasm")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run_task(terminal: Terminal, *arguments: str) -> dict[str, object]:
    done = terminal.run("task", "run", *arguments, "-o", "json")
    assert done.code == 0, done.err
    return dict(done.data())


def test_a_task_is_run_and_its_receipt_verified(terminal: Terminal) -> None:
    done = terminal.run("task", "run", HELLO, "--invoke", "add", "2", "3", "--wait")
    assert done.code == 0, done.err
    fields = dict(line.split(None, 1) for line in done.out.splitlines())
    assert fields["result"].strip() == "5"
    assert fields["class"].startswith("signed")
    receipt = fields["receipt"].strip()
    verified = terminal.run("verify", receipt)
    assert verified.code == 0, verified.out + verified.err
    assert "VALID" in verified.out
    assert "pinned it" in verified.out


def test_negative_arguments_and_quiet_output(terminal: Terminal) -> None:
    done = terminal.run("task", "run", HELLO, "--invoke", "add", "-2", "-3", "--quiet")
    assert done.code == 0
    task_id = done.out.strip()
    shown = terminal.run("task", "get", task_id, "-o", "json").data()
    assert shown["result"]["values"] == [{"type": "i32", "value": "-5"}]


def test_a_bytes_program_gives_the_same_picture_as_a_local_check(
    terminal: Terminal, tmp_path: Path
) -> None:
    module = str(EXAMPLES / "image-filter" / "image_filter.wasm")
    picture = str(EXAMPLES / "image-filter" / "astronaut.png")
    saved = tmp_path / "drawing.png"
    receipt = tmp_path / "receipt.json"
    run_task(
        terminal, module, "--input", picture, "--output", str(saved), "--receipt", str(receipt)
    )
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    checked = terminal.run("module", "check", module, "--bytes", "--input", picture, "-o", "json")
    assert checked.data()["trial"]["output_digest"] == digest
    assert json.loads(receipt.read_bytes())["body"]["outcome"]["output_digest"] == digest


def test_an_input_larger_than_a_request_goes_through_blobs(
    terminal: Terminal, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    book.write_bytes(b"the quick brown fox\n" * 500_000)
    module = str(EXAMPLES / "word-count" / "word_count.wasm")
    done = terminal.run("task", "run", module, "--wasi", "--stdin", str(book))
    assert done.code == 0, done.err
    assert "words 2000000" in done.out
    assert f"bytes {book.stat().st_size}" in done.out


def test_an_empty_input_is_an_input(terminal: Terminal, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    module = str(EXAMPLES / "word-count" / "word_count.wasm")
    done = terminal.run("task", "run", module, "--wasi", "--stdin", str(empty))
    assert done.code == 0, done.err
    assert "bytes 0" in done.out


def test_a_program_of_the_catalogue_answers_typed(terminal: Terminal) -> None:
    done = terminal.run(
        *("task", "run", "--program", "sort", "--input-json", '{"items": [3, -1, 2]}')
    )
    assert done.code == 0, done.err
    assert "[-1, 2, 3]" in done.out


def test_a_repeated_idempotency_key_is_one_task(terminal: Terminal) -> None:
    line = ("task", "submit", HELLO, "--invoke", "add", "1", "1", "--idempotency-key", "k-1", "-q")
    first, second = terminal.run(*line), terminal.run(*line)
    assert first.code == second.code == 0
    assert first.out == second.out


def test_health_ticks_only_what_it_looked_at(terminal: Terminal) -> None:
    done = terminal.run("health", "-o", "json")
    findings = {item["part"]: item["ok"] for item in done.data()}
    assert done.code == 0, done.out
    assert set(findings.values()) == {True}
    assert {"database", "blobs", "log signature", "sandbox here", "nodes"} <= set(findings)


def test_the_whole_log_is_consistent_also_offline(terminal: Terminal, tmp_path: Path) -> None:
    saved = tmp_path / "log.json"
    assert terminal.run("log", "verify", "--save", str(saved)).code == 0
    assert terminal.run("log", "verify", str(saved)).code == 0
    log = json.loads(saved.read_text())
    log["leaves"][0], log["leaves"][1] = log["leaves"][1], log["leaves"][0]
    saved.write_text(json.dumps(log))
    refused = terminal.run("log", "verify", str(saved))
    assert refused.code == 1
    assert "REFUSED" in refused.out


def test_the_profile_is_private_and_masked(terminal: Terminal) -> None:
    path = terminal.home / "vcp" / "config" / "profiles" / "local.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = json.loads(path.read_text())["token"]
    assert token not in terminal.run("profile", "show").out
    assert token in terminal.run("profile", "show", "--show-token").out


def test_a_second_up_on_the_same_folder_says_so(terminal: Terminal) -> None:
    done = terminal.run("up", "--port", "0")
    assert done.code == 1
    assert "already running" in done.err
    assert "hint:" in done.err


def test_a_second_machine_joins_with_a_code_that_is_good_once(
    terminal: Terminal, tmp_path: Path
) -> None:
    code = terminal.run("node", "invite", "-q").out.strip()
    endpoint = terminal.run("profile", "show", "-o", "json").data()["endpoint"]
    line = ("node", "join", endpoint, "--code", code)
    here = ("--data-dir", str(tmp_path / "a"), "--id", "second-machine")
    with terminal.started(*line, *here, log=tmp_path / "join.log"):
        wait_until_online(terminal, "second-machine")
        again = terminal.run(*line, "--data-dir", str(tmp_path / "b"), "--id", "thief")
        assert again.code != 0
        assert "code" in again.err


def test_the_references_node_line_joins_and_works(terminal: Terminal, tmp_path: Path) -> None:
    line = ("node", "--id", "by-name", "--region", "eu", "--node-type", "compute")
    with terminal.started(*line, log=tmp_path / "node.log"):
        wait_until_online(terminal, "by-name")
        shown = terminal.run("info", "--id", "by-name", "-o", "json").data()
        assert (shown["region"], shown["node_type"]) == ("eu", "compute")
        assert shown["public_key"]


def test_the_references_coordinator_line_runs_a_control_plane(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    log = tmp_path / "coordinator.log"
    with terminal.started(
        *("coordinator", "--cluster-id", "blue", "--strategy", "astrology", "--port", "0"), log=log
    ) as process:
        wait_for_text(log, "listening on ", process)
        said = log.read_text()
        endpoint = said.split("listening on ")[1].split()[0]
        with httpx.Client(trust_env=False) as client:
            about = client.get(f"{endpoint}/api/v1/control-plane").json()
        assert "unknown strategy 'astrology'" in said
        assert (about["cluster"], about["strategy"]) == ("blue", "weighted")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def wait_until_online(terminal: Terminal, node_id: str) -> None:
    for _ in range(100):
        done = terminal.run("node", "show", node_id, "-o", "json")
        if done.code == 0 and done.data()["status"] == "online":
            return
        time.sleep(0.2)
    raise AssertionError(done.out + done.err)


def test_a_timeout_leaves_the_task_at_work(terminal: Terminal) -> None:
    line = ("task", "run", SLOW, "--invoke", "spin", "900000000000", "--limit", "fuel=900G")
    done = terminal.run(*line, "--timeout", "1", "-o", "json")
    assert done.code == 3
    failure = done.error()
    assert failure["code"] == "timed_out"
    task_id = failure["details"]["task_id"]
    assert terminal.run("task", "cancel", task_id).code == 0
    assert terminal.run("task", "get", task_id, "-o", "json").data()["status"] == "cancelled"


def test_ctrl_c_while_waiting_says_how_to_come_back(terminal: Terminal, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    line = ("task", "run", SLOW, "--invoke", "spin", "900000000000", "--limit", "fuel=900G")
    with terminal.started(*line, "--name", "interrupted", log=log) as process:
        task_id = ""
        for _ in range(200):
            listed = terminal.run("task", "list", "-o", "json").data()
            if task_id := {task["name"]: task["task_id"] for task in listed}.get("interrupted", ""):
                break
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert f"task get {task_id} --wait" in log.read_text()
    assert f"task cancel {task_id}" in log.read_text()
    assert terminal.run("task", "cancel", task_id).code == 0


def test_the_clients_do_what_the_command_line_does(terminal: Terminal) -> None:
    script = f"""
import asyncio
from ambient_vcp import AsyncClient, Client
with Client() as client:
    handle = client.submit({HELLO!r}, invoke="add", args=[-2, 3])
    assert handle.result(timeout=60).value == 1
    assert handle.status == "completed"
    assert client.run(program="sort", input={{"items": [2, 1]}})["items"] == [1, 2]
    print(handle.id)
async def main():
    async with AsyncClient() as client:
        handle = await client.submit({HELLO!r}, invoke="fib", args=[20])
        print((await handle.result(timeout=60)).value)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=terminal.variables(),
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "6765"


def test_up_ends_with_its_children_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    log = tmp_path / "up.log"
    keys = []
    for port in ("0", str(free_port(0))):
        with terminal.started("up", "--port", port, log=log) as process:
            wait_for_text(log, "Ready.", process)
            keys.append(terminal.run("node", "show", "node-1", "-o", "json").data()["public_key"])
            keys.append(terminal.run("profile", "show", "-o", "json").data()["public_key"])
            done = terminal.run("task", "run", HELLO, "--invoke", "add", "1", "2")
            assert done.code == 0, done.err
            assert stop(process) == 0, log.read_text()
        assert not children_of(tmp_path)
    assert keys[:2] == keys[2:]


def test_a_killed_up_takes_its_children_with_it(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    log = tmp_path / "up.log"
    with terminal.started("up", "--port", "0", log=log) as process:
        wait_for_text(log, "Ready.", process)
        assert children_of(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 60
        while left := children_of(tmp_path):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


def children_of(folder: Path) -> list[str]:
    """Command lines of running programs that work in this folder."""
    found = []
    for process in list(Path("/proc").iterdir()):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found


def test_the_help_is_there_at_once(terminal: Terminal) -> None:
    """With byte code, as every second start has it.

    Processor time is judged: it hardly waits for anything else, and time on the wall would judge
    what else this machine does.
    """
    variables = terminal.variables(PYTHONPYCACHEPREFIX=str(terminal.home / "bytecode"))
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*CLI, "--help"], check=True, capture_output=True, env=variables, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.15, seconds


def test_asyncio_clients_can_wait_for_many_tasks_at_once(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMBIENT_VCP_HOME", str(terminal.home / "vcp"))

    async def ask() -> list[object]:
        async with AsyncClient() as client:
            handles = [await client.submit(HELLO, invoke="add", args=[n, n]) for n in range(8)]
            return list(await asyncio.gather(*(handle.result(timeout=100) for handle in handles)))

    results = asyncio.run(ask())
    assert [result.value for result in results] == [2 * n for n in range(8)]  # type: ignore[attr-defined]  # scalars
