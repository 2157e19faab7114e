"""One line per event on stderr, for people or for machines."""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

from ambient_vcp.ports.clock import Clock

VALUE_LENGTH_MAX = 300


class EventLog:
    """Writes events. Values come from outside and are escaped; secrets are never passed in."""

    def __init__(self, clock: Clock, *, as_json: bool = False, out: TextIO | None = None) -> None:
        self._clock = clock
        self._as_json = as_json
        self._out = out or sys.stderr

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        now_ms = self._clock.now_ms()
        if self._as_json:
            record = {"at_ms": now_ms, "level": level, "event": event}
            record |= {name: _plain(value) for name, value in fields.items()}
            line = json.dumps(record)
        else:
            moment = time.strftime("%H:%M:%S", time.localtime(now_ms / 1000))
            details = " ".join(f"{name}={_shown(value)}" for name, value in fields.items())
            mark = "" if level == "info" else f"{level.upper()} "
            line = f"{moment} node {mark}{event} {details}".rstrip()
        try:
            print(line, file=self._out, flush=True)
        except OSError:
            return  # a closed terminal or a full disk must not stop the agent


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:VALUE_LENGTH_MAX]


def _shown(value: object) -> str:
    text = str(_plain(value))
    return text if text.isprintable() and " " not in text and text else json.dumps(text)
