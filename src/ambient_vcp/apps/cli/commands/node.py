"""`ambient-vcp node`: lend this machine, and look after nodes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ambient_vcp.apps.cli.connection import environment, open_client
from ambient_vcp.apps.cli.output import Column, Output, State, note, output_options
from ambient_vcp.apps.cli.processes import NODE, become
from ambient_vcp.apps.cli.work import refuse

if TYPE_CHECKING:
    from ambient_vcp.sdk.results import NodeInfo

TEXT_MAX = 256
PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
JOIN_CODE_VARIABLE = "AMBIENT_VCP_JOIN_CODE"

LIST_COLUMNS = (
    Column("NODE", lambda node: node["node_id"]),
    Column("TYPE", lambda node: node.get("node_type")),
    Column("REGION", lambda node: node.get("region")),
    Column("STATUS", lambda node: node.get("status")),
    Column("HEALTH", lambda node: node.get("health_score")),
    Column("REPUTATION", lambda node: (node.get("reputation") or {}).get("score")),
    Column("TASKS", lambda node: node.get("active_tasks")),
    Column("REFUSES", lambda node: ", ".join(node.get("refusing") or [])),
)


@click.group(invoke_without_command=True)
@click.option("-i", "--id", "node_id", help="Name of the node.")
@click.option("-r", "--region", default="us-west", show_default=True)
@click.option("-t", "--node-type", default="compute", show_default=True)
@click.option("--observability", is_flag=True, help="Serve /node/status on this machine.")
@click.option("--observability-port", type=click.IntRange(1, 65_535), default=9090)
@click.pass_context
def command(
    ctx: click.Context,
    node_id: str | None,
    region: str,
    node_type: str,
    observability: bool,
    observability_port: int,
) -> None:
    """Nodes: machines that offer work.

    With --id and without a verb: join the profile's control plane under this name and run until
    Ctrl-C.
    """
    if ctx.invoked_subcommand is not None:
        if node_id is not None:
            refuse("--id goes without a verb, or after it")
        return
    if node_id is None:
        refuse("give a verb, or --id NAME to run a node; see `ambient-vcp node --help`")
    for name, text in (("--id", node_id), ("--region", region), ("--node-type", node_type)):
        if not text or len(text) > TEXT_MAX:
            refuse(f"{name} has 1 to {TEXT_MAX} characters")
    extra = ["--observability", "--observability-port", str(observability_port)]
    _run_here(ctx, node_id, region, node_type, extra if observability else [])


def _run_here(
    ctx: click.Context, node_id: str, region: str, node_type: str, extra: list[str]
) -> None:
    out = Output(ctx.ensure_object(State))
    with open_client(out) as client:
        endpoint = client.session.endpoint
        folder = _node_folder(endpoint, node_id)
        if (folder / "node.json").exists():
            arguments = ["run"]
        else:
            # By the environment: other users can read command lines.
            os.environ[JOIN_CODE_VARIABLE] = client.invite()["code"]  # noqa: TID251 - handed on
            arguments = ["join", endpoint, "--id", node_id]
            arguments += ["--region", region, "--node-type", node_type]
    note(f"node {node_id} joins {endpoint}; its key is kept in {folder}")
    become(NODE, [*arguments, "--data-dir", str(folder), *extra])


def _node_folder(endpoint: str, node_id: str) -> Path:
    def safe(text: str) -> str:
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in text).strip(".")

    return environment().data_dir / "nodes" / safe(endpoint) / safe(node_id)


@command.command(context_settings=PASS_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def join(arguments: tuple[str, ...]) -> None:
    """Lend this machine: `node join URL --code CODE`, then run until Ctrl-C."""
    become(NODE, ["join", *arguments])


@command.command(context_settings=PASS_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run a node that has joined before."""
    become(NODE, ["run", *arguments])


@command.command(context_settings=PASS_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def doctor(arguments: tuple[str, ...]) -> None:
    """Check whether this machine can be a node, and how to repair what is missing."""
    become(NODE, ["doctor", *arguments])


@command.command()
@click.option("--ttl", type=int, metavar="SEC", help="How long the code is good. [900]")
@output_options
def invite(ttl: int | None, *, out: Output) -> None:
    """Make a code with which one machine may join once; it is shown only now."""
    with open_client(out) as client:
        made = client.invite(ttl)
        endpoint = client.session.endpoint
    out.one(made, "code", [("code", made["code"])])
    note(f"on the other machine: ambient-vcp node join {endpoint} --code {made['code']}")


@command.command("list")
@click.option("--mine", is_flag=True, help="Only your own nodes.")
@output_options
def list_(mine: bool, *, out: Output) -> None:
    """List the nodes."""
    with open_client(out) as client:
        out.items((node.raw for node in client.nodes(mine=mine)), LIST_COLUMNS, "node_id")


@command.command()
@click.argument("node_id")
@output_options
def show(node_id: str, *, out: Output) -> None:
    """Show a node: its health part by part, its standing, and what it refuses."""
    with open_client(out) as client:
        show_node(client.node(node_id), out)


@command.command()
@click.argument("node_id")
@output_options
def drain(node_id: str, *, out: Output) -> None:
    """Give a node no new work; it finishes what it has."""
    with open_client(out) as client:
        found = client.drain(node_id)
    out.one(found.raw, "node_id", [("node", found.id), ("status", found.status)])


@command.command()
@click.argument("node_id")
@output_options
def undrain(node_id: str, *, out: Output) -> None:
    """Give a drained node work again."""
    with open_client(out) as client:
        found = client.undrain(node_id)
    out.one(found.raw, "node_id", [("node", found.id), ("status", found.status)])


def show_node(node: NodeInfo, out: Output) -> None:
    """Everything that is known of a node, as aligned lines."""
    raw = node.raw
    health = raw.get("health") or {}
    parts = [
        f"{name} {'not measured' if value is None else format(value, '.2f')}"
        for name, value in health.items()
    ]
    standing = node.reputation
    isolation = raw.get("isolation") or {}
    lines = [
        ("node", node.id),
        ("type", raw.get("node_type")),
        ("region", raw.get("region")),
        ("status", node.status),
        ("health", f"{raw.get('health_score')} of 100: {', '.join(parts)}"),
        ("reputation", ", ".join(f"{name} {value}" for name, value in standing.items())),
        ("refuses", ", ".join([*(raw.get("refusing") or []), *(raw.get("breaker_reasons") or [])])),
        ("active tasks", f"{raw.get('active_tasks')} of {raw.get('concurrency_max')}"),
        ("capabilities", raw.get("capabilities")),
        ("telemetry", raw.get("telemetry")),
        ("engine", raw.get("engine")),
        ("isolation", ", ".join(sorted(isolation.get("active", isolation)))),
        ("public key", raw.get("public_key") or "none: it gets no work until it enrols one"),
        ("last seen", raw.get("last_seen")),
        ("version", raw.get("version")),
    ]
    out.one(raw, "node_id", lines)
