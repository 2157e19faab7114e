"""Real programs that a test may kill, freeze and start again; all below one folder.

Every process is ended by its own id. A control plane keeps its port over restarts, so that agents
find it again.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

START_SEC = 60.0
END_SEC = 20.0
BASE = "/api/v1"
ENDED = frozenset({"completed", "failed", "cancelled"})
ACCOUNT = {"username": "tester", "password": "a long enough passphrase 1"}
EXAMPLES = Path(__file__).parents[2] / "examples"
HELLO = (EXAMPLES / "hello/hello.wasm").read_bytes()
SLOW = (EXAMPLES / "misbehaving/slow.wasm").read_bytes()
BYTECODE = Path(__file__).parents[2] / ".pytest_cache/bytecode"
"""Compiled modules of the programs started here: a start without them takes thrice the time."""

SPIN_FUEL = 26
"""Fuel of one round of ``spin`` in ``SLOW``."""

SHORT_LEASES = (
    *("--lease-ms", "4000", "--sweep-ms", "1000"),
    *("--heartbeat-ms", "500", "--offline-after-ms", "2500"),
)


def eventually(what: str, found: Callable[[], Any], sec: float = 30.0) -> Any:
    """The first true answer of ``found``; fails the test when there is none in time."""
    ends = time.monotonic() + sec
    while True:
        if answer := found():
            return answer
        assert time.monotonic() < ends, f"within {sec:g} s there was no {what}"
        time.sleep(0.03)


class Program:
    """One of our programs, running or not."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.arguments = list(arguments)
        self.log_path = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, variables: Mapping[str, str] | None = None, *extra: str) -> None:
        assert not self.is_running
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(BYTECODE), **(variables or {})}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments, *extra],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Nothing happens when it is not running."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(END_SEC)

    def stop(self) -> int:
        """Ask it to end in order."""
        assert self._process is not None
        self._signal(signal.SIGTERM)
        return self._process.wait(END_SEC)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            # Refuses by itself to signal a process that was waited for already.
            self._process.send_signal(number)


