"""Builds the agent's parts from settings and the data folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ambient_vcp import __version__
from ambient_vcp.adapters.control_plane_http import NodeApi, Transport
from ambient_vcp.adapters.control_plane_http.transport import base_url_of
from ambient_vcp.adapters.ed25519 import Ed25519Signer
from ambient_vcp.adapters.system import SystemClock, SystemEntropy
from ambient_vcp.adapters.telemetry import Machine
from ambient_vcp.adapters.telemetry.machine import WATTS_PER_BUSY_CORE
from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.apps.node.contact.enrolment import BANDWIDTH_MBPS_MIN, Membership
from ambient_vcp.apps.node.contact.link import Link
from ambient_vcp.apps.node.disk.data_dir import DataDir, DataDirError, NodeState
from ambient_vcp.apps.node.disk.spool import Spool
from ambient_vcp.apps.node.disk.state import AgentState
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.settings import (
    GIB,
    OBSERVABILITY_PORT_DEFAULT,
    Settings,
    owner_limits,
)
from ambient_vcp.apps.node.work.chaos import Chaos
from ambient_vcp.domain.ids import NodeId, PublicKey
from ambient_vcp.domain.nodes.agent import HeldLeases
from ambient_vcp.domain.nodes.capability import (
    Capabilities,
    check_node_id,
    check_node_type,
    check_region,
)
from ambient_vcp.domain.nodes.node import NodeReport
from ambient_vcp.domain.nodes.owner_limits import OwnerLimits
from ambient_vcp.ports.sandbox import IsolationReport, Sandbox

REGION_DEFAULT = "us-west"
NODE_TYPE_DEFAULT = "compute"
NODE_ID_KEY_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything the agent's loops are made of."""

    api: NodeApi
    transport: Transport
    membership: Membership
    data_dir: DataDir
    spool: Spool
    state: AgentState
    sandbox: Sandbox
    signer: Ed25519Signer
    sensors: Machine
    clock: SystemClock
    entropy: SystemEntropy
    link: Link
    log: EventLog
    chaos: Chaos
    report: Callable[[], NodeReport]
    drain_seconds: float
    observability_port: int | None


def joined_state(settings: Settings, data_dir: DataDir, public_key: PublicKey) -> NodeState:
    """What the data folder shall say about this node, from what it says and what was typed.

    Raises:
        DataDirError: ``run`` without an earlier ``join``, or ``join`` to another control plane.
        InvalidInputError: a name, region, type or address breaks its rule.
    """
    old = data_dir.load_state()
    if settings.verb == "run":
        if old is None or not old.enrolled:
            raise DataDirError(
                path=str(data_dir.root),
                reason="no node has joined from it",
                advice="Join first: ambient-vcp node join URL --code CODE",
            )
        return old
    url = base_url_of(settings.url)
    if old is not None and old.enrolled and old.url != url:
        raise DataDirError(
            path=str(data_dir.root),
            reason=f"its node has joined {old.url}",
            advice="Give this node a folder of its own with --data-dir.",
        )
    known = old or NodeState(url=url, node_id="", region="", node_type="")
    node_id = settings.node_id or known.node_id or f"node-{public_key[:NODE_ID_KEY_DIGITS]}"
    return msgspec.structs.replace(
        known,
        url=url,
        node_id=check_node_id(node_id),
        region=check_region(settings.region or known.region or REGION_DEFAULT),
        node_type=check_node_type(settings.node_type or known.node_type or NODE_TYPE_DEFAULT).value,
        terms={**known.terms, **settings.terms},
    )


def _standing(sandbox: WasmtimeSandbox, boot_id: str, cells_max: int) -> NodeReport:
    """What a heartbeat says that does not change while the agent runs."""
    return NodeReport(
        boot_id=boot_id,
        version=__version__,
        engine=sandbox.engine,
        exec_class=sandbox.exec_class,
        concurrency_max=cells_max,
        isolation=isolation_texts(sandbox.isolation),
    )


def _status_port(terms: Mapping[str, Any]) -> int | None:
    """The port of the local status page, if the owner wants one."""
    if not terms.get("observability"):
        return None
    return int(terms.get("observability_port") or OBSERVABILITY_PORT_DEFAULT)


async def build(
    settings: Settings, data_dir: DataDir, node: NodeState, signer: Ed25519Signer, log: EventLog
) -> Parts:
    """Start the sandbox and put the parts together. ``close_parts`` undoes it.

    Raises:
        VcpError: the sandbox cannot run here, or a term is out of its bounds.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    terms = {**node.terms, **settings.terms}
    limits = owner_limits(terms)
    watts_per_core = float(terms.get("watts_per_core") or WATTS_PER_BUSY_CORE)
    sensors = Machine(clock, watts_per_core=watts_per_core)
    sandbox = await WasmtimeSandbox.start(spares=min(2, limits.cells_max))
    agent_name = f"ambient-vcp-node/{__version__}"
    transport = Transport(node.url, monotonic_ms=clock.monotonic_ms, user_agent=agent_name)
    link = Link(log, entropy)
    api = NodeApi(transport, signer, NodeId(node.node_id))
    standing = _standing(sandbox, entropy.uuid4(), limits.cells_max)
    state = AgentState(
        limits=limits,
        held=HeldLeases(limits.cells_max),
        started_at_ms=clock.monotonic_ms(),
    )

    def report() -> NodeReport:
        return state.report(standing, clock.monotonic_ms())

    declared = terms.get("bandwidth_mbps")
    membership = Membership(
        api,
        transport,
        data_dir,
        node,
        capabilities=_capabilities(limits, declared or node.bandwidth_mbps, sensors),
        report=report,
        bandwidth_is_declared=declared is not None,
        clock=clock,
        link=link,
        log=log,
    )
    return Parts(
        api=api,
        transport=transport,
        membership=membership,
        data_dir=data_dir,
        spool=Spool(data_dir.spool, data_dir.outputs),
        state=state,
        sandbox=sandbox,
        signer=signer,
        sensors=sensors,
        clock=clock,
        entropy=entropy,
        link=link,
        log=log,
        chaos=settings.chaos,
        report=report,
        drain_seconds=settings.drain_seconds,
        observability_port=_status_port(terms),
    )


async def close_parts(parts: Parts) -> None:
    await parts.sandbox.close()
    await parts.transport.close()


def isolation_texts(report: IsolationReport) -> dict[str, str]:
    active = {layer: f"active: {text}" for layer, text in report.active.items()}
    return active | {layer: f"inactive: {text}" for layer, text in report.inactive.items()}


def _capabilities(limits: OwnerLimits, mbps: object, sensors: Machine) -> Capabilities:
    """What is offered. Bandwidth is the least that a node may declare until it was measured."""
    return Capabilities(
        bandwidth_mbps=float(mbps) if isinstance(mbps, int | float) else BANDWIDTH_MBPS_MIN,
        cpu_cores=limits.cores_max,
        memory_gb=round(limits.memory_bytes_max / GIB, 2),
        gpu_available=sensors.gpu_available(),
    )
