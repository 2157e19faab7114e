"""One machine's sensors behind the ``MachineSensors`` port."""

from __future__ import annotations

from pathlib import Path

import psutil

from ambient_vcp.adapters.telemetry.nvml import NvmlReader
from ambient_vcp.adapters.telemetry.rapl import POWERCAP, RaplCounter
from ambient_vcp.domain.tasks.records import UNKNOWN_ENERGY, Energy
from ambient_vcp.ports.clock import Clock
from ambient_vcp.ports.telemetry import EnergyMark, MachineSample

WATTS_PER_BUSY_CORE = 5.0
"""Guess for machines without a counter. Server parts are sold with 150 to 400 W for 32 to 128
hardware threads, laptops with 15 to 28 W for 4 to 12: 2 to 7 W each. Owners who know better say so.
"""

CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
"""Drivers that report the processor itself, best first; others serve when none of these does."""

_MICROJOULES_PER_JOULE = 1_000_000
_MICROJOULES_PER_MILLIJOULE = 1_000
_MS_PER_S = 1_000


class Machine:
    """Reads this machine. Not thread-safe: use it from one thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        watts_per_core: float = WATTS_PER_BUSY_CORE,
        powercap: Path = POWERCAP,
    ) -> None:
        self._clock = clock
        self._watts_per_core = watts_per_core
        self._rapl = RaplCounter(powercap)
        self._nvml = NvmlReader()
        self._cores = psutil.cpu_count() or 1
        self._last_uj = self._rapl.read_uj()
        self._last_read_ms = clock.monotonic_ms()
        psutil.cpu_percent(interval=None)  # the first call only sets the starting point

    def sample(self) -> MachineSample:
        cpu_percent = min(100.0, max(0.0, psutil.cpu_percent(interval=None)))
        memory = psutil.virtual_memory()
        watts, source = self._power(cpu_percent)
        return MachineSample(
            cpu_percent=cpu_percent,
            memory_percent=float(memory.percent),
            memory_available_bytes=int(memory.available),
            temperature_c=self._temperature(),
            on_battery=_on_battery(),
            power_watts=None if watts is None else round(watts, 2),
            power_source=source,
        )

    def gpu_available(self) -> bool:
        return self._nvml.count > 0

    def describe(self) -> dict[str, str]:
        temperature = self._temperature()
        battery = _on_battery()
        return {
            "cpu": f"psutil, {self._cores} logical processors",
            "memory": f"psutil, {psutil.virtual_memory().total} bytes",
            "temperature": "this machine shows no sensor"
            if temperature is None
            else f"{temperature:.0f} degrees Celsius",
            "battery": {None: "none", True: "on battery", False: "on mains"}[battery],
            "power": self._describe_power(),
            "gpu": ", ".join(self._nvml.names) or self._nvml.reason or "none",
        }

    def mark(self) -> EnergyMark:
        return EnergyMark(busy_cpu_s=_busy_cpu_s(), package_uj=self._rapl.read_uj())

    def energy_since(self, mark: EnergyMark, cell_cpu_ms: float) -> Energy:
        cell_s = cell_cpu_ms / _MS_PER_S
        now_uj = self._rapl.read_uj()
        busy_s = _busy_cpu_s() - mark.busy_cpu_s
        if now_uj is not None and mark.package_uj is not None and busy_s > 0:
            share = min(1.0, cell_s / busy_s)
            return Energy(
                millijoules=round((now_uj - mark.package_uj) * share / _MICROJOULES_PER_MILLIJOULE),
                label="measured",
                source="rapl-package-shared: package energy x cell CPU time / all CPU time",
            )
        if cell_s < 0:
            return UNKNOWN_ENERGY
        return Energy(
            millijoules=round(cell_s * self._watts_per_core * _MS_PER_S),
            label="estimated",
            source=f"cell CPU time x {self._watts_per_core:g} W per core (no energy counter)",
        )

    def _power(self, cpu_percent: float) -> tuple[float | None, str]:
        """Measured processor power, else measured GPU power, else an estimate for the processor."""
        now_ms = self._clock.monotonic_ms()
        now_uj = self._rapl.read_uj()
        elapsed_s = (now_ms - self._last_read_ms) / _MS_PER_S
        before_uj, self._last_uj, self._last_read_ms = self._last_uj, now_uj, now_ms
        if now_uj is not None and before_uj is not None and elapsed_s > 0:
            return (now_uj - before_uj) / _MICROJOULES_PER_JOULE / elapsed_s, "rapl"
        gpu_watts = self._nvml.power_watts()
        if gpu_watts is not None:
            return gpu_watts, "nvml"
        return self._cores * self._watts_per_core * cpu_percent / 100, "estimate"

    def _describe_power(self) -> str:
        if not self._rapl.reason:
            return "rapl (measured, processor packages)"
        if not self._nvml.reason and self._nvml.count:
            return f"nvml (measured, GPU boards only); rapl: {self._rapl.reason}"
        return (
            f"estimate: CPU use x {self._cores} x {self._watts_per_core:g} W; "
            f"rapl: {self._rapl.reason}; nvml: {self._nvml.reason or 'no GPU'}"
        )

    def _temperature(self) -> float | None:
        return hottest_processor_c() if hasattr(psutil, "sensors_temperatures") else None


def hottest_processor_c() -> float | None:
    """The hottest reading of the processor's own sensor, or of any sensor when it has none."""
    try:
        sensors = psutil.sensors_temperatures()
    except (OSError, ValueError):
        return None
    named = [name for name in CPU_SENSORS if name in sensors]
    chosen = named[:1] or list(sensors)
    values = [float(item.current) for name in chosen for item in sensors[name] if item.current]
    return max(values, default=None)


def _on_battery() -> bool | None:
    """None when the machine has no battery or does not say."""
    if not hasattr(psutil, "sensors_battery"):
        return None
    try:
        battery = psutil.sensors_battery()
    except (OSError, ValueError):
        return None
    if battery is None or battery.power_plugged is None:
        return None
    return not battery.power_plugged


def _busy_cpu_s() -> float:
    """Processor seconds of the whole machine that were not idle, since it started."""
    times = psutil.cpu_times()
    # guest time is already counted in user time.
    return float(times.user + times.system + getattr(times, "nice", 0.0))
