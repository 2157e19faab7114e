"""Tells what happens as it happens, from the control plane's own event stream."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from ambient_vcp.apps.cli.connection import client_for
from ambient_vcp.apps.cli.output import printable

NAME_WAIT_S = 0.2
FIELDS_SHOWN = ("reason", "verdict", "decision", "code")


class Narrator:
    """Writes to stdout; events come from a thread of its own with a connection of its own."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._writing = threading.Lock()
        self._quiet = threading.Event()

    def say(self, text: str) -> None:
        with self._writing:
            print(text, flush=True)

    def heading(self, text: str) -> None:
        self.say(f"\n{text}")

    def step(self, text: str) -> None:
        self.say(f"  {self._time()}  {text}")

    def claim(self, claim: str, *, ok: bool, seen: str) -> None:
        mark = "ok       " if ok else "DEVIATION"
        self.say(f"  {mark} {claim}: {printable(seen)}")

    def listen(self, endpoint: str, token: str) -> None:
        """Tell the task events from now on, until `stop`."""
        thread = threading.Thread(target=self._tell, args=(endpoint, token), daemon=True)
        thread.start()

    def stop(self) -> None:
        self._quiet.set()

    def _tell(self, endpoint: str, token: str) -> None:
        try:
            with client_for(endpoint=endpoint, token=token) as client:
                for event in client.events():
                    if self._quiet.is_set():
                        return
                    self._tell_one(event)
        except Exception as failure:  # noqa: BLE001 - losing the story must not lose the show
            if not self._quiet.is_set():
                print(f"  (the event stream ended: {failure})", file=sys.stderr)

    def _tell_one(self, event: Any) -> None:
        known = {"kind": event.kind, "task_id": event.task_id, "node_id": event.node_id}
        known |= {"sequence": event.sequence, "at_ms": event.at_ms, "fields": dict(event.fields)}
        self.events.append(known)
        name = self._name(event.task_id)
        details = [f"on {event.node_id}"] if event.node_id else []
        details += [f"{key} {event.fields[key]}" for key in FIELDS_SHOWN if event.fields.get(key)]
        self.step(printable(f"{name}: {event.kind} {' '.join(details)}".rstrip()))

    def _name(self, task_id: str) -> str:
        # An event can be faster than the answer to the submission that tells us the id.
        deadline = time.monotonic() + NAME_WAIT_S
        while task_id not in self.names and time.monotonic() < deadline:
            time.sleep(NAME_WAIT_S / 10)
        return self.names.get(task_id) or task_id[:8]

    def _time(self) -> str:
        return f"{time.monotonic() - self._began:6.2f} s"
