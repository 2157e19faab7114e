"""Whether what a node hands in is well formed, within bounds, and really signed by it."""

from __future__ import annotations

import hashlib
from typing import Protocol

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.execution.invocation import entry_name, interface_name
from ambient_vcp.domain.ids import PublicKey, Signature
from ambient_vcp.domain.nodes.node import Node
from ambient_vcp.domain.receipts.admission import check_result_fits
from ambient_vcp.domain.receipts.statement import arguments_digest
from ambient_vcp.domain.tasks.records import AttemptResult
from ambient_vcp.domain.tasks.spec import LeaseRef, TaskSpec
from ambient_vcp.domain.verification.judge import EMPTY_DIGEST, attempt_statement, input_digest


class Checker(Protocol):
    """The part of a signature verifier that is needed here."""

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool: ...


def check_result(
    spec: TaskSpec, lease: LeaseRef, result: AttemptResult, node: Node, verifier: Checker
) -> None:
    """Refuse a result that is inconsistent with the task, itself or its signature.

    Raises:
        InvalidInputError: ``where`` names what is wrong.
        LimitExceededError: it claims more than the task's limits.
    """
    check_result_fits(result)
    outcome = result.outcome
    if outcome.reason is not None and not outcome.is_deterministic:
        raise InvalidInputError(
            where="result.outcome.reason", rule="is not an answer; report it as a failure"
        )
    for name, got, maximum in (
        ("fuel_used", outcome.fuel_used, spec.limits.fuel_max),
        ("output_size_bytes", outcome.output_size_bytes, spec.limits.output_bytes_max),
        ("memory_peak_bytes", outcome.memory_peak_bytes, spec.limits.memory_bytes_max),
    ):
        if got < 0:
            raise InvalidInputError(where=f"result.outcome.{name}", rule="is not negative")
        if got > maximum:
            raise LimitExceededError(limit=f"result.outcome.{name}", maximum=maximum, got=got)
    _check_output(result)
    _check_trace(spec, result)
    if node.public_key is None or result.node_public_key != node.public_key:
        raise InvalidInputError(where="result.node_public_key", rule="is the node's enrolled key")
    message = attempt_statement(spec, lease, result).encode()
    if not verifier.verify(node.public_key, message, result.signature):
        raise InvalidInputError(
            where="result.signature",
            rule="is the node's signature over the result statement of this very lease",
        )


def _check_output(result: AttemptResult) -> None:
    outcome = result.outcome
    if not outcome.ok and (outcome.output_size_bytes or outcome.output_digest != EMPTY_DIGEST):
        raise InvalidInputError(where="result.outcome", rule="a failure has no output")
    if result.output is None:
        return
    if len(result.output) != outcome.output_size_bytes:
        raise InvalidInputError(where="result.output", rule="has the stated size")
    if hashlib.sha256(result.output).hexdigest() != outcome.output_digest:
        raise InvalidInputError(where="result.output", rule="has the stated digest")


def _check_trace(spec: TaskSpec, result: AttemptResult) -> None:
    trace, outcome = result.trace, result.outcome
    pairs = (
        ("module_digest", trace.module_digest, spec.module.digest),
        ("interface", trace.interface, interface_name(spec.call)),
        ("entry", trace.entry, entry_name(spec.call)),
        ("arguments_digest", trace.arguments_digest, arguments_digest(spec.call)),
        ("public_input_digest", trace.public_input_digest, input_digest(spec)),
        ("output_digest", trace.output_digest, outcome.output_digest),
        ("reason", trace.reason, outcome.reason or ""),
        ("trap", trace.trap, outcome.trap),
        ("fuel_used", trace.fuel_used, outcome.fuel_used),
        ("memory_peak_bytes", trace.memory_peak_bytes, outcome.memory_peak_bytes),
        ("exec_class", trace.exec_class, result.exec_class),
    )
    for name, got, wanted in pairs:
        if got != wanted:
            raise InvalidInputError(
                where=f"result.trace.{name}", rule="agrees with the task and the outcome"
            )
    if trace.digest() != result.trace_digest:
        raise InvalidInputError(where="result.trace_digest", rule="is the digest of the trace")