class Plane(Program):
    """``python -m ambient_vcp.apps.control_plane serve`` on one data folder."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        arguments = ["ambient_vcp.apps.control_plane", "serve", "--data-dir", str(data_dir)]
        arguments += ["--bcrypt-cost", "4", "--no-access-log", *options]
        super().__init__(arguments, data_dir.with_name(f"{data_dir.name}.log"))
        self.data_dir = data_dir
        self.port = 0
        self.started_sec: list[float] = []
        """How long each start took until the port answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self, variables: Mapping[str, str] | None = None) -> None:
        """Start it and do not wait."""
        self.start(variables, "--port", str(self.port))

    def up(self, variables: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it listens."""
        began = time.monotonic()
        self.begin(variables)
        ready = eventually(f"control plane in {self.log_path}", self._ready, START_SEC)
        self.port = int(ready["port"])
        self.started_sec.append(time.monotonic() - began)

    def _ready(self) -> dict[str, Any] | None:
        assert self.is_running, f"the control plane ended:\n{self.log[-3000:]}"
        try:
            ready: dict[str, Any] = json.loads((self.data_dir / "control-plane.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return ready if ready["pid"] == self.pid else None

    def healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}{BASE}/health", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    @property
    def bugs(self) -> list[str]:
        """Requests that failed by our own fault."""
        return [line for line in self.log.splitlines() if "request.failed" in line]


class Agent(Program):
    """``python -m ambient_vcp.apps.node`` with one data folder."""

    def __init__(self, node_id: str, url: str, data_dir: Path, *options: str) -> None:
        super().__init__(["ambient_vcp.apps.node"], data_dir.with_name(f"{data_dir.name}.log"))
        self.node_id = node_id
        self.data_dir = data_dir
        self._join = ["join", url, "--id", node_id]
        self._options = ["--data-dir", str(data_dir), *options]
        self._joined = False

    def up(self, code: str = "") -> None:
        """Start it, with a code the first time, and wait until it is ready."""
        verb = ["run"] if self._joined else self._join
        variables = {} if self._joined else {"AMBIENT_VCP_JOIN_CODE": code}
        before = self.log.count("node ready")
        self.start(variables, *verb, *self._options)
        eventually(
            f"ready node in {self.log_path}",
            lambda: self.log.count("node ready") > before or not self.is_running,
            START_SEC,
        )
        assert self.is_running, f"the agent ended:\n{self.log[-3000:]}"
        self._joined = True

    def spooled(self) -> list[Path]:
        return list((self.data_dir / "spool").glob("*.json"))

    def busy_cells(self, cpu_sec: float = 0.1) -> list[psutil.Process]:
        """Descendants that run a guest: they use the processor."""
        found = []
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                busy = child.status() == psutil.STATUS_RUNNING
                if busy and child.cpu_times().user > cpu_sec:
                    found.append(child)
        return found


class Site:
    """A control plane, its agents and somebody with an account."""

    def __init__(self, root: Path, *options: str, plane_dir: Path | None = None) -> None:
        self.root = root
        self.plane = Plane(plane_dir or root / "plane", *options)
        self.agents: dict[str, Agent] = {}
        self.api = httpx.Client(timeout=30, trust_env=False)

    def up(self, variables: Mapping[str, str] | None = None) -> None:
        self.plane.up(variables)
        self.api.base_url = httpx.URL(self.plane.url + BASE)
        if "authorization" not in self.api.headers:
            self.api.post("/auth/register", json=ACCOUNT).raise_for_status()
            login = self.api.post("/auth/login", json=ACCOUNT).raise_for_status().json()
            self.api.headers["Authorization"] = f"Bearer {login['access_token']}"

    def agent(self, node_id: str, *options: str, data_dir: Path | None = None) -> Agent:
        """Enrol a new agent and wait until it is ready."""
        made = Agent(node_id, self.plane.url, data_dir or self.root / node_id, *options)
        self.agents[node_id] = made
        made.up(str(self.api.post("/node-invites").raise_for_status().json()["code"]))
        return made

    def submit(self, **changes: Any) -> str:
        answer = self.api.post("/tasks", json=add_task(2, 3, **changes))
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def node(self, node_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/nodes/{node_id}").raise_for_status().json()
        return found

    def ended(self, task_id: str, sec: float = 60.0) -> dict[str, Any]:
        return self.in_states(task_id, ENDED, sec)

    def in_states(
        self, task_id: str, states: frozenset[str] | set[str], sec: float = 60.0
    ) -> dict[str, Any]:
        last: dict[str, Any] = {}

        def there() -> bool:
            last.update(self.task(task_id))
            return last["status"] in states

        try:
            eventually(f"task that is {sorted(states)}", there, sec)
        except AssertionError as error:
            explained = self.api.get(f"/tasks/{task_id}/explain").text
            raise AssertionError(f"{error}: {last}\n{explained}") from None
        return last

    def receipt(self, task_id: str) -> bytes:
        """The sealed receipt; sealing may be a moment behind."""
        path = f"/tasks/{task_id}/receipt"

        def sealed() -> bytes:
            answer = self.api.get(path)
            return answer.content if answer.status_code == httpx.codes.OK else b""

        return bytes(eventually(f"receipt of {task_id}", sealed))

    def close(self) -> None:
        for program in (*self.agents.values(), self.plane):
            program.kill()
        self.api.close()


@contextmanager
def site(root: Path, *options: str, plane_dir: Path | None = None) -> Iterator[Site]:
    """A running site; every process is gone afterwards, and none has failed by our own fault."""
    made = Site(root, *options, plane_dir=plane_dir)
    try:
        made.up()
        yield made
        assert not made.plane.bugs, made.plane.bugs[:3]
    finally:
        made.close()


def add_task(left: int, right: int, **changes: Any) -> dict[str, Any]:
    """``add`` of the example module; its result is the sum as i32."""
    usual = {
        "task_type": "wasm_execution",
        "wasm_module": base64.b64encode(HELLO).decode(),
        "inputs": {"interface": "scalar", "entry": "add", "args": [str(left), str(right)]},
    }
    return usual | changes


def spin_task(rounds: int, **changes: Any) -> dict[str, Any]:
    """Work that takes a while: about 10^8 rounds a second, with fuel enough."""
    usual = {
        "wasm_module": base64.b64encode(SLOW).decode(),
        "inputs": {"interface": "scalar", "entry": "spin", "args": [str(rounds)]},
        "limits": {"fuel": rounds * SPIN_FUEL + 10_000},
    }
    return add_task(0, 0) | usual | changes
