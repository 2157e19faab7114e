"""Power and presence of NVIDIA GPUs through the driver's management library."""

from __future__ import annotations

from typing import Any

MILLIWATTS_PER_WATT = 1000


class NvmlReader:
    """Reads all GPUs. ``reason`` says why there are none; it is empty while they can be read.

    The library is loaded once, on construction; a machine without the driver costs nothing later.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.names: tuple[str, ...] = ()
        self._handles: list[Any] = []
        try:
            import pynvml  # noqa: PLC0415 - loaded only here: other nodes shall not pay for it
        except ImportError as error:
            self.reason = f"nvidia-ml-py cannot be loaded: {error}"
            return
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self.names = tuple(_text(pynvml.nvmlDeviceGetName(each)) for each in self._handles)
        except pynvml.NVMLError as error:
            self.reason = f"no NVIDIA driver: {error}"
            self._handles = []

    @property
    def count(self) -> int:
        return len(self._handles)

    def power_watts(self) -> float | None:
        """Power of all GPU boards together, or None when it cannot be read."""
        if not self._handles:
            return None
        try:
            milliwatts = sum(self._nvml.nvmlDeviceGetPowerUsage(each) for each in self._handles)
        except self._nvml.NVMLError as error:
            self.reason = f"the driver does not report power: {error}"
            return None
        return float(milliwatts) / MILLIWATTS_PER_WATT

    def temperature_c(self) -> float | None:
        """Temperature of the hottest GPU, or None when it cannot be read."""
        if not self._handles:
            return None
        try:
            return float(
                max(
                    self._nvml.nvmlDeviceGetTemperature(each, self._nvml.NVML_TEMPERATURE_GPU)
                    for each in self._handles
                )
            )
        except self._nvml.NVMLError:
            return None


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
