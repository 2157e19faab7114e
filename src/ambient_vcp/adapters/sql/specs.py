"""Specifications by digest: many tasks share one, so it is stored and decoded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ambient_vcp.adapters.sql.session import Session, json_text
from ambient_vcp.adapters.sql.statement import Batch, json_list, sql
from ambient_vcp.domain.tasks.spec import TaskSpec
from ambient_vcp.wire.task_spec import spec_from_json, spec_to_json

CACHE_ENTRIES_MAX = 8192
CACHE_BYTES_MAX = 32 * 1024 * 1024

_INSERT = sql(
    "INSERT INTO specs (digest, body) {row} @digest, @body {end} ON CONFLICT DO NOTHING",
    batch=Batch(digest="text", body="text"),
)
_LOAD = sql(
    "SELECT digest, body FROM specs WHERE digest IN {digests}", digests=json_list("digests")
)


@dataclass(frozen=True, slots=True)
class EncodedSpec:
    digest: str
    body: str
    spec: TaskSpec


def encode(spec: TaskSpec) -> EncodedSpec:
    body = spec_to_json(spec)
    return EncodedSpec(hashlib.sha256(body).hexdigest(), body.decode(), spec)


class SpecCache:
    """Decoded specifications that are known to be committed. Bounded; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[TaskSpec, int]] = OrderedDict()
        self._bytes = 0

    def get(self, digest: str) -> TaskSpec | None:
        with self._lock:
            entry = self._known.get(digest)
            if entry is None:
                return None
            self._known.move_to_end(digest)
            return entry[0]

    def add(self, digest: str, spec: TaskSpec, size_bytes: int) -> None:
        with self._lock:
            if digest in self._known:
                return
            self._known[digest] = (spec, size_bytes)
            self._bytes += size_bytes
            while len(self._known) > CACHE_ENTRIES_MAX or self._bytes > CACHE_BYTES_MAX:
                _, (_, dropped) = self._known.popitem(last=False)
                self._bytes -= dropped


def insert_specs(
    session: Session, cache: SpecCache, specs: Iterable[EncodedSpec]
) -> list[EncodedSpec]:
    """Store those that are not known yet; answers them, to be cached after the commit.

    What is stored is first decoded, so that nothing unreadable gets in.

    Raises:
        InvalidInputError: a specification is outside the bounds of its message.
    """
    fresh = {item.digest: item for item in specs if cache.get(item.digest) is None}
    # In one order for everybody, so that two racing transactions cannot wait for each other.
    new = [
        EncodedSpec(digest, fresh[digest].body, spec_from_json(fresh[digest].body))
        for digest in sorted(fresh)
    ]
    if new:
        session.run_each(_INSERT, [(item.digest, item.body) for item in new])
    return new


def load_specs(session: Session, cache: SpecCache, digests: Sequence[str]) -> dict[str, TaskSpec]:
    """Specifications by digest, from the cache or the database."""
    found: dict[str, TaskSpec] = {}
    missing: set[str] = set()
    for digest in set(digests):
        spec = cache.get(digest)
        if spec is None:
            missing.add(digest)
        else:
            found[digest] = spec
    if missing:
        for digest, body in session.rows(_LOAD, {"digests": json_text(sorted(missing))}):
            found[digest] = spec_from_json(body)
    return found
