"""The first schema: tasks, slots, attempts, nodes, accounts, blobs, log, receipts, events."""

from __future__ import annotations

from alembic import op

from ambient_vcp.adapters.sql.migrations.guards import create_guards, drop_guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TYPES = {
    "sqlite": {
        "key": "TEXT",
        "int": "INTEGER",
        "real": "REAL",
        "blob": "BLOB",
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "table": "STRICT",
        "keyed": "WITHOUT ROWID, STRICT",
    },
    "postgresql": {
        "key": 'TEXT COLLATE "C"',
        "int": "BIGINT",
        "real": "DOUBLE PRECISION",
        "blob": "BYTEA",
        "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "table": "",
        "keyed": "",
    },
}

_TABLES = {
    "specs": """(
        digest {key} PRIMARY KEY,
        body TEXT NOT NULL
    ) {table}""",
    "tasks": """(
        id {key} PRIMARY KEY,
        account_id {key} NOT NULL,
        spec_digest {key} NOT NULL REFERENCES specs (digest),
        state TEXT NOT NULL CHECK (state IN ('pending', 'assigned', 'running', 'verifying',
            'held', 'completed', 'failed', 'cancelled')),
        created_at_ms {int} NOT NULL,
        updated_at_ms {int} NOT NULL,
        next_check_at_ms {int} NOT NULL,
        finished_at_ms {int},
        execution_ms {int} NOT NULL CHECK (execution_ms >= 0),
        hold_code TEXT,
        hold_reason TEXT,
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        accepted_slot {int},
        accepted_epoch {int},
        accepted_node_id {key},
        decision TEXT NOT NULL DEFAULT '',
        assurance TEXT NOT NULL DEFAULT '',
        independence_waived {int} NOT NULL CHECK (independence_waived IN (0, 1)),
        sealed {int} NOT NULL DEFAULT 0 CHECK (sealed IN (0, 1)),
        archived {int} NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)),
        CONSTRAINT task_end_is_stamped CHECK (
            (finished_at_ms IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled'))),
        CONSTRAINT task_completes_by_a_result CHECK (
            state <> 'completed' OR accepted_node_id IS NOT NULL),
        CONSTRAINT task_accepts_a_real_attempt CHECK (
            (accepted_slot IS NULL) = (accepted_node_id IS NULL)
            AND (accepted_slot IS NULL) = (accepted_epoch IS NULL)),
        CONSTRAINT task_hides_only_its_end CHECK (archived = 0 OR finished_at_ms IS NOT NULL),
        CONSTRAINT task_seals_only_its_end CHECK (sealed = 0 OR finished_at_ms IS NOT NULL)
    ) {keyed}""",
    "slots": """(
        task_id {key} NOT NULL REFERENCES tasks (id),
        slot {int} NOT NULL CHECK (slot >= 0),
        purpose TEXT NOT NULL CHECK (purpose IN ('primary', 'decider', 'audit')),
        state TEXT NOT NULL CHECK (state IN ('waiting', 'leased', 'filled', 'closed')),
        epoch {int} NOT NULL DEFAULT 0 CHECK (epoch >= 0),
        node_id {key},
        granted_at_ms {int},
        lease_expires_at_ms {int},
        not_before_ms {int} NOT NULL,
        waiting_since_ms {int} NOT NULL,
        PRIMARY KEY (task_id, slot),
        CONSTRAINT slot_lease_is_of_a_leased_slot CHECK (
            lease_expires_at_ms IS NULL OR (state = 'leased' AND node_id IS NOT NULL))
    ) {keyed}""",
    "attempts": """(
        task_id {key} NOT NULL,
        slot {int} NOT NULL,
        epoch {int} NOT NULL CHECK (epoch >= 1),
        purpose TEXT NOT NULL,
        node_id {key} NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('assigned', 'in_progress', 'completed', 'failed',
            'expired', 'superseded')),
        granted_at_ms {int} NOT NULL,
        started_at_ms {int},
        finished_at_ms {int},
        reason TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '',
        verdict TEXT NOT NULL DEFAULT '',
        result TEXT,
        log {blob},
        PRIMARY KEY (task_id, slot, epoch),
        FOREIGN KEY (task_id, slot) REFERENCES slots (task_id, slot),
        CONSTRAINT attempt_completes_by_a_result CHECK (
            state <> 'completed' OR result IS NOT NULL)
    ) {table}""",
    "nodes": """(
        id {key} PRIMARY KEY,
        owner_id {key} NOT NULL,
        region TEXT NOT NULL,
        node_type TEXT NOT NULL,
        bandwidth_mbps {real} NOT NULL,
        cpu_cores {int} NOT NULL,
        memory_gb {real} NOT NULL,
        gpu_available {int} NOT NULL CHECK (gpu_available IN (0, 1)),
        status TEXT NOT NULL CHECK (status IN ('online', 'offline', 'draining', 'rejected',
            'deleted')),
        registered_at_ms {int} NOT NULL,
        last_seen_at_ms {int} NOT NULL,
        public_key {key} UNIQUE,
        network_prefix TEXT NOT NULL,
        trusted {int} NOT NULL CHECK (trusted IN (0, 1)),
        completed {int} NOT NULL,
        failed {int} NOT NULL,
        disputes {int} NOT NULL,
        consecutive_errors {int} NOT NULL,
        compute_time_ms {int} NOT NULL,
        last_error_at_ms {int},
        telemetry TEXT,
        telemetry_received_at_ms {int},
        report TEXT NOT NULL,
        observability_port {int}
    ) {table}""",
    "node_events": """(
        id {serial},
        node_id {key} NOT NULL,
        at_ms {int} NOT NULL,
        kind TEXT NOT NULL,
        task_id {key},
        health_percent {real},
        active_tasks {int},
        fields TEXT NOT NULL
    ) {table}""",
    "invites": """(
        code_hash {key} PRIMARY KEY,
        owner_id {key} NOT NULL,
        expires_at_ms {int} NOT NULL,
        used_by {key},
        used_at_ms {int}
    ) {table}""",
    "accounts": """(
        id {key} PRIMARY KEY,
        username {key} NOT NULL UNIQUE,
        password_hash TEXT NOT NULL,
        email TEXT,
        role TEXT NOT NULL,
        created_at_ms {int} NOT NULL
    ) {table}""",
    "blob_owners": """(
        digest {key} NOT NULL,
        account_id {key} NOT NULL,
        size_bytes {int} NOT NULL CHECK (size_bytes >= 0),
        PRIMARY KEY (digest, account_id)
    ) {keyed}""",
    "task_blobs": """(
        digest {key} NOT NULL,
        task_id {key} NOT NULL REFERENCES tasks (id),
        size_bytes {int} NOT NULL CHECK (size_bytes >= 0),
        PRIMARY KEY (digest, task_id)
    ) {keyed}""",
    "uploads": """(
        id {key} PRIMARY KEY,
        account_id {key} NOT NULL,
        digest {key} NOT NULL,
        size_bytes {int} NOT NULL CHECK (size_bytes >= 0),
        expires_at_ms {int} NOT NULL
    ) {table}""",
    "log_leaves": """(
        sequence {serial},
        leaf_index {int} UNIQUE,
        kind TEXT NOT NULL,
        data {blob} NOT NULL,
        at_ms {int} NOT NULL
    ) {table}""",
    "log_nodes": """(
        level {int} NOT NULL,
        node_index {int} NOT NULL,
        hash {blob} NOT NULL,
        PRIMARY KEY (level, node_index)
    ) {keyed}""",
    "log_head": """(
        id {int} PRIMARY KEY CHECK (id = 1),
        size {int} NOT NULL CHECK (size >= 0)
    ) {table}""",
    "checkpoints": """(
        id {serial},
        size {int} NOT NULL,
        body TEXT NOT NULL
    ) {table}""",
    "receipts": """(
        task_id {key} PRIMARY KEY REFERENCES tasks (id),
        body TEXT NOT NULL,
        leaf_sequence {int} NOT NULL REFERENCES log_leaves (sequence)
    ) {table}""",
    "idempotency": """(
        account_id {key} NOT NULL,
        key {key} NOT NULL,
        request_hash {key} NOT NULL,
        status {int},
        body {blob},
        created_at_ms {int} NOT NULL,
        PRIMARY KEY (account_id, key)
    ) {table}""",
}

