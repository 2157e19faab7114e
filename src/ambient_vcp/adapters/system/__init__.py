"""The machine's clock and the operating system's randomness."""

from ambient_vcp.adapters.system.clock import SystemClock
from ambient_vcp.adapters.system.entropy import SystemEntropy

__all__ = ["SystemClock", "SystemEntropy"]
