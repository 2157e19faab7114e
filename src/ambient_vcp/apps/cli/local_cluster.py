"""A control plane and nodes on this machine: started, waited for, stopped. For `up` and `demo`."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ambient_vcp.adapters.profiles.store import write_private
from ambient_vcp.apps.cli.connection import client_for
from ambient_vcp.apps.cli.failures import CommandFailed
from ambient_vcp.apps.cli.processes import CONTROL_PLANE, NODE, POLL_S, Child, stop_all

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
ACCOUNT_FILE = "account.json"
USERNAME = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Account(username={self.username!r})"


@dataclass(slots=True, kw_only=True)
class LocalCluster:
    """``nodes`` by node id. ``variables`` go to the control plane's environment."""

    data_dir: Path
    port: int
    cluster: str = "local"
    strategy: str = "weighted"
    variables: Mapping[str, str] = field(default_factory=dict)
    control_plane: Child | None = None
    nodes: dict[str, Child] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start_control_plane(self) -> None:
        """Start it and wait until it says that it is healthy."""
        folder = self.data_dir / "control-plane"
        arguments = [
            "serve",
            *("--data-dir", str(folder)),
            *("--host", HOST),
            *("--port", str(self.port)),
            *("--profile", "local"),
            *("--visibility", "private"),
            *("--cluster", self.cluster),
            *("--strategy", self.strategy),
        ]
        log_file = self.data_dir / "logs" / "control-plane.log"
        child = Child(
            "control plane", CONTROL_PLANE, arguments, log_file=log_file, variables=self.variables
        )
        self.control_plane = child
        with client_for(endpoint=self.endpoint, token="") as client:
            wait_until(lambda: _is_healthy(client), child, "the control plane is not healthy")

    def start_node(self, client: Client, node_id: str, *extra: str) -> None:
        """Launch a node and wait until it may get work."""
        self.launch_node(client, node_id, *extra)
        self.wait_for_node(client, node_id)

    def launch_node(self, client: Client, node_id: str, *extra: str, region: str = "local") -> None:
        """Start a node's process; the first time it joins with an invitation."""
        folder = self.data_dir / "nodes" / node_id
        log_file = self.data_dir / "logs" / f"{node_id}.log"
        arguments = ["run", "--data-dir", str(folder)]
        variables: dict[str, str] = {}
        if not _has_joined(folder / "node.json", self.endpoint):
            arguments = ["join", self.endpoint, "--data-dir", str(folder), "--id", node_id]
            arguments += ["--region", region, "--node-type", "compute"]
            # By the environment: other users can read command lines.
            variables["AMBIENT_VCP_JOIN_CODE"] = str(client.invite()["code"])
        child = Child(
            f"node {node_id}", NODE, [*arguments, *extra], log_file=log_file, variables=variables
        )
        self.nodes[node_id] = child

    def wait_for_node(self, client: Client, node_id: str) -> None:
        """Until this very process has been heard of; what an earlier one left does not count."""
        child = self.nodes[node_id]
        wait_until(
            lambda: is_serving(client, node_id, since_ms=child.started_at_ms),
            child,
            f"node {node_id} is not online",
        )

    def kill_node(self, node_id: str) -> None:
        """SIGKILL to the node and its cells, as if its machine had lost power."""
        self.nodes[node_id].kill()

    def stop(self) -> None:
        """Nodes first, so that they hand back what they have; then the control plane."""
        stop_all(list(self.nodes.values()), timeout_s=STOP_TIMEOUT_S)
        if self.control_plane is not None:
            stop_all([self.control_plane], timeout_s=STOP_TIMEOUT_S)

    def kill(self) -> None:
        """At once, for a second Ctrl-C."""
        for child in [*self.nodes.values(), *filter(None, [self.control_plane])]:
            child.kill()


def open_account(endpoint: str, data_dir: Path) -> tuple[Account, str]:
    """The local cluster's account and a fresh token; made with a random password the first time."""
    from ambient_vcp.sdk.errors import LoginNeeded  # noqa: PLC0415 - httpx is slow to import

    path = data_dir / ACCOUNT_FILE
    with client_for(endpoint=endpoint, token="") as client:
        client.session.on_token = None
        if path.exists():
            saved: dict[str, Any] = json.loads(path.read_text())
            account = Account(username=saved["username"], password=saved["password"])
            try:
                return account, client.login(account.username, account.password)
            except LoginNeeded:
                pass  # the control plane's data was removed, or the file came half-way
        account = _new_account(client, taken=path.exists())
        body = {"username": account.username, "password": account.password}
        write_private(path, json.dumps(body).encode())
        client.register(account.username, account.password)
        return account, client.login(account.username, account.password)


def _new_account(client: Client, *, taken: bool) -> Account:
    del client
    suffix = f"-{os.urandom(3).hex()}" if taken else ""
    # Letters of both kinds, a digit and a sign: some password rules ask for all of them.
    return Account(username=f"{USERNAME}{suffix}", password=f"Aa1-{os.urandom(24).hex()}")


def free_port(wanted: int, *, tries: int = 1) -> int:
    """``wanted`` or one of the next that is free; 0 takes any.

    Raises:
        CommandFailed: none of them is free.
    """
    for port in range(wanted, wanted + tries):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CommandFailed(
        f"port {wanted} is in use", hint="Choose another with --port, or 0 for any.", code="in_use"
    )


def wait_until(condition: Callable[[], bool], child: Child, otherwise: str) -> None:
    """Poll until the condition holds; fail as soon as the child has ended."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        child.check_running()
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"{otherwise} after {START_TIMEOUT_S:.0f} s:\n{child.log_tail()}",
                hint=f"Its whole log is {child.log_file}.",
                code="start_timeout",
            )
        time.sleep(POLL_S)


def _has_joined(state_file: Path, endpoint: str) -> bool:
    """Whether the node of this state file has joined; its control plane may have a new port.

    An agent does not follow a control plane to another address by itself. Here both are ours, so
    the address is put right in the agent's state before it starts.
    """
    try:
        state = json.loads(state_file.read_text())
    except (FileNotFoundError, ValueError):
        return False
    if state.get("url") != endpoint:
        write_private(state_file, json.dumps({**state, "url": endpoint}).encode())
    return bool(state.get("enrolled"))


def is_serving(client: Client, node_id: str, *, since_ms: int) -> bool:
    """Whether the node is online, and was heard of after ``since_ms`` (both clocks are ours)."""
    from ambient_vcp.sdk.errors import RequestRefused  # noqa: PLC0415 - httpx is slow to import

    try:
        node = client.node(node_id)
    except RequestRefused:
        return False
    seen_ms = datetime.fromisoformat(str(node.raw["last_seen"])).timestamp() * 1000
    return node.status == "online" and bool(node.raw.get("public_key")) and seen_ms >= since_ms


def _is_healthy(client: Client) -> bool:
    from ambient_vcp.sdk.errors import ClientError  # noqa: PLC0415 - httpx is slow to import

    try:
        return bool(client.health().get("status") == "healthy")
    except ClientError:
        return False