_EVENTS = {
    "sqlite": "sequence INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "sequence BIGINT PRIMARY KEY",
}
_EVENT_TABLE = """(
        {sequence},
        at_ms {int} NOT NULL,
        kind TEXT NOT NULL,
        account_id {key},
        task_id {key},
        node_id {key},
        fields TEXT NOT NULL
    ) {table}"""

_INDEXES = {
    "tasks_by_account": "tasks (account_id, created_at_ms, id)",
    "tasks_by_age": "tasks (created_at_ms, id)",
    "tasks_ended": "tasks (state) WHERE finished_at_ms IS NOT NULL",
    "tasks_due": "tasks (next_check_at_ms) WHERE finished_at_ms IS NULL",
    "tasks_unsealed": "tasks (finished_at_ms, id) WHERE finished_at_ms IS NOT NULL AND sealed = 0",
    "tasks_provisional": "tasks (accepted_node_id) WHERE assurance = 'provisional'",
    "slots_waiting": "slots (waiting_since_ms, task_id, slot) WHERE state = 'waiting'",
    "slots_expiry": "slots (lease_expires_at_ms) WHERE lease_expires_at_ms IS NOT NULL",
    "slots_of_node": "slots (node_id, lease_expires_at_ms) WHERE lease_expires_at_ms IS NOT NULL",
    "nodes_by_age": "nodes (registered_at_ms, id)",
    "nodes_by_status": "nodes (status, last_seen_at_ms)",
    "node_events_by_node": "node_events (node_id, id)",
    "task_blobs_by_task": "task_blobs (task_id)",
    "uploads_by_expiry": "uploads (expires_at_ms)",
    "log_leaves_pending": "log_leaves (sequence) WHERE leaf_index IS NULL",
    "events_by_account": "events (account_id, sequence)",
    "events_by_task": "events (task_id, sequence)",
    "idempotency_by_age": "idempotency (created_at_ms)",
}

