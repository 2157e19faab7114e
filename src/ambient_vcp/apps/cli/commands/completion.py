"""`ambient-vcp completion`: the shell's own completion, generated from the commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

INSTALL = {
    "bash": 'Add to ~/.bashrc: eval "$(ambient-vcp completion bash)"',
    "zsh": 'Add to ~/.zshrc: eval "$(ambient-vcp completion zsh)"',
    "fish": "Save as ~/.config/fish/completions/ambient-vcp.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(INSTALL)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    r"""Print a completion script.

    \b
    eval "$(ambient-vcp completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(ctx.find_root().command, {}, "ambient-vcp", "_AMBIENT_VCP_COMPLETE")
    click.echo(completion.source())
    click.echo(INSTALL[shell], err=True)
