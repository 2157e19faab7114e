"""What a node needs to know about its machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ambient_vcp.domain.tasks.records import Energy


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSample:
    """One moment of the machine. What could not be read is None, never a good value.

    ``cpu_percent`` is the mean over all processors since the previous sample. ``power_source`` is
    ``rapl``, ``nvml``, ``estimate`` or ``unknown``.
    """

    cpu_percent: float | None
    memory_percent: float | None
    memory_available_bytes: int | None
    temperature_c: float | None
    on_battery: bool | None
    power_watts: float | None
    power_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyMark:
    """Where the meters stood: the machine's busy processor seconds and its counted microjoules."""

    busy_cpu_s: float
    package_uj: int | None


class MachineSensors(Protocol):
    """Reads one machine. Calls take milliseconds at most and never raise."""

    def sample(self) -> MachineSample: ...

    def gpu_available(self) -> bool: ...

    def describe(self) -> dict[str, str]:
        """Of cpu, memory, temperature, battery, power, gpu: the source, or why it is missing."""
        ...

    def mark(self) -> EnergyMark: ...

    def energy_since(self, mark: EnergyMark, cell_cpu_ms: float) -> Energy:
        """Energy of a cell that used ``cell_cpu_ms`` of processor time since ``mark``.

        ``measured`` only where a counter was read; the source text then says how it was shared out.
        """
        ...
