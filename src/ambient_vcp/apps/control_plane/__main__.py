"""``python -m ambient_vcp.apps.control_plane``: serve, or make an administrator."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import uvloop
from pydantic import ValidationError

from ambient_vcp.adapters.passwords.bcrypt_hasher import PasswordHasher
from ambient_vcp.adapters.sql.store import SqlStore
from ambient_vcp.adapters.system import SystemEntropy
from ambient_vcp.apps.control_plane.http import logs
from ambient_vcp.apps.control_plane.settings import ControlPlaneSettings
from ambient_vcp.apps.control_plane.wiring import prepare_folder
from ambient_vcp.domain.errors import VcpError
from ambient_vcp.domain.ids import AccountId
from ambient_vcp.ports.store import Account, Transaction
from ambient_vcp.services import accounts


@click.group()
def main() -> None:
    """The Ambient VCP control plane."""


def _settings(given: dict[str, Any]) -> ControlPlaneSettings:
    """What was not given comes from the environment, else from the defaults."""
    try:
        return ControlPlaneSettings(**{k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise click.UsageError("; ".join(lines)) from None


@main.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where everything is kept.")
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="Port (8420); 0 takes a free one.")
@click.option("--database", help="SQLAlchemy URL; a file in the data folder by default.")
@click.option("--profile", type=click.Choice(["public", "local"]))
@click.option("--visibility", type=click.Choice(["private", "public"]))
@click.option("--registration", type=click.Choice(["open", "closed"]))
@click.option("--cluster", help="Name of the cluster, and of its log.")
@click.option(
    "--strategy",
    type=click.Choice(["weighted", "round-robin", "least-loaded", "latency-aware"]),
)
@click.option("--lease-ms", type=int)
@click.option("--leases-per-node-max", type=int, help="Leases one node holds at once (50).")
@click.option("--sweep-ms", type=int)
@click.option("--heartbeat-ms", type=int)
@click.option("--offline-after-ms", type=int)
@click.option("--bcrypt-cost", type=int)
@click.option("--stream-comment-ms", type=int)
@click.option("--node-token-sec", type=int)
@click.option("--account-token-sec", type=int)
@click.option("--shutdown-sec", type=int)
@click.option("--access-log/--no-access-log", default=None)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def serve(**given: Any) -> None:
    """Answer requests until SIGTERM or Ctrl-C."""
    from ambient_vcp.apps.control_plane.http.server import serve as run  # noqa: PLC0415  (`--help` and `admin` need no web server)

    settings = _settings(given)
    logs.configure(settings.log_level)
    try:
        lock = prepare_folder(settings.data_dir)
        with lock:
            started = uvloop.run(run(settings))
    except VcpError as error:
        raise click.ClickException(f"{error}. {error.hint}".rstrip()) from error
    except KeyboardInterrupt:
        # The server has finished its requests already when it passes the signal on.
        return
    if not started:
        raise click.ClickException("the control plane did not start; see the log above")


@main.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--username", required=True)
@click.option("--database", help="SQLAlchemy URL, where serve is given one.")
def admin(data_dir: Path, username: str, database: str | None) -> None:
    """Make USERNAME an administrator; a new account asks for a password (or reads one line)."""
    settings = _settings({"data_dir": data_dir, "database": database})
    try:
        message = asyncio.run(_make_admin(settings, username))
    except VcpError as error:
        raise click.ClickException(f"{error}. {error.hint}".rstrip()) from error
    click.echo(message)


async def _make_admin(settings: ControlPlaneSettings, username: str) -> str:
    store = await SqlStore.open(settings.database_url())
    try:
        name = accounts.check_username(username)
        known = await store.read(lambda tx: tx.accounts.by_name(name))
        if known is not None:
            await store.transact(lambda tx: accounts.promote(tx, known.id))
            return f"{name} is an administrator now; log in again to use it"
        password = accounts.check_password(_password())
        hasher = PasswordHasher(cost=settings.bcrypt_cost)
        hashed = await hasher.hash(password)
        hasher.close()
        account_id = AccountId(SystemEntropy().uuid4())

        def work(tx: Transaction) -> Account:
            return accounts.register(
                tx,
                account_id=account_id,
                username=name,
                password_hash=hashed,
                email=None,
                role=accounts.ROLE_ADMIN,
            )

        await store.transact(work)
        return f"the administrator {name} was made"
    finally:
        await store.close()


def _password() -> str:
    """From a person, hidden and twice; from a pipe, one line. Never from the command line."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


if __name__ == "__main__":
    main()
