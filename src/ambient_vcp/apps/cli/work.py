"""The options that describe a piece of work, and the request they make."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from ambient_vcp.sdk.request import TaskRequest

Command = TypeVar("Command", bound=Callable[..., Any])

LIMITS = {
    "fuel": "fuel",
    "memory": "memory_bytes",
    "wall": "wall_ms",
    "output": "output_bytes",
    "stack": "stack_bytes",
}
UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
WALL_UNITS = {"": 1, "ms": 1, "s": 1000}
QUANTITY = re.compile(r"(-?[0-9][0-9_]*)([a-zA-Z]*)")
NEGATIVE_NUMBER = re.compile(r"-(\d|\.\d|inf|nan|0x)", re.IGNORECASE)
MARK = "\0"
BLINDER_BYTES = 32

WORK_OPTIONS = (
    click.option("--invoke", metavar="NAME", help="Call this exported function with ARGS."),
    click.option(
        "--bytes", "as_bytes", is_flag=True, help="Call run() with input bytes (default)."
    ),
    click.option("--wasi", is_flag=True, help="Run the module as a WASI command."),
    click.option("--program", metavar="NAME", help="Run a program of the catalogue."),
    click.option("--input", "input_file", metavar="FILE", help="Input bytes; - is stdin."),
    click.option("--private-input", metavar="FILE", help="Input that the receipt only commits to."),
    click.option("--input-json", metavar="JSON", help="Typed input of a program."),
    click.option("--arg", "wasi_args", multiple=True, help="Argument of a WASI command; repeat."),
    click.option("--env", "env", multiple=True, metavar="K=V", help="Its environment; repeat."),
    click.option("--stdin", "stdin_file", metavar="FILE", help="Its standard input; - is stdin."),
    click.option(
        "--class",
        "assurance",
        metavar="CLASS",
        help="signed: one node's word; quorum: several nodes must agree.",
    ),
    click.option("--replicas", type=int, help="How many nodes must agree (class quorum)."),
    click.option("--audit-rate", type=float, help="Share of signed results executed again."),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=N",
        help="fuel, memory, wall, output or stack; for example memory=64MiB, wall=5s. Repeat.",
    ),
    click.option("--max-execution", type=int, metavar="SEC", help="Longest single execution."),
    click.option("--region", help="Region to prefer."),
    click.option("--queue-timeout", type=int, metavar="SEC", help="Longest wait for a node."),
    click.option("--total-timeout", type=int, metavar="SEC", help="Longest life of the task."),
    click.option("--max-attempts", type=int, help="Tries before the task fails."),
    click.option("--name", help="A label for people."),
    click.option("--idempotency-key", metavar="KEY", help="Repeat safely: one key, one task."),
)


def work_options(command: Command) -> Command:
    for option in reversed(WORK_OPTIONS):
        command = option(command)
    return command


class NumbersAreArguments(click.Command):
    """Lets negative numbers be arguments: `--invoke add -2 3` has no option `-2`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        taking_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }
        marked: list[str] = []
        for i, token in enumerate(args):
            is_value = i > 0 and args[i - 1] in taking_value
            is_number = NEGATIVE_NUMBER.match(token) is not None
            marked.append(MARK + token if is_number and not is_value else token)
        return super().parse_args(ctx, marked)


def task_request(
    module_and_args: tuple[str, ...],
    *,
    invoke: str | None,
    as_bytes: bool,
    wasi: bool,
    program: str | None,
    input_file: str | None,
    private_input: str | None,
    input_json: str | None,
    wasi_args: tuple[str, ...],
    env: tuple[str, ...],
    stdin_file: str | None,
    assurance: str | None,
    replicas: int | None,
    audit_rate: float | None,
    limits: tuple[str, ...],
    max_execution: int | None,
    region: str | None,
    queue_timeout: int | None,
    total_timeout: int | None,
    max_attempts: int | None,
    name: str | None,
) -> TaskRequest:
    """The request that the command line describes.

    Raises:
        click.UsageError: the options contradict each other, or a value is not of its kind.
        OSError: a file cannot be read.
    """
    from ambient_vcp.sdk.request import TaskRequest  # noqa: PLC0415 - only where work is sent

    words = [word.removeprefix(MARK) for word in module_and_args]
    if sum((invoke is not None, as_bytes, wasi, program is not None)) > 1:
        refuse("choose one of --invoke, --bytes, --wasi and --program")
    requirements = {"max_execution_time_sec": max_execution, "region": region}
    module = None if program is not None else _module(words.pop(0) if words else None)
    _refuse_contradictions(words, invoke, program, input_json, stdin_file, wasi=wasi)
    return TaskRequest(
        module=module,
        program=program,
        invoke=invoke,
        args=wasi_args if wasi else words,
        wasi=wasi,
        env=dict(_pair("--env", item) for item in env),
        input=_typed_input(input_json) if program else _bytes_of(stdin_file or input_file),
        private_input=_bytes_of(private_input),
        assurance=assurance,
        replicas=replicas,
        audit_rate=audit_rate,
        limits=parse_limits(limits),
        requirements={k: v for k, v in requirements.items() if v is not None},
        queue_sec=queue_timeout,
        total_sec=total_timeout,
        max_attempts=max_attempts,
        name=name,
        blinder=os.urandom(BLINDER_BYTES) if private_input else None,
    )


def _refuse_contradictions(
    words: list[str],
    invoke: str | None,
    program: str | None,
    input_json: str | None,
    stdin_file: str | None,
    *,
    wasi: bool,
) -> None:
    if words and invoke is None:
        refuse(f"unexpected argument {words[0]!r}; a WASI command's arguments are given with --arg")
    if input_json is not None and program is None:
        refuse("--input-json is a program's; a module takes --input FILE")
    if stdin_file is not None and not wasi:
        refuse("--stdin is for --wasi; the bytes interface takes --input")


def parse_limits(items: tuple[str, ...]) -> dict[str, int]:
    """Read ``name=number[unit]`` items into the protocol's limit names."""
    found: dict[str, int] = {}
    for item in items:
        name, text = _pair("--limit", item)
        field = LIMITS.get(name) or (name if name in LIMITS.values() else None)
        if field is None:
            refuse(f"--limit {name}: the limits are {', '.join(LIMITS)}")
        units = WALL_UNITS if field == "wall_ms" else UNITS
        match = QUANTITY.fullmatch(text)
        if match is None or match[2].lower() not in units:
            refuse(f"--limit {name}: {text!r} is no number with a unit, such as 64MiB or 5s")
        found[field] = int(match[1]) * units[match[2].lower()]
        if found[field] < 1:
            refuse(f"--limit {name}: must be at least 1, got {text}")
    return found


def _module(word: str | None) -> Path:
    if word is None:
        refuse("give the module's FILE, or --program NAME")
    return existing_file(word)


def existing_file(word: str) -> Path:
    path = Path(word)
    if not path.is_file():
        refuse(f"{word} is not a file")
    return path


def _typed_input(text: str | None) -> Any:
    if text is None:
        return {}
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        refuse(f"--input-json is not JSON: {error}")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number in JSON")


def _bytes_of(word: str | None) -> bytes | Path | None:
    if word is None:
        return None
    return sys.stdin.buffer.read() if word == "-" else existing_file(word)


def _pair(option: str, item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        refuse(f"{option} {item}: must be NAME=VALUE")
    return name, value


def refuse(message: str) -> NoReturn:
    raise click.UsageError(message, click.get_current_context(silent=True))
