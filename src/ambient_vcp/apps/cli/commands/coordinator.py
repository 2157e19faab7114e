"""`ambient-vcp coordinator`: runs a control plane with a placement strategy."""

from __future__ import annotations

from pathlib import Path

import click

from ambient_vcp.apps.cli.connection import environment
from ambient_vcp.apps.cli.output import note
from ambient_vcp.apps.cli.processes import CONTROL_PLANE, become
from ambient_vcp.apps.cli.work import refuse
from ambient_vcp.domain.scheduling.view import Strategy

CLUSTER_MAX = 64


@click.command()
@click.option("-c", "--cluster-id", required=True, help="Name of the cluster.")
@click.option(
    "-s",
    "--strategy",
    default=Strategy.WEIGHTED.value,
    show_default=True,
    help=", ".join(strategy.value for strategy in Strategy),
)
@click.option("--data-dir", metavar="DIR", help="Where its state lives.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8420, show_default=True)
@click.option("--visibility", type=click.Choice(["private", "public"]), default="private")
@click.option("--policy", type=click.Choice(["local", "public"]), default="local")
def command(
    cluster_id: str,
    strategy: str,
    data_dir: str | None,
    host: str,
    port: int,
    visibility: str,
    policy: str,
) -> None:
    """Run a control plane until Ctrl-C. An unknown strategy becomes weighted, with a notice."""
    if not cluster_id or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in cluster_id):
        refuse("--cluster-id has letters, digits, '-', '_' and '.'")
    if len(cluster_id) > CLUSTER_MAX or cluster_id.startswith("."):
        refuse(f"--cluster-id has at most {CLUSTER_MAX} characters and no leading dot")
    if strategy not in {known.value for known in Strategy}:
        known = ", ".join(each.value for each in Strategy)
        note(f"unknown strategy {strategy!r}: weighted is used instead (known: {known})")
        strategy = Strategy.WEIGHTED.value
    folder = Path(data_dir) if data_dir else environment().data_dir / "clusters" / cluster_id
    note(f"cluster {cluster_id}, strategy {strategy}, http://{host}:{port}, state in {folder}")
    become(
        CONTROL_PLANE,
        [
            "serve",
            *("--data-dir", str(folder)),
            *("--host", host),
            *("--port", str(port)),
            *("--profile", policy),
            *("--visibility", visibility),
            *("--cluster", cluster_id),
            *("--strategy", strategy),
        ],
    )
