"""Task submissions: their shape, and what they mean."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ambient_vcp.wire.fields import HexDigest, Shape
from ambient_vcp.wire.http.fields import Short

MODULE_TEXT_MAX = 700_000
BULK_MAX = 1_000

Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


class DigestRef(Shape, frozen=True):
    digest: HexDigest


class RequirementsIn(Shape, frozen=True):
    min_nodes: Whole = 1
    max_execution_time_sec: Whole = 60
    require_gpu: bool = False
    require_proof: bool = False
    min_cpu_cores: Whole | None = None
    min_memory_gb: float | None = None
    min_bandwidth_mbps: float | None = None
    region: Annotated[str, msgspec.Meta(max_length=32)] = ""


class VerificationIn(Shape, frozen=True):
    """``class`` is signed or quorum; ``audit_rate`` is a share, 0.05 to 1."""

    assurance_class: Short | None = msgspec.field(default=None, name="class")
    replicas: Whole | None = None
    audit_rate: float | None = None


class LimitsIn(Shape, frozen=True):
    fuel: Whole | None = None
    memory_bytes: Whole | None = None
    wall_ms: Whole | None = None
    output_bytes: Whole | None = None
    stack_bytes: Whole | None = None


class TimeoutsIn(Shape, frozen=True):
    queue_sec: Whole | None = None
    total_sec: Whole | None = None


class TaskSubmission(Shape, frozen=True):
    """One task. ``inputs`` depends on the type; see docs/protocol/http.md."""

    task_type: Short
    inputs: Any
    wasm_module: Annotated[str, msgspec.Meta(max_length=MODULE_TEXT_MAX)] | None = None
    module: DigestRef | None = None
    requirements: RequirementsIn = RequirementsIn()
    verification: VerificationIn | None = None
    limits: LimitsIn = LimitsIn()
    timeouts: TimeoutsIn = TimeoutsIn()
    max_attempts: Whole = 5
    name: Annotated[str, msgspec.Meta(max_length=512)] = ""


class BulkSubmission(Shape, frozen=True):
    tasks: Annotated[list[TaskSubmission], msgspec.Meta(min_length=1, max_length=BULK_MAX)]


class BulkAnswer(Shape, frozen=True):
    task_ids: list[str]


class InputIn(Shape, frozen=True):
    """Bytes: exactly one of the three."""

    base64: str | None = None
    text: str | None = None
    digest: HexDigest | None = None


Argument = Annotated[str, msgspec.Meta(max_length=4_096)] | int | float


class ScalarIn(Shape, frozen=True, tag_field="interface", tag="scalar"):
    entry: Short
    args: Annotated[tuple[Argument, ...], msgspec.Meta(max_length=256)] = ()


class BytesIn(Shape, frozen=True, tag_field="interface", tag="bytes"):
    input: InputIn | None = None
    private_input: InputIn | None = None
    private_commitment: HexDigest | None = None


class WasiIn(Shape, frozen=True, tag_field="interface", tag="wasi"):
    args: Annotated[tuple[str, ...], msgspec.Meta(max_length=256)] = ()
    env: Annotated[dict[str, str], msgspec.Meta(max_length=64)] = msgspec.field(
        default_factory=dict
    )
    stdin: InputIn | None = None


WasmInputs = ScalarIn | BytesIn | WasiIn


class WasmBody(Shape, frozen=True):
    """What a module gets. A shape, because msgspec prepares one only once, a union each time."""

    inputs: WasmInputs
