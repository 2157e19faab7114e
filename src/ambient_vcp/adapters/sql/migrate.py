"""Bring a database to the schema of this version of the program."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "ambient_vcp.adapters.sql:migrations")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Apply every step that is missing, in the transaction that is open on ``connection``."""
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str = "base") -> None:
    """Undo steps down to ``revision``. What only the newer schema can hold is lost."""
    command.downgrade(_config(connection), revision)
