"""The agent's command line and environment, read once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import psutil

from ambient_vcp.apps.node.work.chaos import Chaos, parse_chaos
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.nodes.owner_limits import OwnerLimits, parse_hours

CODE_VARIABLE = "AMBIENT_VCP_JOIN_CODE"
DATA_DIR_VARIABLE = "AMBIENT_VCP_NODE_DIR"
CODE_LENGTH_MAX = 256
GIB = 1024**3
DISK_FREE_BYTES_MIN = 256 * 1024 * 1024
DRAIN_SECONDS_DEFAULT = 30.0
OBSERVABILITY_PORT_DEFAULT = 9090

Term: TypeAlias = str | int | float | bool | None
TERM_NAMES = (
    "cores",
    "memory_gb",
    "hours",
    "max_temperature",
    "on_battery",
    "concurrency",
    "bandwidth_mbps",
    "watts_per_core",
    "observability",
    "observability_port",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``terms`` are the owner's, as typed now; what was typed at ``join`` is in the data folder."""

    verb: str
    url: str
    code: str | None
    node_id: str | None
    region: str | None
    node_type: str | None
    data_dir: Path
    terms: dict[str, Term]
    chaos: Chaos
    drain_seconds: float
    log_json: bool
    as_json: bool


def parse(arguments: Sequence[str]) -> Settings:
    """Read the command line.

    Raises:
        InvalidInputError: a value that argparse cannot judge is wrong. (Others end the program
            with exit code 4 and the usage.)
    """
    found = _parser().parse_args(arguments)
    given = vars(found)
    return Settings(
        verb=found.verb,
        url=given.get("url") or "",
        code=_code(given) if found.verb == "join" else None,
        node_id=given.get("id"),
        region=given.get("region"),
        node_type=given.get("node_type"),
        data_dir=(found.data_dir or default_data_dir()).expanduser().absolute(),
        terms={name: given[name] for name in TERM_NAMES if given.get(name) is not None},
        chaos=parse_chaos(given.get("chaos") or []),
        drain_seconds=given.get("drain_seconds") or DRAIN_SECONDS_DEFAULT,
        log_json=bool(given.get("log_json")),
        as_json=bool(given.get("json")),
    )


def owner_limits(terms: dict[str, Term]) -> OwnerLimits:
    """The owner's terms with defaults: every core, half of the memory, any hour.

    Raises:
        InvalidInputError: a term is out of its bounds.
    """
    cores = int(_number(terms, "cores", 1, 256) or _own_cores())
    memory_gb = _number(terms, "memory_gb", 1, 2048) or default_memory_gb()
    hours = terms.get("hours")
    return OwnerLimits(
        cores_max=cores,
        memory_bytes_max=int(memory_gb * GIB),
        concurrency_max=int(_number(terms, "concurrency", 1, 256) or cores),
        hours=parse_hours(str(hours)) if hours else None,
        temperature_c_max=_number(terms, "max_temperature", 20, 110),
        work_on_battery=terms.get("on_battery", "allow") == "allow",
        disk_free_bytes_min=DISK_FREE_BYTES_MIN,
    )


def default_memory_gb() -> float:
    """Half of this machine's memory, at least the 1 GiB that a node must offer."""
    return max(1.0, round(psutil.virtual_memory().total / GIB / 2, 1))


def default_data_dir() -> Path:
    if chosen := os.environ.get(DATA_DIR_VARIABLE):
        return Path(chosen)
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state) / "ambient-vcp" / "node"


def _own_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number(terms: dict[str, Term], name: str, low: float, high: float) -> float | None:
    value = terms.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInputError(
            where="--" + name.replace("_", "-"), rule=f"is {low:g} to {high:g}", got=str(value)
        )
    return float(value)


def _code(given: dict[str, object]) -> str | None:
    """From ``--code``, ``--code-file`` (``-`` is standard input) or the environment."""
    from_environment = os.environ.pop(CODE_VARIABLE, None)
    if given.get("code"):
        code = str(given["code"])
    elif given.get("code_file"):
        code = _read_code(str(given["code_file"]))
    else:
        code = from_environment or ""
    code = code.strip()
    if len(code) > CODE_LENGTH_MAX or not code.isprintable():
        raise InvalidInputError(where="code", rule=f"is at most {CODE_LENGTH_MAX} characters")
    return code or None


def _read_code(name: str) -> str:
    if name == "-":
        return sys.stdin.readline(CODE_LENGTH_MAX + 2)
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.readline(CODE_LENGTH_MAX + 2)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            where="--code-file", rule="is a readable text file", got=f"{name!r} ({error})"
        ) from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it never returns either
        self.print_usage(sys.stderr)
        self.exit(4, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ambient-vcp node",
        description="Lend this machine to a control plane, or look whether that would work.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    join = verbs.add_parser("join", help="enrol this machine, then run")
    join.add_argument("url", help="the control plane, for example http://10.0.0.5:8080")
    join.add_argument("--code", help=f"single-use code (or set {CODE_VARIABLE}, or --code-file)")
    join.add_argument("--code-file", metavar="FILE", help="file with the code; - is standard input")
    join.add_argument("--id", help="name of the node (default: made from its key)")
    join.add_argument("--region", help="where it stands (default: us-west)")
    join.add_argument(
        "--node-type",
        help="compute, gateway, storage, validator, open_internet or any (default: compute)",
    )
    run = verbs.add_parser("run", help="run a node that has joined")
    for verb in (join, run):
        _add_terms(verb)
        _add_running(verb)
    doctor = verbs.add_parser("doctor", help="check whether this machine can be a node")
    doctor.add_argument("url", nargs="?", help="the control plane (default: the one joined)")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    for verb in (join, run, doctor):
        verb.add_argument("--data-dir", type=Path, help=f"its folder (or set {DATA_DIR_VARIABLE})")
    return parser


def _add_terms(verb: argparse.ArgumentParser) -> None:
    terms = verb.add_argument_group("the owner's terms (kept from `join` for later runs)")
    terms.add_argument("--cores", type=int, help="processors lent (default: all)")
    terms.add_argument("--memory-gb", type=float, help="memory lent (default: half)")
    terms.add_argument("--concurrency", type=int, help="tasks at once (default: as cores)")
    terms.add_argument("--hours", metavar="22-6", help="only in these hours of local time")
    terms.add_argument("--max-temperature", type=float, metavar="C", help="no work above")
    terms.add_argument("--on-battery", choices=("allow", "refuse"), help="default: allow")
    terms.add_argument("--bandwidth-mbps", type=float, help="offered (default: measured)")
    terms.add_argument("--watts-per-core", type=float, help="for energy estimates (default: 5)")
    terms.add_argument(
        "--observability", action=argparse.BooleanOptionalAction, help="serve /node/status locally"
    )
    terms.add_argument("--observability-port", type=int, help="default: 9090")


def _add_running(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--drain-seconds", type=float, help="patience on SIGTERM (default: 30)")
    verb.add_argument("--log-json", action="store_true", help="one JSON object a line")
    verb.add_argument(
        "--chaos",
        action="append",
        metavar="FAULT",
        help="misbehave on purpose, for tests: wrong-result, slow[:SECONDS], crash-after-claim",
    )
