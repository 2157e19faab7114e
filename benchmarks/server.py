"""A real control plane as its own process, and simulated nodes that really sign."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import Digest, NodeId, PublicKey, Signature, TaskId
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.records import AttemptResult, Energy
from ambient_vcp.domain.tasks.spec import LeaseRef
from ambient_vcp.domain.verification.judge import attempt_statement, input_digest
from ambient_vcp.wire.attempt_result import encode_result
from ambient_vcp.wire.challenge import challenge_message
from ambient_vcp.wire.task_spec import decode_spec

READY_S = 30
PASSWORD = "a password for this benchmark"  # a throw-away account on loopback
EXEC_CLASS = "benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    port: int
    pid: int
    token: str
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"


@contextmanager
def control_plane(*options: str) -> Iterator[Server]:
    """Start one in a temporary folder on the default database, with an account logged in."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "ambient_vcp.apps.control_plane", "serve"]
        command += ["--data-dir", str(folder), "--port", "0", "--no-access-log", *options]
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            port = _wait(folder, process)
            yield Server(port=port, pid=process.pid, token=_login(port), folder=folder)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(folder: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + READY_S
    path = folder / "control-plane.json"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            port = int(json.loads(path.read_text(encoding="utf-8"))["port"])
            if httpx.get(f"http://127.0.0.1:{port}/api/v1/health").status_code == 200:
                return port
        except (OSError, ValueError, httpx.HTTPError):
            pass
        time.sleep(0.05)
    raise RuntimeError((folder / "server.log").read_text(encoding="utf-8")[-2000:])


def _login(port: int) -> str:
    body = {"username": "bench", "password": PASSWORD}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as client:
        client.post("/auth/register", json=body).raise_for_status()
        token: str = client.post("/auth/login", json=body).raise_for_status().json()["access_token"]
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNode:
    """A node without a cell: it signs real statements about a made-up output.

    Good for the control plane's cost, useless for anything about execution.
    """

    id: NodeId
    key: Ed25519PrivateKey
    public_key: PublicKey
    token: str

    def sign(self, message: bytes) -> Signature:
        return Signature(self.key.sign(message).hex())

    def result(self, assignment: dict[str, Any]) -> dict[str, Any]:
        """The RESULT message for one assignment."""
        spec = decode_spec(assignment["spec"])
        lease = LeaseRef(
            task_id=TaskId(assignment["task_id"]),
            slot=assignment["slot"],
            epoch=assignment["epoch"],
            node_id=self.id,
        )
        output = b'{"values":[{"type":"i32","value":"5"}]}'
        digest = Digest(hashlib.sha256(output).hexdigest())
        trace = Trace(
            module_digest=spec.module.digest,
            interface="scalar",
            entry="add",
            arguments_digest=arguments_digest(spec.call),
            public_input_digest=input_digest(spec),
            private_input_digest=Digest(""),
            output_digest=digest,
            reason="",
            trap="",
            fuel_used=7,
            memory_peak_bytes=0,
            engine="none",
            exec_class=EXEC_CLASS,
            started_at_ms=0,
            finished_at_ms=1,
            compile_ms=1,
            cpu_ms=1,
            wall_ms=1,
        )
        outcome = Outcome(
            reason=None,
            output_digest=digest,
            output_size_bytes=len(output),
            fuel_used=7,
            memory_peak_bytes=0,
        )
        unsigned = AttemptResult(
            outcome=outcome,
            output=output,
            trace=trace,
            trace_digest=trace.digest(),
            exec_class=EXEC_CLASS,
            signature=Signature("0" * 128),
            node_public_key=self.public_key,
            energy=Energy(millijoules=None, label="unknown", source=""),
        )
        signature = self.sign(attempt_statement(spec, lease, unsigned).encode())
        message = encode_result(unsigned) | {"signature": signature}
        place = {key: assignment[key] for key in ("task_id", "slot", "epoch")}
        return {**place, "node_id": self.id, "result": message}


def enrol(server: Server, node_id: str) -> SimulatedNode:
    """Enrol a simulated node by the account's token."""
    key = Ed25519PrivateKey.generate()
    public = PublicKey(key.public_key().public_bytes_raw().hex())
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        answer = client.post("/nodes/challenge", json={"public_key": public}).raise_for_status()
        challenge = answer.json()["challenge"]
        message = challenge_message("enrol", challenge, public, node_id)
        body = {
            "public_key": public,
            "challenge": challenge,
            "signature": key.sign(message).hex(),
            "node_id": node_id,
            "region": "local",
            "node_type": "compute",
            "capabilities": {
                "bandwidth_mbps": 1000.0,
                "cpu_cores": 8,
                "memory_gb": 16.0,
                "gpu_available": False,
            },
            "report": report(),
        }
        done = client.post("/nodes/enrol", json=body)
        if done.status_code not in {200, 201}:
            raise RuntimeError(done.text)
        return SimulatedNode(
            id=NodeId(node_id), key=key, public_key=public, token=done.json()["token"]
        )


def report() -> dict[str, Any]:
    return {
        "boot_id": "bench",
        "version": "0",
        "engine": "none",
        "exec_class": EXEC_CLASS,
        "concurrency_max": 1000,
        "running": 0,
        "refusing": [],
        "isolation": {},
    }


def telemetry() -> dict[str, Any]:
    return {
        "measured_at_ms": time.time_ns() // 1_000_000,
        "upload_mbps": 900.0,
        "download_mbps": 900.0,
        "latency_ms": 2.0,
        "cpu_percent": 10.0,
        "memory_percent": 30.0,
        "temperature_c": None,
        "power_watts": None,
        "power_source": "unknown",
    }


def scalar_task(module: bytes) -> dict[str, Any]:
    return {
        "task_type": "wasm_execution",
        "wasm_module": base64.b64encode(module).decode(),
        "inputs": {"interface": "scalar", "entry": "add", "args": ["2", "3"]},
    }
