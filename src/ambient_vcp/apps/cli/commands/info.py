"""`ambient-vcp info --id X`: shows a node."""

from __future__ import annotations

import click

from ambient_vcp.apps.cli.commands.node import show_node
from ambient_vcp.apps.cli.connection import open_client
from ambient_vcp.apps.cli.output import Output, output_options


@click.command()
@click.option("-i", "--id", "node_id", required=True, help="Name of the node.")
@output_options
def command(node_id: str, *, out: Output) -> None:
    """Show a node; the same as `node show`."""
    with open_client(out) as client:
        show_node(client.node(node_id), out)
