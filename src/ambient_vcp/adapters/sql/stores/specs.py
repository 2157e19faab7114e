"""Specifications by digest: many tasks share one, so it is stored and decoded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, KeysView, Sequence
from dataclasses import dataclass

from ambient_vcp.adapters.sql.session import Session, json_text
from ambient_vcp.adapters.sql.statement import Batch, json_list, sql
from ambient_vcp.domain.tasks.spec import TaskSpec
from ambient_vcp.wire.task_spec import check_spec_json, spec_from_json, specs_to_json

CACHE_ENTRIES_MAX = 8192
CACHE_BYTES_MAX = 32 * 1024 * 1024

_INSERT = sql(
    "INSERT INTO specs (digest, body) {row} @digest, @body {end} ON CONFLICT DO NOTHING",
    batch=Batch(digest="text", body="text"),
)
_LOAD = sql(
    "SELECT digest, body FROM specs WHERE digest IN {digests}", digests=json_list("digests")
)


@dataclass(slots=True)
class EncodedSpec:
    digest: str
    body: str
    spec: TaskSpec


def encode(specs: Sequence[TaskSpec]) -> list[EncodedSpec]:
    """Each with its digest; an object that is there several times is encoded once."""
    once = {id(spec): spec for spec in specs}
    encoded = {
        key: EncodedSpec(hashlib.sha256(body).hexdigest(), body.decode(), spec)
        for (key, spec), body in zip(once.items(), specs_to_json(once.values()), strict=True)
    }
    return [encoded[id(spec)] for spec in specs]


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

    def known(self) -> KeysView[str]:
        """The digests, to ask whether one of many is there."""
        return self._known.keys()

    def add(self, specs: Iterable[EncodedSpec]) -> None:
        with self._lock:
            for item in specs:
                if item.digest in self._known:
                    continue
                self._known[item.digest] = (item.spec, len(item.body))
                self._bytes += len(item.body)
            while len(self._known) > CACHE_ENTRIES_MAX or self._bytes > CACHE_BYTES_MAX:
                _, (_, dropped) = self._known.popitem(last=False)
                self._bytes -= dropped


def insert_specs(
    session: Session, cache: SpecCache, specs: Iterable[EncodedSpec]
) -> list[EncodedSpec]:
    """Store those that are not known yet; answers them, to be cached after the commit.

    What is stored is first checked, so that nothing unreadable gets in.

    Raises:
        InvalidInputError: a specification is outside the bounds of its message.
    """
    known = cache.known()
    fresh = {item.digest: item for item in specs if item.digest not in known}
    # In one order for everybody, so that two racing transactions cannot wait for each other.
    new = [fresh[digest] for digest in sorted(fresh)]
    for item in new:
        check_spec_json(item.body)
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
