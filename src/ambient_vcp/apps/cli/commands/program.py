"""`ambient-vcp program`: the catalogue of ready programs."""

from __future__ import annotations

import click

from ambient_vcp.apps.cli.connection import open_client
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.output import Column, Output, output_options


@click.group()
def command() -> None:
    """Programs: ready computations with typed inputs and results."""


@command.command("list")
@output_options
def list_(*, out: Output) -> None:
    """List the programs that the control plane offers."""
    with open_client(out) as client:
        found = client.programs()
    columns = (
        Column("NAME", lambda item: item["name"]),
        Column("TITLE", lambda item: item.get("title")),
        Column("INPUTS", lambda item: ", ".join(_name(field) for field in item.get("inputs", []))),
    )
    out.items(found, columns, "name")


@command.command()
@click.argument("name")
@output_options
def show(name: str, *, out: Output) -> None:
    """Show a program's inputs and results."""
    with open_client(out) as client:
        found = {item["name"]: item for item in client.programs()}
    if name not in found:
        raise CommandFailed(
            f"there is no program {name!r}",
            hint=f"There are: {', '.join(sorted(found)) or 'none'}.",
            code="not_found",
            exit_code=Exit.ARGUMENTS,
        )
    item = found[name]
    lines = [("name", name), ("title", item.get("title")), ("summary", item.get("summary"))]
    for kind in ("inputs", "results"):
        for field in item.get(kind, []):
            rules = {k: v for k, v in field.items() if k not in ("name", "meaning", "kind")}
            text = "".join(f", {k} {v}" for k, v in rules.items() if v not in (None, [], ""))
            lines.append((f"{kind[:-1]} {_name(field)}", f"{field.get('kind')}{text}"))
            lines.append(("", field.get("meaning")))
    out.one(item, "name", lines)


def _name(field: object) -> str:
    return str(field.get("name")) if isinstance(field, dict) else str(field)
