"""Bring a database to the schema of this version of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from ambient_vcp.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest step. A database that is there already starts without loading Alembic."""


def _config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415  # loaded only when there is work for it

    config = Config()
    config.set_main_option("script_location", "ambient_vcp.adapters.sql:migrations")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Apply every step that is missing, in the transaction that is open on ``connection``.

    Raises:
        InvalidInputError: a newer program has been here.
    """
    current = current_revision(connection)
    if revision == "head" and current == HEAD:
        return
    if current is not None and current > HEAD:
        raise InvalidInputError(
            where="database",
            rule=f"has at most the schema {HEAD}",
            got=current,
            advice="Use the newer version of the program that wrote it.",
        )
    from alembic import command  # noqa: PLC0415  # loaded only when there is work for it

    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str = "base") -> None:
    """Undo steps down to ``revision``. What only the newer schema can hold is lost."""
    from alembic import command  # noqa: PLC0415  # loaded only when there is work for it

    command.downgrade(_config(connection), revision)


def current_revision(connection: Connection) -> str | None:
    """The step that a database stands at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)
