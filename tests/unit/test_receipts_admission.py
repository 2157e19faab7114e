"""What no receipt could show is refused before it is recorded."""

from dataclasses import replace

import pytest

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.receipts.admission import check_result_fits
from ambient_vcp.domain.tasks.records import UNKNOWN_ENERGY, AttemptResult, Energy
from ambient_vcp.testing.receipts import digest_of, signer_of

OUTCOME = Outcome(
    reason=None,
    output_digest=digest_of("output"),
    output_size_bytes=6,
    fuel_used=1,
    memory_peak_bytes=65_536,
)
TRACE = Trace(
    module_digest=digest_of("m"),
    interface="bytes",
    entry="run",
    arguments_digest=digest_of("a"),
    public_input_digest=digest_of("p"),
    private_input_digest="",
    output_digest=OUTCOME.output_digest,
    reason="",
    trap="",
    fuel_used=1,
    memory_peak_bytes=65_536,
    engine="wasmtime 50.0.1",
    exec_class="x86",
    started_at_ms=0,
    finished_at_ms=1,
    compile_ms=0,
    cpu_ms=1,
    wall_ms=1,
)
RESULT = AttemptResult(
    outcome=OUTCOME,
    output=b"output",
    trace=TRACE,
    trace_digest=TRACE.digest(),
    exec_class="x86",
    signature=signer_of("node").sign(b""),
    node_public_key=signer_of("node").public_key,
    energy=UNKNOWN_ENERGY,
)


@pytest.mark.parametrize(
    "energy",
    [
        UNKNOWN_ENERGY,
        Energy(millijoules=0, label="measured", source="rapl"),
        Energy(millijoules=2**53 - 1, label="estimated", source=""),
    ],
)
def test_an_ordinary_result_fits(energy):
    check_result_fits(replace(RESULT, energy=energy))


@pytest.mark.parametrize(
    "energy",
    [
        Energy(millijoules=1, label="unknown", source=""),
        Energy(millijoules=None, label="measured", source=""),
        Energy(millijoules=1, label="certain", source=""),
        Energy(millijoules=-1, label="measured", source=""),
        Energy(millijoules=2**53, label="measured", source=""),
        Energy(millijoules=1, label="measured", source="x" * 1_025),
        Energy(millijoules=1, label="measured", source="\ud800"),
    ],
    ids=repr,
)
def test_energy_that_contradicts_itself_or_overflows_is_refused(energy):
    with pytest.raises(InvalidInputError):
        check_result_fits(replace(RESULT, energy=energy))


@pytest.mark.parametrize(
    "changes",
    [
        {"trap": "x" * 1_025},
        {"trap": "\udfff"},
        {"fuel_used": 2**53},
        {"output_size_bytes": -1},
        {"memory_peak_bytes": 2**60},
        {"output_digest": "AB" * 32},
    ],
    ids=str,
)
def test_an_outcome_out_of_bounds_is_refused(changes):
    with pytest.raises(InvalidInputError):
        check_result_fits(replace(RESULT, outcome=replace(OUTCOME, **changes)))


def test_an_execution_class_out_of_bounds_is_refused():
    with pytest.raises(InvalidInputError):
        check_result_fits(replace(RESULT, exec_class="x" * 1_025))
