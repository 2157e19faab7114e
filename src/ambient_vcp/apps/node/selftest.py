"""Two tiny guests with known answers: does the sandbox work here, and how fast is it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ambient_vcp.domain.execution.invocation import CellLimits, ScalarCall
from ambient_vcp.domain.execution.seed import GUEST_CLOCK_START_MS
from ambient_vcp.ports.sandbox import CellReport, GuestRun, Sandbox

ADD_WASM = bytes.fromhex(
    # (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)
MIX_WASM = bytes.fromhex(
    # (module (func (export "mix") (param i32) (result i64) (local i64)
    #   loop $again
    #     local.get 1 i64.const 6364136223846793005 i64.mul
    #     i64.const 1442695040888963407 i64.add local.set 1
    #     local.get 0 i32.const 1 i32.sub local.tee 0 br_if $again
    #   end
    #   local.get 1))
    "0061736d0100000001060160017f017e03020100070701036d697800000a2f012d01017e0340200142adfed5e4"
    "d485fda8d8007e42cf829ebbefefde82147c2101200041016b22000d000b20010b"
)
MIX_ROUNDS = 20_000_000
_MULTIPLIER, _INCREMENT, _MODULUS = 6364136223846793005, 1442695040888963407, 2**64
_SEED = bytes(32)
_MS_PER_S = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """``problem`` is empty when both guests gave the right answer."""

    problem: str
    start_ms: float = 0.0
    rounds_per_second: float = 0.0


async def self_test(sandbox: Sandbox, folder: Path) -> SelfTest:
    """Run both guests in real cells; ``folder`` takes their files."""
    added = await _run(sandbox, folder, ADD_WASM, ScalarCall(name="add", args=("2", "40")))
    if problem := _problem(added, folder, 42):
        return SelfTest(problem=f"add: {problem}")
    mixed = await _run(sandbox, folder, MIX_WASM, ScalarCall(name="mix", args=(str(MIX_ROUNDS),)))
    if problem := _problem(mixed, folder, mix(MIX_ROUNDS)):
        return SelfTest(problem=f"mix: {problem}")
    return SelfTest(
        problem="",
        start_ms=added.start_ms,
        rounds_per_second=MIX_ROUNDS / max(mixed.run_ms, 0.001) * _MS_PER_S,
    )


def mix(rounds: int) -> int:
    """What the second guest must answer, as a signed 64-bit number.

    ``rounds`` steps of the generator ``x -> a x + c`` from 0, by repeated squaring of the step.
    """
    factor, offset = 1, 0
    step_factor, step_offset = _MULTIPLIER, _INCREMENT
    while rounds:
        if rounds & 1:
            factor = factor * step_factor % _MODULUS
            offset = (offset * step_factor + step_offset) % _MODULUS
        step_offset = step_offset * (step_factor + 1) % _MODULUS
        step_factor = step_factor * step_factor % _MODULUS
        rounds >>= 1
    return offset - _MODULUS if offset >= _MODULUS // 2 else offset


async def _run(sandbox: Sandbox, folder: Path, module: bytes, call: ScalarCall) -> CellReport:
    module_path = folder / "module.wasm"
    module_path.write_bytes(module)
    return await sandbox.run(
        GuestRun(
            module_path=module_path,
            call=call,
            public_input_path=None,
            private_input_path=None,
            output_path=folder / "output",
            limits=CellLimits(),
            random_seed=_SEED,
            clock_start_ms=GUEST_CLOCK_START_MS,
        )
    )


def _problem(report: CellReport, folder: Path, expected: int) -> str:
    outcome = report.outcome
    if not outcome.ok:
        return f"{outcome.reason}: {outcome.detail}"
    output = (folder / "output").read_bytes()
    if f'"{expected}"'.encode() not in output:
        return f"answered {output[:80]!r} instead of {expected}"
    return ""
