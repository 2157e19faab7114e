"""Tasks with their slots and attempts in SQL."""

from ambient_vcp.adapters.sql.tasks.intake import Intake
from ambient_vcp.adapters.sql.tasks.leases import Leases
from ambient_vcp.adapters.sql.tasks.lifecycle import Lifecycle
from ambient_vcp.adapters.sql.tasks.reading import Reading
from ambient_vcp.adapters.sql.tasks.results import Results
from ambient_vcp.adapters.sql.tasks.slots import Slots


class SqlTaskStore(Intake, Reading, Leases, Results, Slots, Lifecycle):
    """The ``TaskStore`` port: each base holds the methods of one stage of a task's life."""


__all__ = ["SqlTaskStore"]
