"""Stores for contract tests: every engine behind one handle, with a clock that the test moves."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from ambient_vcp.adapters.sql import SqlStore, SyncSqlStore
from ambient_vcp.domain.execution.invocation import ScalarCall
from ambient_vcp.domain.execution.outcome import Outcome
from ambient_vcp.domain.execution.trace import Trace
from ambient_vcp.domain.ids import AccountId, Digest, NodeId, PublicKey, Signature, TaskId
from ambient_vcp.domain.nodes.capability import Capabilities
from ambient_vcp.domain.nodes.node import Node, NodeStatus
from ambient_vcp.domain.tasks.records import UNKNOWN_ENERGY, AttemptResult
from ambient_vcp.domain.tasks.spec import (
    InputRef,
    LeaseRef,
    NewTask,
    NodeType,
    TaskSpec,
    TaskType,
    VerificationRequest,
)
from ambient_vcp.ports.store import Transaction
from support.postgres import PostgresServer

T = TypeVar("T")
ENGINES = ("sqlite-file", "sqlite-memory", "postgresql")
START_MS = 1_700_000_000_000
LEASE_MS = 30_000
ALICE = AccountId("00000000-0000-4000-8000-00000000a11c")
BOB = AccountId("00000000-0000-4000-8000-0000000000b0")
TEMPLATE = "vcp_template"
_COUNTER = itertools.count()


def digest(seed: object) -> Digest:
    return Digest(hashlib.sha256(str(seed).encode()).hexdigest())


def task_id(number: int) -> TaskId:
    return TaskId(str(uuid.UUID(int=number, version=4)))


def spec(*, replicas: int = 1, name: str = "") -> TaskSpec:
    return TaskSpec(
        task_type=TaskType.WASM_EXECUTION,
        module=InputRef(digest=digest("module"), size_bytes=100),
        call=ScalarCall(name="add", args=("2", "3")),
        verification=VerificationRequest(replicas=replicas),
        name=name,
    )


def new_task(number: int, *, account: AccountId = ALICE, what: TaskSpec | None = None) -> NewTask:
    return NewTask(id=task_id(number), account_id=account, spec=what or spec())


def result(output: bytes = b"5", *, node_key: str = "k") -> AttemptResult:
    output_digest = Digest(hashlib.sha256(output).hexdigest())
    trace = Trace(
        module_digest=digest("module"),
        interface="scalar",
        entry="add",
        arguments_digest=digest("args"),
        public_input_digest=digest(""),
        private_input_digest=digest(""),
        output_digest=output_digest,
        reason="",
        trap="",
        fuel_used=7,
        memory_peak_bytes=65_536,
        engine="wasmtime",
        exec_class="test",
        started_at_ms=1,
        finished_at_ms=2,
        compile_ms=1,
        cpu_ms=1,
        wall_ms=1,
    )
    return AttemptResult(
        outcome=Outcome(
            reason=None,
            output_digest=output_digest,
            output_size_bytes=len(output),
            fuel_used=7,
            memory_peak_bytes=65_536,
        ),
        output=output,
        trace=trace,
        trace_digest=trace.digest(),
        exec_class="test",
        signature=Signature("ab" * 64),
        node_public_key=PublicKey(digest(node_key)),
        energy=UNKNOWN_ENERGY,
        log=b"log \x00 line",
        execution_time_ms=3,
    )


def node(name: str, *, at_ms: int = START_MS, enrolled: bool = True) -> Node:
    return Node(
        id=NodeId(name),
        owner_id=ALICE,
        region="here",
        node_type=NodeType.COMPUTE,
        capabilities=Capabilities(
            bandwidth_mbps=100.0, cpu_cores=4, memory_gb=8.0, gpu_available=False
        ),
        status=NodeStatus.ONLINE,
        registered_at_ms=at_ms,
        last_seen_at_ms=at_ms,
        public_key=PublicKey(digest(name)) if enrolled else None,
    )


class FakeClock:
    """A SQLite database's clock that only the test moves."""

    def __init__(self, at_ms: int = START_MS) -> None:
        self.at_ms = at_ms

    def start(self, high_water_ms: int) -> None:
        self.at_ms = max(self.at_ms, high_water_ms)

    def now_ms(self) -> int:
        return self.at_ms


class StoreHandle:
    """One fresh store, its clock, and a way around it with raw SQL."""

    def __init__(
        self,
        engine: str,
        url: str,
        store: SyncSqlStore,
        *,
        advance: Callable[[int], None],
        raw: Callable[[str], list[tuple[Any, ...]]],
    ) -> None:
        self.engine = engine
        self.url = url
        self.store = store
        self.advance = advance
        self.raw = raw

    @property
    def is_postgresql(self) -> bool:
        return self.engine == "postgresql"

    def transact(self, use_case: Callable[[Transaction], T]) -> T:
        return self.store.transact(use_case)

    def read(self, use_case: Callable[[Transaction], T]) -> T:
        return self.store.read(use_case)

    def now_ms(self) -> int:
        return self.transact(lambda tx: tx.now_ms())

    def submit(self, *tasks: NewTask, waived: bool = False) -> None:
        self.transact(lambda tx: tx.tasks.insert(tasks, independence_waived=waived))

    def grant(self, number: int, slot: int = 0, to: str = "n1") -> LeaseRef | None:
        choice = (task_id(number), slot, NodeId(to))
        grants = self.transact(lambda tx: tx.tasks.grant([choice], lease_ms=LEASE_MS))
        return grants[0].lease if grants else None


@contextmanager
def sqlite_handle(engine: str, folder: Path) -> Iterator[StoreHandle]:
    clock = FakeClock()
    url = "sqlite://" if engine == "sqlite-memory" else f"sqlite:///{folder / 'state.db'}"
    store = SqlStore.open_sync(url, clock=clock)

    def advance(by_ms: int) -> None:
        clock.at_ms += by_ms

    def raw(statement: str) -> list[tuple[Any, ...]]:
        if engine == "sqlite-memory":
            driver: sqlite3.Connection = store._database._driver
            return driver.execute(statement).fetchall()
        with sqlite3.connect(folder / "state.db", isolation_level=None) as connection:
            rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    with store:
        yield StoreHandle(engine, url, store, advance=advance, raw=raw)


def prepare_template(server: PostgresServer) -> None:
    """A migrated database whose clock is a row, to be copied for each test."""
    server.run("postgres", f"CREATE DATABASE {TEMPLATE}")
    SqlStore.open_sync(server.dsn(TEMPLATE), connections=1).close()
    server.run(
        TEMPLATE,
        "CREATE TABLE test_clock (at_ms bigint)",
        f"INSERT INTO test_clock VALUES ({START_MS})",
        "CREATE OR REPLACE FUNCTION vcp_now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS"
        " 'SELECT at_ms FROM test_clock'",
    )


@contextmanager
def postgresql_handle(server: PostgresServer, connections: int = 12) -> Iterator[StoreHandle]:
    name = f"vcp_{next(_COUNTER)}"
    server.run("postgres", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    store = SqlStore.open_sync(server.dsn(name), connections=connections)

    def raw(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(server.dsn(name), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]  # a plain str
            return cursor.fetchall() if cursor.description else []

    def advance(by_ms: int) -> None:
        raw(f"UPDATE test_clock SET at_ms = at_ms + {by_ms}")

    try:
        with store:
            yield StoreHandle("postgresql", server.dsn(name), store, advance=advance, raw=raw)
    finally:
        server.run("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def with_name(what: TaskSpec, name: str) -> TaskSpec:
    return replace(what, name=name)
