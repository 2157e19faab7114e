"""The door of `ambient-vcp`: finds the command, imports only that one, turns failures into codes.

Nothing heavy may be imported here: `--help` has to answer at once.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from ambient_vcp import __version__
from ambient_vcp.apps.cli.failures import report_failure
from ambient_vcp.apps.cli.output import State

COMMANDS = {
    "up": ("up", "Start a control plane and one node on this machine."),
    "demo": ("demo", "Show the whole system on real work, and check every claim it makes."),
    "task": ("task", "Run, submit, list, show, get, logs, cancel, explain."),
    "verify": ("verify", "Check receipts offline: what is guaranteed, by whom, and how."),
    "node": ("node", "Lend this machine; list, show, invite and drain nodes."),
    "module": ("module", "Check a WebAssembly module: determinism, imports, cost."),
    "log": ("log", "Check a whole transparency log."),
    "program": ("program", "List and show the catalogue's programs."),
    "doctor": ("doctor", "Check that this machine and the connection are fit."),
    "health": ("health", "Check every part of the chosen control plane for real."),
    "info": ("info", "Show a node."),
    "coordinator": ("coordinator", "Run a control plane with a placement strategy."),
    "auth": ("auth", "Register an account, log in."),
    "profile": ("profile", "List, use, save, show, delete profiles."),
    "completion": ("completion", "Print a completion script for bash, zsh or fish."),
}
"""Name, module under `commands`, and the line that `--help` shows."""

EPILOG = """\
\b
Exit codes: 0 ok; 1 the task or the server failed; 2 no connection or no login;
3 timeout; 4 bad arguments; 5 our bug; 130 interrupted.

\b
First steps:
  ambient-vcp up
  ambient-vcp task run examples/hello/hello.wasm --invoke add 2 3 --wait
  ambient-vcp verify RECEIPT_ID
"""


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ambient_vcp.apps.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ambient-vcp")
def cli() -> None:
    """Run untrusted work on other people's machines, and get answers that anyone can check."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    state = State()
    code = 0
    try:
        answer = cli.main(args=arguments, prog_name="ambient-vcp", standalone_mode=False, obj=state)
        code = answer if isinstance(answer, int) else 0
    except Exception as failure:  # noqa: BLE001 - the last place: everything becomes an exit code
        code = report_failure(failure, state)
    except KeyboardInterrupt as interrupt:
        code = report_failure(interrupt, state)
    sys.exit(code)
