"""Opening a store: its address, who may, its schema, a server that is safe."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import ambient_vcp.adapters.sql
from ambient_vcp.adapters.sql import SqlStore
from ambient_vcp.adapters.sql.engines.migrate import HEAD, downgrade, upgrade
from ambient_vcp.domain.errors import ConflictError, InvalidInputError, UnavailableError
from support.postgres import PostgresServer
from support.stores import (
    postgresql_handle,
)


def test_a_second_control_plane_cannot_open_the_same_file(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with SqlStore.open_sync(url):
        code = f"from ambient_vcp.adapters.sql import SqlStore; SqlStore.open_sync({url!r})"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "another control plane uses the database" in done.stderr
        with pytest.raises(ConflictError) as refused:
            SqlStore.open_sync(url)
        assert "PostgreSQL" in refused.value.hint
    SqlStore.open_sync(url).close()


def test_the_newest_step_is_the_one_that_the_program_expects():
    folder = Path(ambient_vcp.adapters.sql.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_a_database_of_a_newer_program_is_refused_and_left_alone(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    SqlStore.open_sync(url).close()
    connection = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InvalidInputError, match="9999"):
        SqlStore.open_sync(url)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def schema_of(engine) -> list[tuple[str, ...]]:
    query = (
        "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
        if engine.dialect.name == "sqlite"
        else "SELECT tablename, indexname, indexdef FROM pg_indexes"
        " WHERE schemaname = 'public' ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        return [
            tuple(row)
            for row in connection.exec_driver_sql(query)
            if "alembic" not in " ".join(map(str, row))
        ]


@pytest.mark.parametrize("which", ["sqlite", pytest.param("pg", marks=pytest.mark.postgres)])
def test_the_schema_goes_up_and_down_and_up_again(which, tmp_path, request):
    with ExitStack() as stack:
        if which == "sqlite":
            url = f"sqlite:///{tmp_path / 'state.db'}"
        else:
            server = request.getfixturevalue("postgres_server")
            handle = stack.enter_context(postgresql_handle(server))
            url = handle.url.replace("postgresql://", "postgresql+psycopg://")
            handle.store.close()
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            upgrade(connection)
        first = schema_of(engine)
        assert len(first) > 20
        with engine.begin() as connection:
            downgrade(connection)
        assert schema_of(engine) == []
        with engine.begin() as connection:
            upgrade(connection)
        assert schema_of(engine) == first


@pytest.mark.postgres
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_postgresql_that_may_lose_acknowledged_work_is_refused(postgres_server, setting):
    assert postgres_server is not None  # skips where there is none
    server = PostgresServer({setting: "off"})
    try:
        with pytest.raises(InvalidInputError, match=setting):
            SqlStore.open_sync(server.dsn("postgres"))
        SqlStore.open_sync(server.dsn("postgres"), allow_unsafe=True).close()
    finally:
        server.close()


def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(UnavailableError, match="reached"):
        SqlStore.open_sync("postgresql://vcp@127.0.0.1:1/none")


@pytest.mark.parametrize("url", ["", "mysql://x/y", "/var/lib/state.db", "sqlite"])
def test_a_url_of_no_known_database_is_refused(url):
    with pytest.raises(InvalidInputError):
        asyncio.run(SqlStore.open(url))
