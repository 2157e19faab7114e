"""Nodes, their history and invitations in SQL."""

from ambient_vcp.adapters.sql.nodes.history import History


class SqlNodeStore(History):
    """The ``NodeStore`` port."""


__all__ = ["SqlNodeStore"]
