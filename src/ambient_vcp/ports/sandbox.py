"""What a node needs to run a guest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ambient_vcp.domain.execution.invocation import Call, CellLimits
from ambient_vcp.domain.execution.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRun:
    """One run to be made.

    Files are read-only to the cell and opened by the caller's side, so the guest's process needs no
    file system. ``random_seed`` (32 bytes, derived from the task id) feeds the WASI random stream;
    ``clock_start_ms`` is where the WASI clocks begin: both are the same on every node.
    ``output_path`` is created or truncated and holds the output bytes when the run succeeds.
    """

    module_path: Path
    call: Call
    public_input_path: Path | None
    private_input_path: Path | None
    output_path: Path
    limits: CellLimits
    random_seed: bytes
    clock_start_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """What came out. ``log`` is the guest's stderr, cut to the limit, not trusted, not compared."""

    outcome: Outcome
    log: bytes
    compile_ms: float
    run_ms: float
    start_ms: float
    cpu_ms: float
    wall_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationReport:
    """Which layers around a cell are really active on this machine, each with the reason if not.

    ``active`` and ``inactive`` map a layer's name (``process``, ``rlimits``, ``no_new_privs``,
    ``seccomp``, ``landlock``, ``user_namespace``, ``network_namespace``, ``uid_drop``, ...) to a
    short explanation.
    """

    active: dict[str, str]
    inactive: dict[str, str]


class Sandbox(Protocol):
    """Runs guests, each in a process of its own that is thrown away afterwards."""

    @property
    def engine(self) -> str:
        """Name and exact version, for example ``wasmtime 50.0.1``."""
        ...

    @property
    def exec_class(self) -> str:
        """Equal on two nodes exactly when their results and fuel must be equal byte for byte."""
        ...

    @property
    def isolation(self) -> IsolationReport: ...

    async def run(self, run: GuestRun) -> CellReport:
        """Run once. Never raises for anything the guest or its bytes do: that is an outcome.

        Cancelling the awaiting task kills the cell at once and leaves nothing behind.
        """
        ...

    async def close(self) -> None:
        """Kill every cell and helper process. Idempotent."""
        ...