_UNIQUE_ACCEPTED = (
    "CREATE UNIQUE INDEX attempts_one_accepted ON attempts (task_id, slot)"
    " WHERE state = 'completed'"
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    types = _TYPES[dialect]
    for name, body in _TABLES.items():
        op.execute(f"CREATE TABLE {name} {body.format(**types)}")
    events = _EVENT_TABLE.format(sequence=_EVENTS[dialect], **types)
    op.execute(f"CREATE TABLE events {events}")
    for name, target in _INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {target}")
    op.execute(_UNIQUE_ACCEPTED)
    op.execute("INSERT INTO log_head (id, size) VALUES (1, 0)")
    if dialect == "sqlite":
        op.execute(
            "CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1),"
            " high_water_ms INTEGER NOT NULL) STRICT"
        )
        op.execute("INSERT INTO clock (id, high_water_ms) VALUES (1, 0)")
    else:
        op.execute(
            "CREATE TABLE event_base (id BIGINT PRIMARY KEY CHECK (id = 1), base BIGINT NOT NULL)"
        )
        op.execute("INSERT INTO event_base (id, base) VALUES (1, 0)")
        op.execute(
            "CREATE FUNCTION vcp_now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS"
            " 'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint'"
        )
    create_guards(dialect)


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    drop_guards(dialect)
    if dialect == "sqlite":
        op.execute("DROP TABLE clock")
    else:
        op.execute("DROP FUNCTION vcp_now_ms()")
        op.execute("DROP TABLE event_base")
    op.execute("DROP TABLE events")
    for name in reversed(_TABLES):
        op.execute(f"DROP TABLE {name}")
