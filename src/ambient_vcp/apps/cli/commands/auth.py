"""`ambient-vcp auth`: register an account, log in. Passwords never come from the command line."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click

from ambient_vcp.adapters.profiles.profile import Profile
from ambient_vcp.apps.cli.connection import chosen_profile, client_for, profiles
from ambient_vcp.apps.cli.output import Output, note, output_options
from ambient_vcp.apps.cli.work import refuse

PASSWORD_BYTES_MAX = 1024


@click.group()
def command() -> None:
    """Accounts."""


def _password(from_stdin: bool, confirm: bool) -> str:
    given = os.environ.get("AMBIENT_VCP_PASSWORD")  # noqa: TID251 - a secret no setting may keep
    if given:
        return given
    if from_stdin:
        return sys.stdin.readline(PASSWORD_BYTES_MAX).rstrip("\n")
    if not sys.stdin.isatty():
        refuse("no terminal to ask on: use --password-stdin or AMBIENT_VCP_PASSWORD")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


@command.command()
@click.argument("username")
@click.option("--email")
@click.option("--endpoint", metavar="URL", help="Control plane; default: the profile's.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@output_options
def register(
    username: str, email: str | None, endpoint: str | None, password_stdin: bool, *, out: Output
) -> None:
    """Open an account."""
    with client_for(endpoint=endpoint, profile=out.state.profile) as client:
        client.session.token = None
        password = _password(password_stdin, confirm=True)
        answer = client.register(username, password, email)
    out.one(answer, "user_id", [("account", answer.get("username")), ("id", answer.get("user_id"))])
    note(f"log in: ambient-vcp auth login {username}")


@command.command()
@click.argument("username")
@click.option("--endpoint", metavar="URL", help="Control plane; default: the profile's.")
@click.option("--save-as", metavar="NAME", help="Profile to keep the login in.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@click.option("--trust-new-key", is_flag=True, help="Accept that the signing key has changed.")
@output_options
def login(
    username: str,
    endpoint: str | None,
    save_as: str | None,
    password_stdin: bool,
    trust_new_key: bool,
    *,
    out: Output,
) -> None:
    """Log in, and keep the token and the control plane's key in a profile."""
    chosen = chosen_profile(out)
    name = save_as or out.state.profile or (chosen.name if chosen and not endpoint else "default")
    store = profiles()
    old = store.load(name) if name in store.names() else None
    with client_for(endpoint=endpoint, profile=None if endpoint else out.state.profile) as client:
        client.session.on_token = None
        token = client.login(username, _password(password_stdin, confirm=False))
        about = client.control_plane()
        address = client.session.endpoint
    same = old is not None and old.endpoint == address
    if same and old and old.public_key not in ("", about["public_key"]) and not trust_new_key:
        refuse(
            f"the control plane signs with another key than profile {name} trusts;"
            " if that is expected, add --trust-new-key"
        )
    base = old if same and old else Profile(name=name, endpoint=address)
    profile = replace(
        base,
        username=username,
        token=token,
        password=base.password if base.username == username else "",
        public_key=about["public_key"],
        control_plane_id=about["control_plane_id"],
    )
    store.save(profile)
    store.use(name)
    lines = [
        ("profile", name),
        ("endpoint", address),
        ("account", username),
        ("trusted key", profile.public_key),
    ]
    out.one(profile.to_json(show_secrets=False), "name", lines)
