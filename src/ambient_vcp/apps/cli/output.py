"""Data on stdout in the form that was asked for; everything else on stderr."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

SCHEMA_VERSION = 1
FORMATS = ("table", "json", "jsonl", "name")
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class State:
    """What the whole run knows: the form of the output and the profile."""

    format: str = "table"
    header: bool = True
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: its title, and how its text comes from an item."""

    title: str
    text: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Output:
    """Writes results."""

    state: State

    def items(
        self, found: Iterable[Mapping[str, Any]], columns: Sequence[Column], name_key: str
    ) -> None:
        """A list of things: aligned table, JSON list, one JSON object a line, or names."""
        match self.state.format:
            case "json":
                self._envelope(list(found))
            case "jsonl":
                for item in found:
                    click.echo(json.dumps(item, default=str))
            case "name":
                for item in found:
                    click.echo(item[name_key])
            case _:
                rows = [[shown(column.text(item)) for column in columns] for item in found]
                titles = [column.title for column in columns] if self.state.header else None
                for line in aligned(rows, titles):
                    click.echo(line)

    def one(self, item: Mapping[str, Any], name_key: str, lines: Sequence[tuple[str, Any]]) -> None:
        """One thing: aligned lines of label and value, JSON, or its name."""
        match self.state.format:
            case "json":
                self._envelope(item)
            case "jsonl":
                click.echo(json.dumps(item, default=str))
            case "name":
                click.echo(item[name_key])
            case _:
                for line in aligned([[label, shown(value)] for label, value in lines], None):
                    click.echo(line)

    def _envelope(self, data: Any) -> None:
        envelope = {"schema_version": SCHEMA_VERSION, "status": "ok", "data": data}
        click.echo(json.dumps(envelope, indent=2, default=str))


def note(text: str) -> None:
    """A word to the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def shown(value: Any) -> str:
    """A value as table text; control characters of foreign text are made visible."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """Text from others must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def aligned(rows: Sequence[Sequence[str]], titles: Sequence[str] | None) -> list[str]:
    table = [list(titles), *rows] if titles else list(rows)
    if not table:
        return []
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def output_options(command: Command) -> Command:
    """Add the options that every command has, and hand it an `Output` as ``out``."""

    @click.option("-o", "--format", "output_format", type=click.Choice(FORMATS), default="table",
                  help="Form of the data on stdout.", show_default=True)  # fmt: skip
    @click.option("--no-header", is_flag=True, help="Tables without their first line.")
    @click.option("--quiet", "-q", is_flag=True, help="Print ids only; the same as -o name.")
    @click.option("--profile", metavar="NAME", help="Profile to use; see `profile list`.")
    @click.pass_context
    @functools.wraps(command)
    def wrapped(
        ctx: click.Context,
        /,
        *args: Any,
        output_format: str,
        no_header: bool,
        quiet: bool,
        profile: str | None,
        **kwargs: Any,
    ) -> Any:
        state = ctx.ensure_object(State)
        state.format = "name" if quiet else output_format
        state.header = not no_header
        state.profile = profile or state.profile
        return ctx.invoke(command, *args, out=Output(state), **kwargs)

    return wrapped  # type: ignore[return-value]  # the decorated function keeps its own parameters
