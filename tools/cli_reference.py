"""Write docs/reference/cli.md from the commands themselves.

cli_reference.py           write it
cli_reference.py --check   exit 1 if it is not what the commands say
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ambient_vcp.apps.cli.failures import EXIT_MEANINGS
from ambient_vcp.apps.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/cli.md"
COMMON = ("output_format", "no_header", "quiet", "profile")

HEAD = """# The command line

<!-- Written by tools/cli_reference.py from the commands. -->

`ambient-vcp`, or `vcp` for short. Noun, then verb. Data goes to stdout, everything else to stderr.

## Options that every command with data has

| Option | Meaning |
|---|---|
| `-o, --format table\\|json\\|jsonl\\|name` | form of the data |
| `--no-header` | tables without their first line |
| `-q, --quiet` | ids only; the same as `-o name` |
| `--profile NAME` | the profile to use |

`-o json` prints `{"schema_version", "status": "ok", "data"}`. An error is then one JSON object on
stderr: `{"schema_version", "status": "error", "error": {"code", "message", "hint", "retryable",
"request_id", "details"}}`.

## Exit codes

| Code | Meaning |
|---|---|
"""

ENVIRONMENT = """
## Environment

| Variable | Meaning |
|---|---|
| `AMBIENT_VCP_ENDPOINT` | address of the control plane; wins over the profile file |
| `AMBIENT_VCP_TOKEN` | access token; wins over the profile file |
| `AMBIENT_VCP_PROFILE` | profile to use; wins over `profile use` |
| `AMBIENT_VCP_PASSWORD` | password for `auth register` and `auth login` |
| `AMBIENT_VCP_HOME` | one folder for profiles, receipts and local state, instead of the XDG ones |

"""


def commands(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that can be called, in the order of `--help`."""
    context = click.Context(command, info_name=path.rsplit(" ", 1)[-1], parent=parent)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, f"{path} {name}", context)


def page() -> str:
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_MEANINGS.items()]
    parts = [HEAD + "\n".join(rows) + "\n", ENVIRONMENT + "## Commands\n"]
    parts += [section(*found) for found in commands(cli, "ambient-vcp")]
    return "\n".join(parts)


def section(path: str, command: click.Command, context: click.Context) -> str:
    lines = [f"### {path}\n"]
    usage = " ".join(command.collect_usage_pieces(context))
    lines += [f"```\n{path} {usage}\n```\n", help_text(command.help or "")]
    rows = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and parameter.name not in COMMON
        and (record := parameter.get_help_record(context)) is not None
    ]
    if rows:
        lines += ["| Option | Meaning |", "|---|---|"]
        lines += [f"| `{cell(name)}` | {cell(text)} |" for name, text in rows]
        lines.append("")
    return "\n".join(lines)


def help_text(text: str) -> str:
    """Click's backspace marks a block whose lines stand as they are."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if lines and lines[0] == "\b":
            blocks.append("```\n" + "\n".join(lines[1:]) + "\n```")
        else:
            blocks.append(" ".join(lines))
    return "\n\n".join(blocks) + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.relative_to(ROOT)} is not what the commands say: run tools/cli_reference.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
