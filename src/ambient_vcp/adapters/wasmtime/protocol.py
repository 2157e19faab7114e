"""What node agent, zygote and cells say to each other. Everything is bounded and parsed strictly.

Agent and zygote speak over a SOCK_SEQPACKET pair, one JSON document per packet; a ``spare`` packet
carries the agent's end of that cell's own stream. Over the stream the agent sends one job (4-byte
length, JSON; the descriptors travel with its first byte) and the cell answers with one report
(4-byte length of the JSON, 4-byte length of the log, both parts), then closes. A cell has run
hostile code, so its report is hostile bytes.
"""

from __future__ import annotations

import struct

import msgspec

from ambient_vcp.domain.execution.outcome import Reason

PACKET_BYTES_MAX = 64 * 1024
JOB_BYTES_MAX = 512 * 1024
REPORT_BYTES_MAX = 256 * 1024
LOG_BYTES_MAX = 192 * 1024
DETAIL_CHARS_MAX = 300
TRAP_CHARS_MAX = 64

JOB_HEADER = struct.Struct("<I")
REPORT_HEADER = struct.Struct("<II")


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run. ``fds`` names the descriptors in the order in which they travel."""

    interface: str
    name: str
    args: list[str]
    env: list[tuple[str, str]]
    fuel_max: int
    memory_bytes_max: int
    wall_ms_max: int
    output_bytes_max: int
    stack_bytes_max: int
    log_bytes_max: int
    random_seed: bytes
    clock_start_ms: int
    fds: list[str]


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run ended, in the cell's own words. ``first_instruction_ns`` is CLOCK_MONOTONIC."""

    reason: Reason | None
    trap: str
    detail: str
    output_bytes: int
    fuel_used: int
    memory_peak_bytes: int
    compile_ms: float
    run_ms: float
    first_instruction_ns: int


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The zygote is ready. ``active`` and ``inactive`` are the isolation layers as probed."""

    engine: str
    exec_class: str
    active: dict[str, str]
    inactive: dict[str, str]


class Spare(msgspec.Struct, frozen=True, kw_only=True, tag="spare"):
    """A cell was forked; its stream travels with this packet."""

    cell: int
    pid: int


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag="exited"):
    """A cell is gone and reaped. ``signal`` is 0 where it ended by itself with ``code``."""

    cell: int
    code: int
    signal: int
    cpu_ms: float


class ForkFailed(msgspec.Struct, frozen=True, kw_only=True, tag="fork_failed"):
    why: str


class Fork(msgspec.Struct, frozen=True, kw_only=True, tag="fork"):
    """Make one more cell. ``rehearse`` prepares it longer: not where a run waits for it."""

    rehearse: bool


class Kill(msgspec.Struct, frozen=True, kw_only=True, tag="kill"):
    cell: int


FromZygote = Hello | Spare | Exited | ForkFailed
ToZygote = Fork | Kill


class MalformedReportError(Exception):
    """A cell's report is not what a healthy cell sends."""


def encode_job(job: Job) -> bytes:
    body = msgspec.json.encode(job)
    return JOB_HEADER.pack(len(body)) + body


def encode_report(report: Report, log: bytes) -> bytes:
    body = msgspec.json.encode(report)
    return REPORT_HEADER.pack(len(body), len(log)) + body + log


def decode_report(data: bytes) -> tuple[Report, bytes]:
    """Raises MalformedReportError for anything but one complete, plausible report."""
    if not REPORT_HEADER.size <= len(data) <= REPORT_BYTES_MAX:
        raise MalformedReportError(f"a report of {len(data)} bytes")
    body_bytes, log_bytes = REPORT_HEADER.unpack_from(data)
    start = REPORT_HEADER.size
    if log_bytes > LOG_BYTES_MAX or start + body_bytes + log_bytes != len(data):
        raise MalformedReportError("lengths that do not add up")
    try:
        report = msgspec.json.decode(data[start : start + body_bytes], type=Report)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedReportError("a report that does not parse") from error
    numbers = (report.output_bytes, report.fuel_used, report.memory_peak_bytes)
    if any(not 0 <= number < 1 << 63 for number in numbers):
        raise MalformedReportError("a number out of range")
    if len(report.detail) > DETAIL_CHARS_MAX or len(report.trap) > TRAP_CHARS_MAX:
        raise MalformedReportError("a text that is too long")
    if not report.trap.isascii() or not report.detail.isascii():
        raise MalformedReportError("text that is not escaped")
    return report, data[start + body_bytes :]
