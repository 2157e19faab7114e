"""`ambient-vcp module`: what a module imports, what it costs, and whether it is deterministic."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from ambient_vcp.apps.cli.failures import Exit
from ambient_vcp.apps.cli.output import Output, output_options, printable
from ambient_vcp.apps.cli.work import (
    MARK,
    NumbersAreArguments,
    existing_file,
    parse_limits,
    refuse,
)

VERDICTS = {
    True: "deterministic",
    False: "NOT deterministic",
    None: "not known: how it ended is decided by the machine, not by the module",
}
FIELDS = {
    "fuel": "fuel_max",
    "memory_bytes": "memory_bytes_max",
    "wall_ms": "wall_ms_max",
    "output_bytes": "output_bytes_max",
    "stack_bytes": "stack_bytes_max",
}


@click.group()
def command() -> None:
    """WebAssembly modules."""


@command.command(cls=NumbersAreArguments)
@click.argument("module_and_args", nargs=-1, required=True, metavar="FILE.wasm [ARGS]...")
@click.option("--invoke", metavar="NAME", help="Call this exported function with ARGS.")
@click.option("--bytes", "as_bytes", is_flag=True, help="Call run() with --input.")
@click.option("--wasi", is_flag=True, help="Run it as a WASI command.")
@click.option("--input", "input_file", metavar="FILE", help="Input bytes, or stdin of a command.")
@click.option("--private-input", metavar="FILE")
@click.option("--arg", "wasi_args", multiple=True, help="Argument of a WASI command; repeat.")
@click.option("--env", multiple=True, metavar="K=V", help="Its environment; repeat.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=N", help="As for `task run`.")
@output_options
def check(
    module_and_args: tuple[str, ...],
    *,
    invoke: str | None,
    as_bytes: bool,
    wasi: bool,
    input_file: str | None,
    private_input: str | None,
    wasi_args: tuple[str, ...],
    env: tuple[str, ...],
    limits: tuple[str, ...],
    out: Output,
) -> int:
    """Check a module without a control plane; with an interface, run it under many conditions.

    Runs: repeated in one sandbox, in another sandbox of another process, at another second, and
    several at once. Deterministic means: same output, same reason, same fuel, same memory peak.
    """
    from ambient_vcp.apps.cli.module_trial import inspect, trial_call, try_module  # noqa: PLC0415 - loads the sandbox

    words = [word.removeprefix(MARK) for word in module_and_args]
    path = existing_file(words[0])
    if sum((invoke is not None, as_bytes, wasi)) > 1:
        refuse("choose one of --invoke, --bytes and --wasi")
    if words[1:] and invoke is None:
        refuse(f"unexpected argument {words[1]!r}")
    found = inspect(path.read_bytes())
    call = trial_call(found, invoke, tuple(words[1:]), as_bytes, wasi, wasi_args, env)
    data: dict[str, Any] = dict(found)
    lines = _static_lines(path, found)
    code = Exit.OK if found["accepted"] else Exit.FAILED
    if call is not None and found["accepted"]:
        bounds = {FIELDS[name]: value for name, value in parse_limits(limits).items()}
        files = (_maybe(input_file), _maybe(private_input))
        trial = asyncio.run(try_module(path, call, files, bounds))
        data["trial"] = trial
        lines += _trial_lines(trial)
        code = Exit.OK if trial["deterministic"] and trial["reason"] is None else Exit.FAILED
    elif found["accepted"]:
        lines.append(("runs", "none: give --invoke NAME ARGS, --bytes or --wasi to run it"))
    out.one(data, "sha256", lines)
    return code


def _maybe(word: str | None) -> Path | None:
    return None if word is None else existing_file(word)


def _static_lines(path: Path, found: dict[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [("module", path), ("SHA-256", found["sha256"])]
    if not found["readable"]:
        return [*lines, ("refused", f"{found['reason']}: {found['detail']}")]
    lines.append(("size", f"{found['size_bytes']} bytes, {found['functions']} functions"))
    lines += [
        ("imports", f"{item['module']}.{item['name']} {item['type']}") for item in found["imports"]
    ] or [("imports", "nothing")]
    lines += [("exports", f"{item['name']} {item['type']}") for item in found["exports"]]
    fits = [name for name, why in found["interfaces"].items() if why is None]
    lines.append(("interfaces", ", ".join(fits) or "none"))
    lines += [(f"not {name}", why) for name, why in found["interfaces"].items() if why]
    return lines


def _trial_lines(trial: dict[str, Any]) -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = [
        (run["condition"], "same" if run["same"] else f"DIFFERENT: {run['difference']}")
        for run in trial["runs"][1:]
    ]
    ending = "completed" if trial["reason"] is None else f"{trial['reason']}: {trial['detail']}"
    lines += [
        ("verdict", VERDICTS[trial["deterministic"]]),
        ("ended", ending),
        ("output", f"{trial['output_size_bytes']} bytes, SHA-256 {trial['output_digest']}"),
    ]
    if trial["output_text"] is not None:
        lines.append(("shown", printable(trial["output_text"])))
    lines += [
        ("fuel", trial["fuel_used"]),
        ("memory peak", f"{trial['memory_peak_bytes']} bytes"),
        ("time", f"{trial['run_ms_median']:.1f} ms, compiling {trial['compile_ms_median']:.1f} ms"),
        ("task-dependent", "yes: it uses the clock or random numbers, which come from the task"
         if trial["depends_on_task"] else "no: the clock and random numbers do not matter"),
    ]  # fmt: skip
    return lines
