"""Checks that really happen: each says what was looked at, and only then gets its tick."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ambient_vcp.apps.cli.failures import CommandFailed, describe
from ambient_vcp.apps.cli.output import Column, Output

ADD_MODULE = bytes.fromhex(
    "0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b"
)
"""Exports `add (i32, i32) -> i32`."""

MARKS = {True: "ok", False: "FAIL", None: "not checked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``ok`` is None when the part could not be looked at; ``repair`` says what to do."""

    part: str
    ok: bool | None
    seen: str
    repair: str = ""


def look(part: str, check: Callable[[], str]) -> Finding:
    """Run one check: what it returns is what was seen, what it raises is what is wrong."""
    try:
        return Finding(part=part, ok=True, seen=check())
    except Exception as failure:  # noqa: BLE001 - a check may fail in any way, and that is its answer
        fields = describe(failure)
        return Finding(part=part, ok=False, seen=fields["message"], repair=fields["hint"])


def show_findings(findings: Sequence[Finding], out: Output) -> bool:
    """Print them; whether nothing was found bad. What was not looked at says so by itself."""
    columns = (
        Column("PART", lambda item: item["part"]),
        Column("", lambda item: MARKS[item["ok"]]),
        Column("SEEN", lambda item: item["seen"]),
        Column("REPAIR", lambda item: item["repair"] or " "),
    )
    out.items([asdict(finding) for finding in findings], columns, "part")
    return not any(finding.ok is False for finding in findings)


def sandbox_works() -> str:
    """Run 2 + 3 in a cell on this machine."""
    from ambient_vcp.domain.execution.invocation import ValueType  # noqa: PLC0415 - with the sandbox
    from ambient_vcp.domain.execution.scalars import (  # noqa: PLC0415 - with the sandbox
        decode_scalars,
        scalar_from_number,
    )

    outcome, engine = asyncio.run(_add_in_a_cell())
    if decode_scalars(outcome) != (scalar_from_number(ValueType.I32, 5),):
        raise CommandFailed(f"2 + 3 in a cell gave {outcome!r}", code="sandbox_broken")
    return f"2 + 3 = 5 in a cell of {engine}"


async def _add_in_a_cell() -> tuple[bytes, str]:
    from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox  # noqa: PLC0415 - starts a helper process's code
    from ambient_vcp.domain.execution.invocation import CellLimits, ScalarCall  # noqa: PLC0415 - with it
    from ambient_vcp.ports.sandbox import GuestRun  # noqa: PLC0415 - with it

    sandbox = await WasmtimeSandbox.start(spares=0)
    try:
        with tempfile.TemporaryDirectory(prefix="ambient-vcp-test-") as folder:
            module = Path(folder) / "add.wasm"
            module.write_bytes(ADD_MODULE)
            output = Path(folder) / "output"
            run = GuestRun(
                module_path=module,
                call=ScalarCall(name="add", args=("2", "3")),
                public_input_path=None,
                private_input_path=None,
                output_path=output,
                limits=CellLimits(),
                random_seed=bytes(32),
            )
            report = await sandbox.run(run)
            if report.outcome.reason is not None:
                raise CommandFailed(
                    f"{report.outcome.reason}: {report.outcome.detail}", code="sandbox_broken"
                )
            return output.read_bytes(), sandbox.engine
    finally:
        await sandbox.close()


def disk_has_room(folder: Path, bytes_min: int) -> str:
    """Free space where the data goes."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GiB free at {place}"
    if free < bytes_min:
        raise CommandFailed(
            text, hint="Free some space, or set AMBIENT_VCP_HOME.", code="disk_full"
        )
    return text


def unchecked(part: str, why: str) -> Finding:
    return Finding(part=part, ok=None, seen=why)
