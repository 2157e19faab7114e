"""How a run of a guest ended. Success and every kind of failure, each with its own reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.ids import Digest


class Reason(StrEnum):
    """Why a run did not return a result. The text is stable and appears in receipts."""

    # Decided by the module and its input alone: every honest node sees the same.
    MODULE_INVALID = "module_invalid"
    MODULE_TOO_LARGE = "module_too_large"
    FORBIDDEN_IMPORT = "forbidden_import"
    MISSING_EXPORT = "missing_export"
    BAD_ARGUMENTS = "bad_arguments"
    TRAP = "trap"
    EXIT_CODE = "exit_code"
    FUEL_EXHAUSTED = "fuel_exhausted"
    MEMORY_EXCEEDED = "memory_exceeded"
    STACK_EXHAUSTED = "stack_exhausted"
    OUTPUT_TOO_LARGE = "output_too_large"
    # Decided by the machine or the moment: another node may see something else.
    WALL_CLOCK_EXCEEDED = "wall_clock_exceeded"
    CELL_CRASHED = "cell_crashed"
    # The node's own trouble: never the guest's fault.
    INPUT_UNAVAILABLE = "input_unavailable"
    NODE_ERROR = "node_error"
    NODE_DRAINED = "node_drained"


DETERMINISTIC_REASONS = frozenset(
    {
        Reason.MODULE_INVALID,
        Reason.MODULE_TOO_LARGE,
        Reason.FORBIDDEN_IMPORT,
        Reason.MISSING_EXPORT,
        Reason.BAD_ARGUMENTS,
        Reason.TRAP,
        Reason.EXIT_CODE,
        Reason.FUEL_EXHAUSTED,
        Reason.MEMORY_EXCEEDED,
        Reason.STACK_EXHAUSTED,
        Reason.OUTPUT_TOO_LARGE,
    }
)
"""Failures that are answers: they vote, are signed and get receipts like a success."""

GUEST_SUSPECT_REASONS = frozenset({Reason.WALL_CLOCK_EXCEEDED, Reason.CELL_CRASHED})
"""Failures where guest and node are both suspect: several nodes must see one before it is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run produced.

    ``reason`` is None on success. ``detail`` is a short, escaped sentence for people and is not
    compared between nodes; ``trap`` is the engine's trap code or the exit code and is compared.
    ``output_digest`` is the SHA-256 of the output bytes (of the empty string on failure).
    ``fuel_used`` is exact on success and on ``FUEL_EXHAUSTED`` (the whole budget); on any other
    failure it is the whole budget by rule, because the engine's counter is stale after a trap.
    """

    reason: Reason | None
    trap: str = ""
    detail: str = ""
    output_digest: Digest
    output_size_bytes: int
    fuel_used: int
    memory_peak_bytes: int

    @property
    def ok(self) -> bool:
        return self.reason is None

    @property
    def is_deterministic(self) -> bool:
        return self.reason is None or self.reason in DETERMINISTIC_REASONS
