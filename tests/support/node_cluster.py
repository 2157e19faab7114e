"""A real control plane and real node agents, each a process of its own."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

START_SECONDS_MAX = 30.0
ENDED = {"completed", "failed", "cancelled"}
FAST = ("--lease-ms", "4000", "--sweep-ms", "250", "--heartbeat-ms", "500", "--bcrypt-cost", "4")


def eventually(what: str, found: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true answer of ``found``; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"within {seconds} s there was no {what}")


class Process:
    """One program with its log in a file."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log_path = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def logged(self, text: str, seconds: float = 20.0) -> str:
        """The first log line that holds ``text``."""

        def line() -> str:
            return next((line for line in self.log.splitlines() if text in line), "")

        try:
            return str(eventually(f"log line with {text!r}", line, seconds))
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is:\n{self.log}") from None


class Cluster:
    """Starts and ends processes; everything lives below one folder."""

    def __init__(self, root: Path, *settings: str) -> None:
        self._plane_root = root
        self._root = root
        self._scene = 0
        self._settings = settings or FAST
        self._nodes: list[Process] = []
        self._port = 0
        self.start_plane()
        self.api = httpx.Client(base_url=f"{self.url}/api/v1", timeout=20, trust_env=False)
        try:
            self.log_in()
        except httpx.HTTPError as error:
            self.close()
            raise AssertionError(f"{error}; the log is:\n{self.plane.log}") from None

    def log_in(self) -> None:
        """Log in, with a new account where there is none."""
        account = {"username": "tester", "password": "a long enough passphrase 1"}
        registered = self.api.post("/auth/register", json=account)
        if registered.status_code != httpx.codes.CONFLICT:
            registered.raise_for_status()
        login = self.api.post("/auth/login", json=account).raise_for_status().json()
        self.api.headers["Authorization"] = f"Bearer {login['access_token']}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def plane_folder(self) -> Path:
        return self._plane_root / "plane"

    def new_scene(self, root: Path) -> None:
        """Clear the stage: earlier tasks and nodes end, later nodes live below ``root``."""
        if not self.plane.is_alive:
            self.start_plane()
        for process in self._nodes:
            process.kill()
        for task in self.api.get("/tasks?limit=200").raise_for_status().json()["tasks"]:
            if task["state"] not in ENDED:
                self.api.post(f"/tasks/{task['task_id']}/cancel").raise_for_status()
        for node in self.api.get("/nodes").raise_for_status().json()["nodes"]:
            self.api.delete(f"/nodes/{node['node_id']}").raise_for_status()
        self._nodes.clear()
        self._root = root
        self._scene += 1

    def id(self, name: str) -> str:
        """The node id behind a name of this scene; ids of deleted nodes are not used again."""
        return f"{name}-{self._scene}"

    def info(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/nodes/{self.id(name)}").raise_for_status().json()
        return found

    def start_plane(self) -> None:
        """Start the control plane, on the port it had before."""
        log = self._plane_root / "plane.log"
        log.write_bytes(b"")
        arguments = ["ambient_vcp.apps.control_plane", "serve", "--port", str(self._port)]
        arguments += ["--data-dir", str(self.plane_folder), *self._settings]
        self.plane = Process(arguments, log, {})
        line = self.plane.logged("listening on", START_SECONDS_MAX)
        found = re.search(r":(\d+)", line.partition("listening on http")[2])
        assert found is not None, line
        self._port = int(found[1])

    def node(self, name: str, *options: str, join: bool = True) -> Process:
        """Start an agent and wait until it is ready."""
        process = self.start_node(name, *options, join=join)
        process.logged("node ready", START_SECONDS_MAX)
        return process

    def start_node(self, name: str, *options: str, join: bool = True) -> Process:
        log = self._root / f"{name}-{len(self._nodes)}.log"
        arguments = ["ambient_vcp.apps.node"]
        environment = {}
        if join:
            arguments += ["join", self.url, "--id", self.id(name)]
            environment["AMBIENT_VCP_JOIN_CODE"] = self.code()
        else:
            arguments += ["run"]
        arguments += ["--data-dir", str(self.folder(name)), *options]
        process = Process(arguments, log, environment)
        self._nodes.append(process)
        return process

    def folder(self, name: str) -> Path:
        return self._root / name

    def code(self) -> str:
        return str(self.api.post("/node-invites").raise_for_status().json()["code"])

    def submit(self, module: bytes, inputs: dict[str, Any], **more: Any) -> str:
        body = {
            "task_type": "wasm_execution",
            "wasm_module": base64.b64encode(module).decode(),
            "inputs": inputs,
            "requirements": {"min_nodes": 1},
            **more,
        }
        answer = self.api.post("/tasks", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_id"])

    def upload(self, data: bytes) -> str:
        """Store a blob in chunks and return its digest."""
        digest = hashlib.sha256(data).hexdigest()
        sent = {"digest": digest, "size_bytes": len(data)}
        upload = self.api.post("/blobs/uploads", json=sent).raise_for_status().json()
        offset, chunk_bytes = upload["offset"], upload["chunk_bytes_max"]
        while offset < len(data):
            self.api.patch(
                f"/blobs/uploads/{upload['upload_id']}",
                content=data[offset : offset + chunk_bytes],
                headers={
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/octet-stream",
                },
            ).raise_for_status()
            offset += chunk_bytes
        return digest

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def ended(self, task_id: str, seconds: float = 30.0) -> dict[str, Any]:
        """The task when it is over."""

        def over() -> dict[str, Any] | None:
            task = self.task(task_id)
            return task if task["state"] in ENDED else None

        try:
            found: dict[str, Any] = eventually("end of the task", over, seconds)
        except AssertionError as error:
            logs = "\n".join(f"{each.log_path.name}:\n{each.log}" for each in self._nodes)
            raise AssertionError(f"{error}: {self.task(task_id)}\n{logs}") from None
        return found

    def in_state(self, task_id: str, state: str, seconds: float = 20.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            task = self.task(task_id)
            return task if task["state"] == state else None

        found: dict[str, Any] = eventually(f"task that is {state}", there, seconds)
        return found

    def close(self) -> None:
        for process in (*self._nodes, self.plane):
            process.kill()
        self.api.close()
