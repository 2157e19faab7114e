"""`ambient-vcp task`: run, submit, list, show, get, logs, cancel, explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ambient_vcp.apps.cli.connection import open_client
from ambient_vcp.apps.cli.failures import Exit
from ambient_vcp.apps.cli.output import Output, note, output_options, printable
from ambient_vcp.apps.cli.progress import ProgressLine
from ambient_vcp.apps.cli.receipts import fetch_receipt, keep_blinder
from ambient_vcp.apps.cli.task_view import ATTEMPT_COLUMNS, LIST_COLUMNS, show_task
from ambient_vcp.apps.cli.work import NumbersAreArguments, task_request, work_options

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

LIST_LIMIT = 50
Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Tasks: work that nodes do for you."""


def _wait_options(*, default_wait: bool) -> Callable[[Command], Command]:
    def add(function: Command) -> Command:
        for option in (
            click.option("--wait/--no-wait", default=default_wait, show_default=True),
            click.option("--timeout", type=float, metavar="SEC", help="Longest wait; exit code 3."),
            click.option(
                "--output", "output_file", metavar="FILE", help="Save the output's bytes."
            ),
            click.option("--receipt", "receipt_file", metavar="FILE", help="Save the receipt."),
        ):
            function = option(function)
        return function

    return add


@command.command(cls=NumbersAreArguments)
@click.argument("module_and_args", nargs=-1, metavar="[FILE.wasm] [ARGS]...")
@work_options
@_wait_options(default_wait=True)
@output_options
def run(module_and_args: tuple[str, ...], *, out: Output, **options: Any) -> int:
    r"""Submit work, wait for the result, keep the receipt.

    \b
    ambient-vcp task run hello.wasm --invoke add -2 3
    ambient-vcp task run filter.wasm --input photo.png --class quorum --output drawing.png
    ambient-vcp task run word_count.wasm --wasi --arg 5 --stdin book.txt
    ambient-vcp task run --program sort --input-json '{"items": [3, 1, 2]}'
    """
    return _submit(module_and_args, out=out, **options)


@command.command(cls=NumbersAreArguments)
@click.argument("module_and_args", nargs=-1, metavar="[FILE.wasm] [ARGS]...")
@work_options
@_wait_options(default_wait=False)
@output_options
def submit(module_and_args: tuple[str, ...], *, out: Output, **options: Any) -> int:
    """Submit work and print the task's id; takes the same options as `run`."""
    return _submit(module_and_args, out=out, **options)


def _submit(
    module_and_args: tuple[str, ...],
    *,
    out: Output,
    wait: bool,
    timeout: float | None,
    output_file: str | None,
    receipt_file: str | None,
    idempotency_key: str | None,
    **work: Any,
) -> int:
    request = task_request(module_and_args, **work)
    with open_client(out) as client:
        progress = ProgressLine()
        try:
            handle = client.submit_request(
                request, idempotency_key=idempotency_key, progress=progress
            )
        finally:
            progress.close()
        if request.blinder is not None:
            kept = keep_blinder(handle.id, request.blinder)
            note(f"{kept} opens the commitment to the private input; keep it secret")
        if not wait:
            lines = [("task", handle.id)]
            out.one({"task_id": handle.id}, "task_id", lines)
            return Exit.OK
        return _finish(client, handle.id, out, timeout, output_file, receipt_file)


def _finish(
    client: Client,
    task_id: str,
    out: Output,
    timeout: float | None,
    output_file: str | None,
    receipt_file: str | None,
) -> int:
    try:
        info = client.wait(task_id, timeout=timeout)
    except KeyboardInterrupt:
        note(f"\nTask {task_id} goes on. Come back: ambient-vcp task get {task_id} --wait")
        note(f"Or stop it:  ambient-vcp task cancel {task_id}")
        raise
    receipt = fetch_receipt(client, task_id, Path(receipt_file) if receipt_file else None)
    info = client.get(task_id)  # sealed by now, so the receipt's id is in it
    if output_file is not None and info.output is not None:
        progress = ProgressLine()
        client.output(task_id, output_file, progress=progress)
        progress.close()
    return show_task(client, info, out, receipt=receipt, output_file=output_file)


@command.command("list")
@click.option("--status", help="Only tasks in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=LIST_LIMIT, show_default=True)
@output_options
def list_(status: str | None, limit: int, *, out: Output) -> None:
    """List tasks, newest first."""
    with open_client(out) as client:
        found = (info.raw for info in client.list(status=status, limit=limit))
        out.items(found, LIST_COLUMNS, "task_id")


@command.command()
@click.argument("task_id")
@output_options
def show(task_id: str, *, out: Output) -> None:
    """Show a task and every attempt at it."""
    with open_client(out) as client:
        info = client.get(task_id)
        show_task(client, info, out, receipt=None, output_file=None)
        if out.state.format == "table" and info.attempts:
            click.echo("")
            out.items(info.attempts, ATTEMPT_COLUMNS, "node_id")


@command.command()
@click.argument("task_id")
@_wait_options(default_wait=False)
@output_options
def get(
    task_id: str,
    *,
    wait: bool,
    timeout: float | None,
    output_file: str | None,
    receipt_file: str | None,
    out: Output,
) -> int:
    """Fetch a task's result and receipt; with --wait, once it has ended."""
    with open_client(out) as client:
        info = client.get(task_id)
        if wait or info.is_terminal:
            return _finish(client, task_id, out, timeout, output_file, receipt_file)
        return show_task(client, info, out, receipt=None, output_file=None)


@command.command()
@click.argument("task_id")
@output_options
def logs(task_id: str, *, out: Output) -> None:
    """Print what the guest wrote to its log, attempt by attempt."""
    with open_client(out) as client:
        found = client.logs(task_id)
    if out.state.format != "table":
        texts = [
            {k: v for k, v in item.items() if k not in ("log", "log_b64")}
            | {"log": item["log"].decode(errors="replace")}
            for item in found
        ]
        out.items(texts, [], "node_id")
        return
    for item in found:
        if out.state.header:
            note(f"slot {item['slot']} epoch {item['epoch']} node {item['node_id']}:")
        for line in item["log"].decode(errors="replace").splitlines():
            click.echo(printable(line))


@command.command()
@click.argument("task_id")
@output_options
def cancel(task_id: str, *, out: Output) -> None:
    """Cancel a task that has not ended."""
    with open_client(out) as client:
        info = client.cancel(task_id)
    out.one(info.raw, "task_id", [("task", info.id), ("status", info.status)])


@command.command()
@click.argument("task_id")
@output_options
def explain(task_id: str, *, out: Output) -> None:
    """Say why a task waits: counted reasons, and each node's own."""
    with open_client(out) as client:
        found = client.explain(task_id)
    lines: list[tuple[str, Any]] = [
        ("task", task_id), ("state", found.get("state")), ("summary", found.get("summary")),
    ]  # fmt: skip
    for slot in found.get("slots", []):
        lines.append((f"slot {slot['slot']}", f"{slot.get('purpose')}, {slot.get('state')}"))
        refusals = slot.get("refusals") or {}
        lines += [(f"  {count} x", reason) for reason, count in sorted(refusals.items())]
        for node in slot.get("nodes") or []:
            lines.append((f"  {node['node_id']}", ", ".join(map(str, node["reasons"])) or "fits"))
    out.one({"task_id": task_id, **found}, "task_id", lines)
