"""Faults that a node commits on purpose, for tests and the demonstration.

They are switched on by ``--chaos`` only, are named in the agent's own log, and are told to no
control plane: a liar does not announce itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass

from ambient_vcp.domain.errors import InvalidInputError

SLOW_SECONDS_DEFAULT = 10.0
_DIGITS = frozenset(b"0123456789")
NAMES = ("wrong-result", "slow[:SECONDS]", "crash-after-claim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    wrong_result: bool = False
    slow_seconds: float = 0.0
    crash_after_claim: bool = False

    def __bool__(self) -> bool:
        return self.wrong_result or self.slow_seconds > 0 or self.crash_after_claim

    def lie(self, output: bytes) -> bytes:
        """A believable wrong output: the last decimal digit changed, else the last byte."""
        if not self.wrong_result:
            return output
        if not output:
            return b"1"
        digits = (i for i in range(len(output) - 1, -1, -1) if output[i] in _DIGITS)
        position = next(digits, len(output) - 1)
        # The lowest bit turns a digit into its neighbour: text stays text, a number a number.
        changed = bytes([output[position] ^ 1])
        return output[:position] + changed + output[position + 1 :]

    async def delay(self) -> None:
        if self.slow_seconds > 0:
            await asyncio.sleep(self.slow_seconds)

    def after_claim(self) -> None:
        if self.crash_after_claim:
            os.kill(os.getpid(), signal.SIGKILL)


def parse_chaos(words: list[str]) -> Chaos:
    """Read the values of ``--chaos``.

    Raises:
        InvalidInputError: an unknown fault, or a delay that is no number of 0 to 3600 seconds.
    """
    slow_seconds = 0.0
    for word in words:
        name, _, amount = word.partition(":")
        if name == "slow":
            slow_seconds = _seconds(amount)
        elif word not in NAMES:
            raise InvalidInputError(
                where="chaos", rule="is one of " + ", ".join(NAMES), got=repr(word[:40])
            )
    return Chaos(
        wrong_result="wrong-result" in words,
        slow_seconds=slow_seconds,
        crash_after_claim="crash-after-claim" in words,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text) if text else SLOW_SECONDS_DEFAULT
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:  # noqa: PLR2004 - one hour
        raise InvalidInputError(
            where="chaos", rule="slow:SECONDS is 0 to 3600", got=repr(text[:40])
        )
    return seconds
