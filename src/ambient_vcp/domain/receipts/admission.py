"""Whether what a node hands in can stand in a receipt. Asked before it is recorded."""

from __future__ import annotations

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.receipts.canonical import canonical_json
from ambient_vcp.domain.receipts.receipt import EnergyFacts, EnergyLabel, StatementFacts
from ambient_vcp.domain.receipts.shape import from_json, to_json
from ambient_vcp.domain.tasks.records import AttemptResult

_LABELS = frozenset(EnergyLabel)


def check_result_fits(result: AttemptResult) -> None:
    """Refuse a result that no receipt could show.

    A node could otherwise make a task's receipt impossible, or one that nobody can verify, with an
    overlong text, an integer beyond 2^53 - 1, text that is not Unicode, or energy whose label and
    figure contradict each other.

    Raises:
        InvalidInputError: ``where`` names the field.
    """
    outcome, energy = result.outcome, result.energy
    if energy.label not in _LABELS:
        raise InvalidInputError(
            where="result.energy.label", rule=f"one of {', '.join(EnergyLabel)}"
        )
    label = EnergyLabel(energy.label)
    if (energy.millijoules is None) != (label is EnergyLabel.UNKNOWN):
        raise InvalidInputError(
            where="result.energy", rule="has a figure exactly when its label is not unknown"
        )
    statement = StatementFacts(
        reason=outcome.reason,
        trap=outcome.trap,
        output_digest=outcome.output_digest,
        output_size_bytes=outcome.output_size_bytes,
        fuel_used=outcome.fuel_used,
        memory_peak_bytes=outcome.memory_peak_bytes,
        exec_class=result.exec_class,
        trace_digest=result.trace_digest,
    )
    facts = EnergyFacts(millijoules=energy.millijoules, label=label, source=energy.source)
    for kind, value, where in (
        (StatementFacts, statement, "result"),
        (EnergyFacts, facts, "result.energy"),
    ):
        encoded = to_json(value)
        canonical_json(encoded)
        from_json(kind, encoded, where)
