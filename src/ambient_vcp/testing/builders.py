"""Builders: a sensible value of every domain type, any field of which a test may replace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ambient_vcp.domain.execution.invocation import BytesCall, ScalarCall
from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.ids import AccountId, NodeId, TaskId
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import Node, NodeReport, NodeStatus
from ambient_vcp.domain.nodes.telemetry import Telemetry
from ambient_vcp.domain.scheduling.view import NodeView, SlotDemand
from ambient_vcp.domain.tasks.lifecycle import AttemptState, SlotPurpose, SlotState, TaskState
from ambient_vcp.domain.tasks.records import Attempt, Slot, Task, TaskRecord
from ambient_vcp.domain.tasks.request import TaskRequest
from ambient_vcp.domain.tasks.spec import (
    AssuranceClass,
    InputRef,
    LeaseRef,
    NodeType,
    Requirements,
    TaskSpec,
    TaskType,
    VerificationRequest,
)
from ambient_vcp.testing.clock import START_MS
from ambient_vcp.testing.signers import (
    EXEC_CLASS,
    digest_of,
    signed_result,
    signer_named,
    success,
)

T = TypeVar("T")

ACCOUNT_ID = AccountId("4c1d0a34-93b8-4d7c-9a3c-0d3f5c2f7a10")
OWNER_ID = AccountId("9b7b6a52-0a55-4a62-8f3e-4f5a3a6e1b20")
TASK_ID = TaskId("3f1c9a52-7a54-4d8e-9c0b-1d2e3f405162")


def _changed(value: T, changes: dict[str, Any]) -> T:
    return replace(value, **changes) if changes else value  # type: ignore[type-var]  # dataclasses only


def module_ref(data: bytes = b"\0asm module", size_bytes: int | None = None) -> InputRef:
    return InputRef(
        digest=digest_of(data), size_bytes=len(data) if size_bytes is None else size_bytes
    )


def input_ref(data: bytes) -> InputRef:
    return InputRef(digest=digest_of(data), size_bytes=len(data), inline=data)


def request(**changes: Any) -> TaskRequest:
    """A submission of a module that every rule allows."""
    base = TaskRequest(
        task_type="wasm_execution", module=module_ref(), call=ScalarCall(name="fib", args=("20",))
    )
    return _changed(base, changes)


def spec(**changes: Any) -> TaskSpec:
    """A ``signed`` bytes task with a small public input."""
    base = TaskSpec(
        task_type=TaskType.WASM_EXECUTION,
        module=module_ref(),
        call=BytesCall(),
        public_input=input_ref(b"input"),
    )
    return _changed(base, changes)


def quorum_spec(replicas: int, **changes: Any) -> TaskSpec:
    return spec(
        verification=VerificationRequest(assurance_class=AssuranceClass.QUORUM, replicas=replicas),
        **changes,
    )


def telemetry(**changes: Any) -> Telemetry:
    """A complete sample of a healthy machine."""
    base = Telemetry(
        measured_at_ms=START_MS,
        upload_mbps=500.0,
        download_mbps=500.0,
        latency_ms=20.0,
        cpu_percent=20.0,
        memory_percent=40.0,
        temperature_c=50.0,
        power_watts=30.0,
        power_source="estimate",
    )
    return _changed(base, changes)


def report(**changes: Any) -> NodeReport:
    base = NodeReport(
        boot_id="boot-1",
        version="0.1.0",
        engine="wasmtime 50.0.1",
        exec_class=EXEC_CLASS,
        concurrency_max=4,
    )
    return _changed(base, changes)


def node(name: str, **changes: Any) -> Node:
    """An enrolled, healthy node with the key of ``name``, an owner and a network of its own."""
    base = Node(
        id=NodeId(name),
        owner_id=AccountId(f"owner-of-{name}"),
        region="eu-west",
        node_type=NodeType.COMPUTE,
        capabilities=Capabilities(
            bandwidth_mbps=500, cpu_cores=8, memory_gb=16, gpu_available=False
        ),
        status=NodeStatus.ONLINE,
        registered_at_ms=START_MS,
        last_seen_at_ms=START_MS,
        public_key=signer_named(name).public_key,
        network_prefix=f"net-of-{name}",
        telemetry=telemetry(),
        telemetry_received_at_ms=START_MS,
        report=report(),
    )
    return _changed(base, changes)


def view(name: str, **changes: Any) -> NodeView:
    """A node as placement sees it: idle, well, with an owner and a network of its own."""
    base = NodeView(
        id=NodeId(name),
        owner_id=AccountId(f"owner-of-{name}"),
        network_prefix=f"net-of-{name}",
        node_type=NodeType.COMPUTE,
        region="eu-west",
        cpu_cores=8,
        memory_gb=16.0,
        bandwidth_mbps=500.0,
        gpu=False,
        enrolled=True,
        online=True,
        draining=False,
        breaker_reasons=(),
        refusing=(),
        health=0.8,
        reputation=0.5,
        latency_ms=20.0,
        cpu_percent=20.0,
        exec_class=EXEC_CLASS,
        trusted=False,
        capacity=4,
        leases=0,
        registered_at_ms=START_MS,
    )
    return _changed(base, changes)


def demand(task_id: str = TASK_ID, slot: int = 0, **changes: Any) -> SlotDemand:
    """A slot of a task with one replica."""
    base = SlotDemand(
        task_id=TaskId(task_id),
        slot=slot,
        purpose=SlotPurpose.PRIMARY,
        requirements=Requirements(),
        account_id=ACCOUNT_ID,
        taken=frozenset(),
        failed=frozenset(),
        taken_owners=frozenset(),
        taken_prefixes=frozenset(),
        exec_class="",
        independence_waived=False,
        replicated=False,
    )
    return _changed(base, changes)


def replicas(task_id: str, count: int, **changes: Any) -> list[SlotDemand]:
    """The slots of one task with ``count`` replicas."""
    return [demand(task_id, index, replicated=True, **changes) for index in range(count)]


def slot(index: int = 0, **changes: Any) -> Slot:
    base = Slot(
        task_id=TASK_ID,
        index=index,
        purpose=SlotPurpose.PRIMARY,
        state=SlotState.WAITING,
        lease_epoch=0,
        node_id=None,
        lease_expires_at_ms=None,
        not_before_ms=START_MS,
        waiting_since_ms=START_MS,
    )
    return _changed(base, changes)


def attempt(index: int, name: str, **changes: Any) -> Attempt:
    """An attempt of slot ``index`` by node ``name`` that was just granted."""
    base = Attempt(
        task_id=TASK_ID,
        slot=index,
        epoch=1,
        purpose=SlotPurpose.PRIMARY,
        node_id=NodeId(name),
        state=AttemptState.ASSIGNED,
        granted_at_ms=START_MS,
    )
    return _changed(base, changes)


def vote(
    task_spec: TaskSpec,
    index: int,
    name: str,
    outcome: Outcome | None = None,
    *,
    output: bytes = b"right",
    **changes: Any,
) -> Attempt:
    """A completed attempt of node ``name`` whose result is really signed by it."""
    made = attempt(index, name, **changes)
    made = replace(
        made, state=AttemptState.COMPLETED, finished_at_ms=made.granted_at_ms + 1_000 + index
    )
    lease = LeaseRef(task_id=made.task_id, slot=index, epoch=made.epoch, node_id=made.node_id)
    result = signed_result(
        task_spec,
        lease,
        outcome or success(output),
        signer_named(name),
        output=output if outcome is None else b"",
    )
    return replace(made, result=result)


def record(
    task_spec: TaskSpec,
    attempts: Sequence[Attempt] = (),
    slots: Sequence[Slot] = (),
    **changes: Any,
) -> TaskRecord:
    """A task with these attempts; a slot each unless told otherwise."""
    task = Task(
        id=TASK_ID,
        account_id=ACCOUNT_ID,
        spec=task_spec,
        state=TaskState.RUNNING,
        created_at_ms=START_MS,
        updated_at_ms=START_MS,
        next_check_at_ms=START_MS + task_spec.timeouts.queue_ms,
    )
    return TaskRecord(
        task=_changed(task, changes),
        slots=tuple(slots) or tuple(_slot_of(each) for each in attempts),
        attempts=tuple(attempts),
    )


_SLOT_STATE = {
    AttemptState.ASSIGNED: SlotState.LEASED,
    AttemptState.IN_PROGRESS: SlotState.LEASED,
    AttemptState.COMPLETED: SlotState.FILLED,
}


def _slot_of(each: Attempt) -> Slot:
    return slot(
        each.slot,
        purpose=each.purpose,
        state=_SLOT_STATE.get(each.state, SlotState.WAITING),
        lease_epoch=each.epoch,
        node_id=each.node_id,
    )
