"""Measurements of the machine: psutil, RAPL energy counters, NVML; honest where one is missing."""

from ambient_vcp.adapters.telemetry.machine import Machine

__all__ = ["Machine"]
