"""What a machine's owner allows, and why the node therefore takes no work now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.errors import InvalidInputError

MINUTES_PER_HOUR = 60
MINUTES_PER_DAY = 24 * MINUTES_PER_HOUR
_HOURS_PATTERN = re.compile(r"(\d{1,2})(?::(\d{2}))?-(\d{1,2})(?::(\d{2}))?")


class Refusal(StrEnum):
    """Why a node takes no new work. The text is stable and travels in heartbeats."""

    OUTSIDE_HOURS = "outside_hours"
    ON_BATTERY = "on_battery"
    TOO_WARM = "too_warm"
    DISK_FULL = "disk_full"
    SPOOL_FULL = "spool_full"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A daily window in the owner's local time, ``[start, stop)``, which may pass midnight."""

    start_minute: int
    stop_minute: int

    def contains(self, minute_of_day: int) -> bool:
        if self.start_minute <= self.stop_minute:
            return self.start_minute <= minute_of_day < self.stop_minute
        return minute_of_day >= self.start_minute or minute_of_day < self.stop_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLimits:
    """The owner's terms. ``None`` means that the owner set no such limit.

    ``cores_max`` bounds the cells that run at once (each uses one core), ``memory_bytes_max`` the
    sum of their memory limits. ``disk_free_bytes_min`` is kept free for the owner.
    """

    cores_max: int
    memory_bytes_max: int
    concurrency_max: int
    hours: Hours | None = None
    temperature_c_max: float | None = None
    work_on_battery: bool = True
    disk_free_bytes_min: int = 0

    @property
    def cells_max(self) -> int:
        return max(1, min(self.cores_max, self.concurrency_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """The moment, as far as it could be measured; ``None`` is unknown.

    ``minute_of_day`` is local time, 0 to 1439.
    """

    minute_of_day: int
    temperature_c: float | None
    on_battery: bool | None
    disk_free_bytes: int | None
    spool_full: bool = False
    draining: bool = False


def refusals(limits: OwnerLimits, state: MachineState) -> tuple[Refusal, ...]:
    """Every reason why no new work may start now; empty when it may.

    Something unknown never refuses by itself: a machine without a battery has no battery state.
    """
    reasons = []
    if limits.hours is not None and not limits.hours.contains(state.minute_of_day):
        reasons.append(Refusal.OUTSIDE_HOURS)
    if not limits.work_on_battery and state.on_battery:
        reasons.append(Refusal.ON_BATTERY)
    if (
        limits.temperature_c_max is not None
        and state.temperature_c is not None
        and state.temperature_c > limits.temperature_c_max
    ):
        reasons.append(Refusal.TOO_WARM)
    if state.disk_free_bytes is not None and state.disk_free_bytes < limits.disk_free_bytes_min:
        reasons.append(Refusal.DISK_FULL)
    if state.spool_full:
        reasons.append(Refusal.SPOOL_FULL)
    if state.draining:
        reasons.append(Refusal.DRAINING)
    return tuple(reasons)


def parse_hours(text: str) -> Hours:
    """Read ``22-6`` or ``22:30-06:00``.

    Raises:
        InvalidInputError: another shape, an hour above 24, a minute above 59, or an empty window.
    """
    match = _HOURS_PATTERN.fullmatch(text.strip())
    if match is None:
        raise _bad_hours(text)
    start = _minute_of_day(match[1], match[2], text)
    stop = _minute_of_day(match[3], match[4], text)
    if start == stop:
        raise _bad_hours(text)
    return Hours(start_minute=start, stop_minute=stop)


def _minute_of_day(hour: str, minute: str | None, text: str) -> int:
    value = int(hour) * MINUTES_PER_HOUR + int(minute or 0)
    if int(minute or 0) >= MINUTES_PER_HOUR or value > MINUTES_PER_DAY:
        raise _bad_hours(text)
    return value


def _bad_hours(text: str) -> InvalidInputError:
    return InvalidInputError(
        where="hours",
        rule="is a daily window of local time such as 22-6 or 22:30-06:00",
        got=repr(text[:40]),
    )
