"""``node doctor``: can this machine be a node? Every line is a check that was really made."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from ambient_vcp import __version__
from ambient_vcp.adapters.control_plane_http import NodeApi, Transport
from ambient_vcp.adapters.control_plane_http.transport import base_url_of, is_loopback
from ambient_vcp.adapters.ed25519 import Ed25519Signer
from ambient_vcp.adapters.system import SystemClock
from ambient_vcp.adapters.telemetry import Machine
from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.apps.node.disk.data_dir import DataDir, NodeState
from ambient_vcp.apps.node.selftest import self_test
from ambient_vcp.apps.node.settings import DISK_FREE_BYTES_MIN, Settings, default_memory_gb
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.ids import NodeId
from ambient_vcp.domain.nodes.breaker import DEFAULT_POLICY

CLOCK_SKEW_MS_WARN = 5_000
CLOCK_SKEW_MS_FAIL = 60_000
ROUNDS_PER_SECOND_SLOW = 100_000_000
MIB = 1024 * 1024


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line. ``fix`` is empty where nothing needs fixing."""

    grade: Grade
    check: str
    found: str
    fix: str = ""


async def doctor(settings: Settings) -> bool:
    """Print the findings on stdout and say whether none failed."""
    findings = [finding async for finding in examine(settings)]
    healthy = all(finding.grade is not Grade.FAIL for finding in findings)
    if settings.as_json:
        print(json.dumps({"ok": healthy, "checks": [asdict(finding) for finding in findings]}))
        return healthy
    for finding in findings:
        print(f"{finding.grade:<5} {finding.check:<22} {finding.found}")
        if finding.fix:
            print(f"{'':<28} fix: {finding.fix}")
    return healthy


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every check, in the order in which a newcomer would meet them."""
    data_dir = DataDir(settings.data_dir)
    yield _folder(data_dir)
    yield _disk(data_dir)
    async for finding in _control_plane(settings, data_dir):
        yield finding
    async for finding in _sandbox():
        yield finding
    for finding in _sensors():
        yield finding


def _folder(data_dir: DataDir) -> Finding:
    check, root = "data folder", data_dir.root
    if not root.exists():
        nearest = next(path for path in root.parents if path.exists())
        if os.access(nearest, os.W_OK):
            return Finding(grade=Grade.OK, check=check, found=f"{root} will be made")
        fix = "Choose another with --data-dir."
        return Finding(grade=Grade.FAIL, check=check, found=f"{nearest} is read-only", fix=fix)
    if not os.access(root, os.W_OK):
        fix = f"Run: chown -R $USER {root}"
        return Finding(grade=Grade.FAIL, check=check, found=f"{root} is not writable", fix=fix)
    if root.stat().st_mode & 0o077:
        fix = f"Run: chmod 700 {root}"
        return Finding(grade=Grade.WARN, check=check, found=f"others may enter {root}", fix=fix)
    return Finding(grade=Grade.OK, check=check, found=str(root))


def _disk(data_dir: DataDir) -> Finding:
    nearest = next(p for p in (data_dir.root, *data_dir.root.parents) if p.exists())
    free = DataDir(nearest).free_bytes()
    if free is None:
        return Finding(grade=Grade.WARN, check="disk", found="free space is unknown")
    found = f"{free // MIB} MiB free"
    if free < DISK_FREE_BYTES_MIN:
        fix = f"Free {DISK_FREE_BYTES_MIN // MIB} MiB; below that the node takes no work."
        return Finding(grade=Grade.FAIL, check="disk", found=found, fix=fix)
    return Finding(grade=Grade.OK, check="disk", found=found)


async def _control_plane(settings: Settings, data_dir: DataDir) -> AsyncIterator[Finding]:
    try:
        node = data_dir.load_state()
        url = base_url_of(settings.url) if settings.url else (node.url if node else "")
        if not url:
            fix = "Name it: ambient-vcp node doctor URL"
            yield Finding(grade=Grade.WARN, check="control plane", found="none named", fix=fix)
            return
        clock = SystemClock()
        transport = Transport(
            url, monotonic_ms=clock.monotonic_ms, user_agent=f"ambient-vcp-doctor/{__version__}"
        )
    except VcpError as error:
        fix = error.hint
        yield Finding(grade=Grade.FAIL, check="control plane", found=str(error), fix=fix)
        return
    try:
        if url.startswith("http:") and not is_loopback(url):
            fix = "Put the control plane behind TLS and use its https address."
            found = "plain http: others on the way can read inputs and take tokens"
            yield Finding(grade=Grade.WARN, check="encryption", found=found, fix=fix)
        async for finding in _ask(transport, clock):
            yield finding
        if node is not None and node.enrolled and url == node.url:
            yield await _login(transport, data_dir, node)
    finally:
        await transport.close()


async def _ask(transport: Transport, clock: SystemClock) -> AsyncIterator[Finding]:
    try:
        first = await transport.request("GET", "/health", authenticated=False)
        before_ms = clock.now_ms()
        answer = await transport.request("GET", "/health", authenticated=False)
        health = json.loads(answer.content)
    except (VcpError, ValueError) as error:
        fix = "Check the address, that the control plane runs, and firewalls in between."
        yield Finding(grade=Grade.FAIL, check="control plane", found=str(error), fix=fix)
        return
    del first  # it opened the connection; the second one is the measurement
    round_trip_ms = answer.round_trip_ms
    limit_ms = DEFAULT_POLICY.latency_ms_max
    found = f"{health.get('status', 'unknown')}, {round_trip_ms:.0f} ms away"
    if round_trip_ms > limit_ms:
        fix = f"Above {limit_ms:.0f} ms the node takes no work. Use one that is nearer."
        yield Finding(grade=Grade.WARN, check="control plane", found=found, fix=fix)
    else:
        yield Finding(grade=Grade.OK, check="control plane", found=found)
    yield _clock(str(health.get("timestamp", "")), before_ms)


def _clock(timestamp: str, before_ms: int) -> Finding:
    try:
        server_ms = round(datetime.fromisoformat(timestamp).timestamp() * 1000)
    except ValueError:
        found = "the control plane told no time"
        return Finding(grade=Grade.WARN, check="clock", found=found)
    skew_ms = before_ms - server_ms
    found = f"{skew_ms / 1000:+.1f} s against the control plane"
    grade = Grade.OK
    if abs(skew_ms) > CLOCK_SKEW_MS_WARN:
        grade = Grade.FAIL if abs(skew_ms) > CLOCK_SKEW_MS_FAIL else Grade.WARN
    fix = "" if grade is Grade.OK else "Synchronise it: timedatectl set-ntp true"
    return Finding(grade=grade, check="clock", found=found, fix=fix)


async def _login(transport: Transport, data_dir: DataDir, node: NodeState) -> Finding:
    try:
        signer = Ed25519Signer.load(data_dir.key)
        await NodeApi(transport, signer, NodeId(node.node_id)).renew_token()
    except (VcpError, FileNotFoundError) as error:
        fix = "Join again: ambient-vcp node join URL --code CODE"
        return Finding(grade=Grade.FAIL, check="login", found=str(error), fix=fix)
    return Finding(grade=Grade.OK, check="login", found=f"known as {node.node_id}")


async def _sandbox() -> AsyncIterator[Finding]:
    try:
        sandbox = await WasmtimeSandbox.start(spares=1)
    except (VcpError, OSError) as error:
        fix = "Install wasmtime into this environment: pip install --force-reinstall ambient-vcp"
        yield Finding(grade=Grade.FAIL, check="sandbox", found=str(error), fix=fix)
        return
    try:
        with tempfile.TemporaryDirectory(prefix="ambient-vcp-doctor-") as folder:
            tested = await self_test(sandbox, Path(folder))
        if tested.problem:
            fix = "The engine does not work on this machine; do not lend it."
            yield Finding(grade=Grade.FAIL, check="sandbox", found=tested.problem, fix=fix)
        else:
            found = f"{sandbox.engine}, cell ready in {tested.start_ms:.1f} ms"
            yield Finding(grade=Grade.OK, check="sandbox", found=found)
            yield _speed(tested.rounds_per_second)
        isolation = sandbox.isolation
        for layer, text in isolation.active.items():
            yield Finding(grade=Grade.OK, check=f"isolation {layer}", found=text)
        for layer, text in isolation.inactive.items():
            found = f"inactive: {text}"
            yield Finding(grade=Grade.WARN, check=f"isolation {layer}", found=found)
    finally:
        await sandbox.close()


def _speed(rounds_per_second: float) -> Finding:
    found = f"{rounds_per_second / 1e6:.0f} million multiply-add rounds a second"
    if rounds_per_second < ROUNDS_PER_SECOND_SLOW:
        fix = "Slow for work with tight limits; stop what else runs and look again."
        return Finding(grade=Grade.WARN, check="speed", found=found, fix=fix)
    return Finding(grade=Grade.OK, check="speed", found=found)


def _sensors() -> list[Finding]:
    sources = Machine(SystemClock()).describe()
    findings = [
        Finding(grade=Grade.OK, check=name, found=sources[name])
        for name in ("cpu", "memory", "battery", "gpu")
    ]
    lent = f"{default_memory_gb():g} GiB would be lent (--memory-gb)"
    findings.append(Finding(grade=Grade.OK, check="memory lent", found=lent))
    temperature = sources["temperature"]
    if "no sensor" in temperature:
        fix = "None needed; the temperature stays unknown and --max-temperature has no effect."
        findings.append(Finding(grade=Grade.WARN, check="temperature", found=temperature, fix=fix))
    else:
        findings.append(Finding(grade=Grade.OK, check="temperature", found=temperature))
    power = sources["power"]
    measured = not power.startswith("estimate")
    fix = "" if measured else "Energy will be labelled an estimate. For a counter see its reason."
    grade = Grade.OK if measured else Grade.WARN
    findings.append(Finding(grade=grade, check="power", found=power, fix=fix))
    return findings
