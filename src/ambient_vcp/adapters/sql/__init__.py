"""The store on SQLite and PostgreSQL: one code, constant SQL."""

from ambient_vcp.adapters.sql.engines.clock import AnchoredClock, DatabaseClock, TimeSource
from ambient_vcp.adapters.sql.store import SqlStore, SyncSqlStore

__all__ = ["AnchoredClock", "DatabaseClock", "SqlStore", "SyncSqlStore", "TimeSource"]
