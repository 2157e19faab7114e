"""`ambient-vcp profile`: list, use, save, show, delete."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.apps.cli.connection import profiles
from ambient_vcp.apps.cli.output import Column, Output, note, output_options
from ambient_vcp.apps.cli.work import refuse


@click.group()
def command() -> None:
    """Profiles: which control plane, as whom, trusting which key."""


@command.command("list")
@output_options
def list_(*, out: Output) -> None:
    """List the profiles; a star marks the one in use."""
    store = profiles()
    current = store.current_name()
    found = [
        {**store.load(name).to_json(show_secrets=False), "current": name == current}
        for name in store.names()
    ]
    columns = (
        Column("", lambda item: "*" if item["current"] else " "),
        Column("NAME", lambda item: item["name"]),
        Column("ENDPOINT", lambda item: item["endpoint"]),
        Column("ACCOUNT", lambda item: item["username"]),
    )
    out.items(found, columns, "name")


@command.command()
@click.argument("name")
@output_options
def use(name: str, *, out: Output) -> None:
    """Make a profile the one in use."""
    profiles().use(name)
    out.one({"name": name}, "name", [("profile", name)])


@command.command()
@click.argument("name")
@click.option("--endpoint", metavar="URL", help="Address of the control plane.")
@click.option("--username", help="Account.")
@click.option("--public-key", metavar="HEX", help="Key whose receipts are trusted.")
@click.option("--token-stdin", is_flag=True, help="Read an access token from stdin.")
@output_options
def save(
    name: str,
    endpoint: str | None,
    username: str | None,
    public_key: str | None,
    token_stdin: bool,
    *,
    out: Output,
) -> None:
    """Make or change a profile."""
    from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier  # noqa: PLC0415 - slow
    from ambient_vcp.sdk.connect import check_endpoint  # noqa: PLC0415 - slow

    store = profiles()
    old = store.load(name) if name in store.names() else None
    if endpoint is None and old is None:
        refuse("a new profile needs --endpoint URL")
    profile = old or Profile(name=name, endpoint="")
    if endpoint is not None:
        address = check_endpoint(endpoint)
        if old is not None and old.endpoint != address:
            # What was learnt from one control plane says nothing about another.
            profile = Profile(name=name, endpoint=address)
        profile = replace(profile, endpoint=address)
    if username is not None:
        profile = replace(profile, username=username)
    if public_key is not None:
        profile = replace(profile, public_key=Ed25519Verifier().check_public_key(public_key))
    if token_stdin:
        profile = replace(profile, token=sys.stdin.readline().strip())
    store.save(profile)
    _show(profile, out, show_secrets=False)


@command.command()
@click.argument("name", required=False)
@click.option("--show-token", is_flag=True, help="Show secrets in the clear.")
@output_options
def show(name: str | None, show_token: bool, *, out: Output) -> None:
    """Show a profile; secrets are masked."""
    store = profiles()
    chosen = name or out.state.profile or store.current_name()
    if chosen is None:
        refuse("no profile is in use; name one")
    _show(store.load(chosen), out, show_secrets=show_token)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_options
def delete(name: str, yes: bool, *, out: Output) -> None:
    """Delete a profile and its token."""
    store = profiles()
    profile = store.load(name)
    if not yes:
        if not sys.stdin.isatty():
            refuse("deleting needs a terminal to ask on, or --yes")
        click.confirm(f"Delete profile {name} ({profile.endpoint})?", abort=True, err=True)
    store.delete(name)
    note(f"deleted profile {name}")
    out.one({"name": name}, "name", [])


def _show(profile: Profile, out: Output, *, show_secrets: bool) -> None:
    shown = profile.to_json(show_secrets=show_secrets)
    lines = [(key.replace("_", " "), value) for key, value in shown.items() if value]
    out.one(shown, "name", lines)
