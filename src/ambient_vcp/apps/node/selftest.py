"""Two tiny guests with known answers: does the sandbox work here, and how fast is it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ambient_vcp.domain.execution.invocation import CellLimits, ScalarCall
from ambient_vcp.domain.execution.seed import GUEST_CLOCK_START_MS
from ambient_vcp.ports.sandbox import CellReport, GuestRun, Sandbox

PLACEHOLDER
