"""Fixtures of the store's contract: the same tests run on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import PostgresMissingError, PostgresServer
from support.stores import ENGINES, StoreHandle, postgresql_handle, prepare_template, sqlite_handle


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server a test session (and so one a worker under pytest-xdist)."""
    try:
        server = PostgresServer()
    except PostgresMissingError as missing:
        pytest.skip(str(missing))
    try:
        prepare_template(server)
        yield server
    finally:
        server.close()


@pytest.fixture(
    params=[
        pytest.param(engine, marks=pytest.mark.postgres if engine == "postgresql" else ())
        for engine in ENGINES
    ]
)
def handle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreHandle]:
    """A fresh store on each engine."""
    if request.param == "postgresql":
        with postgresql_handle(request.getfixturevalue("postgres_server")) as opened:
            yield opened
    else:
        with sqlite_handle(request.param, tmp_path) as opened:
            yield opened
