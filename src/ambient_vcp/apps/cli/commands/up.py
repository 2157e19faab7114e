"""`ambient-vcp up`: a control plane and nodes on this machine, until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ambient_vcp.adapters.profiles.profile import Profile, check_name
from ambient_vcp.apps.cli.connection import client_for, environment, profiles
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.local_cluster import LocalCluster, free_port, open_account
from ambient_vcp.apps.cli.output import Output, note, output_options

PORT = 8420
PORTS_TRIED = 20
NODES_MAX = 64
WATCH_S = 0.2
ECHO_S = 0.5
STATE_BYTES_MAX = 4096


@click.command()
@click.option("--data-dir", metavar="DIR", help="Where its state lives. [~/.local/share/...]")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help=f"Port; 0 takes any free one. [{PORT}, or the next free one]",
)
@click.option("--nodes", type=click.IntRange(0, NODES_MAX), default=1, show_default=True)
@click.option("--profile-name", default="local", show_default=True, help="Profile to save.")
@click.option("--strategy", default="weighted", show_default=True, help="Placement strategy.")
@output_options
def command(
    data_dir: str | None,
    port: int | None,
    nodes: int,
    profile_name: str,
    strategy: str,
    *,
    out: Output,
) -> int:
    """Start a control plane and one node here, and save a ready profile.

    Keeps its state in the data folder, so that the next `up` goes on where this one ended. Other
    terminals can use `ambient-vcp task run` at once. Ctrl-C ends it cleanly.
    """
    check_name(profile_name)
    folder = Path(data_dir) if data_dir else environment().data_dir / "up" / profile_name
    with _only_one(folder) as state:
        before = _read_state(state)
        chosen = _choose_port(port, before)
        cluster = LocalCluster(data_dir=folder, port=chosen, strategy=strategy)
        with _stop_signals() as signals:
            try:
                info = _start(cluster, profile_name, nodes)
                _write_state(state, info)
                _announce(info, out)
                _watch(cluster, signals)
            finally:
                _stop(cluster)
    return Exit.OK


def _start(cluster: LocalCluster, profile_name: str, nodes: int) -> dict[str, Any]:
    note("starting the control plane ...")
    cluster.start_control_plane()
    account, token = open_account(cluster.endpoint, cluster.data_dir)
    with client_for(endpoint=cluster.endpoint, token=token) as client:
        about = client.control_plane()
        profile = Profile(
            name=profile_name,
            endpoint=cluster.endpoint,
            username=account.username,
            token=token,
            password=account.password,
            public_key=about["public_key"],
            control_plane_id=about["control_plane_id"],
            data_dir=str(cluster.data_dir),
        )
        _save_profile(profile)
        for number in range(1, nodes + 1):
            note(f"starting node-{number} ...")
            cluster.start_node(client, f"node-{number}")
    return {
        "endpoint": cluster.endpoint,
        "port": cluster.port,
        "pid": os.getpid(),
        "profile": profile_name,
        "data_dir": str(cluster.data_dir),
        "public_key": profile.public_key,
        "nodes": list(cluster.nodes),
    }


def _save_profile(profile: Profile) -> None:
    store = profiles()
    if profile.name in store.names():
        old = store.load(profile.name)
        if old.data_dir and old.data_dir != profile.data_dir:
            note(f"profile {profile.name} pointed to {old.data_dir}; it now points here")
    store.save(profile)
    store.use(profile.name)


def _announce(info: dict[str, Any], out: Output) -> None:
    endpoint = info["endpoint"]
    lines = [
        ("API", f"{endpoint}/api/v1"),
        ("OpenAPI", f"{endpoint}/api-docs/openapi.json"),
        ("Health", f"{endpoint}/api/v1/health"),
        ("Nodes", ", ".join(info["nodes"]) or "none"),
        ("Data", info["data_dir"]),
        ("Logs", str(Path(info["data_dir"]) / "logs")),
        ("Profile", f"{info['profile']} (in use)"),
        ("Trusted key", info["public_key"]),
    ]
    out.one(info, "endpoint", lines)
    note("")
    note("Ready. In another terminal:")
    note("  ambient-vcp task run examples/hello/hello.wasm --invoke add 2 3 --wait")
    note("From another machine: it listens on this one only; see docs for a shared cluster.")
    note("Ctrl-C stops it; its state is kept.")


def _watch(cluster: LocalCluster, signals: _Signals) -> None:
    """Until a signal comes. A part that ends by itself ends the whole, with its last words."""
    children = [*filter(None, [cluster.control_plane]), *cluster.nodes.values()]
    signals.watched = True
    while signals.came_at is None:
        for child in children:
            child.check_running()
        time.sleep(WATCH_S)


def _stop(cluster: LocalCluster) -> None:
    note("stopping: nodes finish what they have; Ctrl-C again ends them at once")
    try:
        cluster.stop()
    except KeyboardInterrupt:
        cluster.kill()
    note("stopped")


@dataclass(slots=True)
class _Signals:
    """While somebody watches, the first signal is only noted. A later one interrupts."""

    came_at: float | None = None
    watched: bool = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.came_at is None and self.watched:
            self.came_at = now
            return
        # One Ctrl-C may arrive twice: from the terminal and from a program around us.
        if self.came_at is None or now - self.came_at > ECHO_S:
            raise KeyboardInterrupt


@contextmanager
def _stop_signals() -> Iterator[_Signals]:
    signals = _Signals()
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, signals.handle) for name in names}
    try:
        yield signals
    finally:
        for name, old in before.items():
            signal.signal(name, old)


@contextmanager
def _only_one(folder: Path) -> Iterator[int]:
    """Hold the folder's lock; answers the descriptor of the file that also says who holds it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            running = _read_state(descriptor)
            raise CommandFailed(
                f"it is already running from {folder}"
                + (f" at {running['endpoint']}" if "endpoint" in running else ""),
                hint=f"Use it with --profile {running.get('profile', 'local')}, stop process"
                f" {running.get('pid', '(unknown)')}, or choose another --data-dir.",
                code="already_running",
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def _read_state(descriptor: int) -> dict[str, Any]:
    try:
        state = json.loads(os.pread(descriptor, STATE_BYTES_MAX, 0) or b"{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(descriptor: int, info: dict[str, Any]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(info).encode(), 0)


def _choose_port(port: int | None, before: dict[str, Any]) -> int:
    """The one asked for, else the one of last time, else ours or the next free one."""
    if port:
        return free_port(port)
    last = before.get("port")
    if isinstance(last, int):
        try:
            return free_port(last)
        except CommandFailed:
            note(f"port {last} of last time is in use now")
    return free_port(0) if port == 0 else free_port(PORT, tries=PORTS_TRIED)
