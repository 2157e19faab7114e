"""A real control plane in a process of its own, and people and nodes that talk to it over HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ambient_vcp.adapters.ed25519.signer import Ed25519Signer
from ambient_vcp.wire.challenge import challenge_message

BASE = "/api/v1"
START_SEC = 60
PASSWORD = "correct horse battery"
HELLO = (Path(__file__).parents[2] / "examples/hello/hello.wasm").read_bytes()


class ControlPlaneProcess:
    """``python -m ambient_vcp.apps.control_plane serve`` on a data folder."""

    def __init__(self, data_dir: Path, *options: str, port: int = 0) -> None:
        self.data_dir = data_dir
        self._clients: list[httpx.Client] = []
        self.errors = data_dir.with_name(f"{data_dir.name}.log")
        with self.errors.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ambient_vcp.apps.control_plane",
                    "serve",
                    "--data-dir",
                    str(data_dir),
                    "--port",
                    str(port),
                    "--bcrypt-cost",
                    "4",
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            self.ready = self._wait()
        except BaseException:
            self.kill()
            raise
        self.url = str(self.ready["url"])

    def _wait(self) -> dict[str, Any]:
        path = self.data_dir / "control-plane.json"
        ends = time.monotonic() + START_SEC
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                break
            if path.exists():
                ready = json.loads(path.read_text())
                if ready["pid"] == self.process.pid:
                    return ready
            time.sleep(0.05)
        raise AssertionError(f"the control plane did not start:\n{self.log()}")

    def log(self) -> str:
        return self.errors.read_text()

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.Client(base_url=self.url + BASE, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.stop()

    def rss_bytes(self, what: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(what))
        return int(line.split()[1]) * 1024


@contextmanager
def running(data_dir: Path, *options: str) -> Iterator[ControlPlaneProcess]:
    process = ControlPlaneProcess(data_dir, *options)
    try:
        yield process
    finally:
        process.close()


@dataclass
class Person:
    """Somebody with an account."""

    plane: ControlPlaneProcess
    username: str
    user_id: str
    token: str
    api: httpx.Client = field(repr=False)


def new_person(plane: ControlPlaneProcess) -> Person:
    username = "user_" + os.urandom(6).hex()
    with plane.client() as public:
        made = public.post("/auth/register", json={"username": username, "password": PASSWORD})
        assert made.status_code == 201, made.text
        token = login(public, username)
    return Person(plane, username, made.json()["user_id"], token, plane.client(token))


def leave(person: Person) -> None:
    """Take this person's nodes and tasks away, so that nobody else's test meets them."""
    for node in person.api.get("/nodes?mine=true&limit=200").json()["nodes"]:
        person.api.delete(f"/nodes/{node['node_id']}")
    for state in ("pending", "assigned", "running", "verifying", "held"):
        for task in person.api.get(f"/tasks?limit=200&status={state}").json()["tasks"]:
            person.api.post(f"/tasks/{task['task_id']}/cancel")


def login(public: httpx.Client, username: str, password: str = PASSWORD) -> str:
    answer = public.post("/auth/login", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def capabilities(**changes: Any) -> dict[str, Any]:
    usual = {"bandwidth_mbps": 100.0, "cpu_cores": 4, "memory_gb": 8.0, "gpu_available": False}
    return usual | changes


def report(**changes: Any) -> dict[str, Any]:
    usual = {
        "boot_id": "b",
        "version": "0.1.0",
        "engine": "test engine",
        "exec_class": "test/1",
        "concurrency_max": 8,
    }
    return usual | changes


def telemetry(**changes: Any) -> dict[str, Any]:
    usual = {
        "measured_at_ms": int(time.time() * 1000),
        "cpu_percent": 5.0,
        "memory_percent": 20.0,
        "latency_ms": 1.0,
    }
    return usual | changes


class Machine:
    """A node's side of the protocol with a real key. It computes nothing by itself."""

    def __init__(self, plane: ControlPlaneProcess, node_id: str | None = None) -> None:
        self.plane = plane
        self.signer = Ed25519Signer.from_seed(os.urandom(32))
        self.node_id = node_id or "node-" + os.urandom(6).hex()
        self.api = plane.client()

    def challenge(self) -> str:
        answer = self.api.post("/nodes/challenge", json={"public_key": self.signer.public_key})
        assert answer.status_code == 200, answer.text
        return answer.json()["challenge"]

    def enrolment(self, code: str | None, **changes: Any) -> dict[str, Any]:
        challenge = self.challenge()
        message = challenge_message("enrol", challenge, self.signer.public_key, self.node_id)
        body = {
            "public_key": self.signer.public_key,
            "challenge": challenge,
            "signature": self.signer.sign(message),
            "node_id": self.node_id,
            "region": "here",
            "node_type": "any",
            "capabilities": capabilities(),
            "report": report(),
        }
        return body | ({} if code is None else {"code": code}) | changes

    def enrol(
        self, code: str | None, *, account: Person | None = None, **changes: Any
    ) -> httpx.Response:
        with self.plane.client(account.token if account else None) as public:
            answer = public.post("/nodes/enrol", json=self.enrolment(code, **changes))
        if answer.status_code in (200, 201):
            self.api.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return answer

    def beat(self, **changes: Any) -> httpx.Response:
        body = {"telemetry": telemetry(), "report": report()} | changes
        return self.api.put(f"/nodes/{self.node_id}/heartbeat", json=body)

    def claim(self, **body: Any) -> list[dict[str, Any]]:
        answer = self.api.post(f"/nodes/{self.node_id}/claim", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["assignments"]

    def claim_one(self, task_id: str) -> dict[str, Any]:
        """Wait for a lease on this task and claim it. Audits of other tasks are left alone."""
        return eventually(lambda: self.claimed(task_id))

    def claimed(self, task_id: str) -> dict[str, Any] | None:
        leases = [x for x in self.beat().json()["leases"] if x["task_id"] == task_id]
        names = [{key: x[key] for key in ("task_id", "slot", "epoch")} for x in leases]
        taken = self.claim(leases=names) if names else []
        return taken[0] if taken else None

    def hand_in(self, *entries: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.api.post(f"/nodes/{self.node_id}/results", json={"results": list(entries)})
        assert answer.status_code == 200, answer.text
        return answer.json()["answers"]


def join(person: Person, **changes: Any) -> Machine:
    """An enrolled machine of this person's that has sent a heartbeat."""
    code = person.api.post("/node-invites").json()["code"]
    machine = Machine(person.plane)
    made = machine.enrol(code, **changes)
    assert made.status_code == 201, made.text
    assert machine.beat().status_code == 200
    return machine


def add_task(**changes: Any) -> dict[str, Any]:
    """A scalar call of the example module: ``add 2 3``."""
    usual: dict[str, Any] = {
        "task_type": "wasm_execution",
        "wasm_module": base64.b64encode(HELLO).decode(),
        "inputs": {"interface": "scalar", "entry": "add", "args": [2, "3"]},
        "requirements": {
            "min_nodes": 1,
            "max_execution_time_sec": 10,
            "require_gpu": False,
            "require_proof": False,
        },
    }
    return usual | changes


def submitted(person: Person, **changes: Any) -> dict[str, Any]:
    answer = person.api.post("/tasks", json=add_task(**changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


def eventually(found: Callable[[], Any], sec: float = 15) -> Any:
    """The first truthy answer."""
    ends = time.monotonic() + sec
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


class Stream:
    """Reads server-sent events in a thread, so that a test can do other things meanwhile."""

    def __init__(self, client: httpx.Client, path: str, **fields: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.comments = 0
        self.ended = threading.Event()
        self._opened = threading.Event()
        self.status = 0
        self._stop = threading.Event()
        self._client = httpx.Client(
            base_url=client.base_url, headers=client.headers, timeout=httpx.Timeout(30, read=0.2)
        )
        self._args = (path, fields)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._opened.wait(15)

    def _run(self) -> None:
        path, fields = self._args
        try:
            with self._client.stream(
                "GET", path, **{**fields, "timeout": httpx.Timeout(30, read=20)}
            ) as answer:
                self.status = answer.status_code
                self._opened.set()
                entry: dict[str, Any] = {}
                for line in answer.iter_lines():
                    if self._stop.is_set():
                        return
                    entry = self._take(line, entry)
        except httpx.TransportError:
            pass
        finally:
            self._opened.set()
            self.ended.set()

    def _take(self, line: str, entry: dict[str, Any]) -> dict[str, Any]:
        if line.startswith(":"):
            self.comments += 1
            return entry
        if line:
            name, _, value = line.partition(": ")
            return entry | {name: value}
        if entry:
            self.events.append(entry | {"data": json.loads(entry["data"])})
        return {}

    def close(self) -> None:
        """Leave. The thread ends with the next line or comment."""
        self._stop.set()
        self._thread.join(25)
        self._client.close()
