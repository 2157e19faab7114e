"""Asks a program of the catalogue a question, really run, with its own limits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ambient_vcp.adapters.catalogue.loader import load_catalogue
from ambient_vcp.domain.programs.catalogue import Catalogue, Program
from ambient_vcp.domain.programs.typed_input import encode_input
from ambient_vcp.domain.programs.typed_result import ProgramError, decode_answer
from support.guest_runner import GuestAnswer, GuestRunner


@cache
def catalogue() -> Catalogue:
    return load_catalogue()


@cache
def runner(name: str) -> GuestRunner:
    program = catalogue().get(name)
    memory_bytes_max = program.manifest.limits.memory_bytes_max
    return GuestRunner(program.module, memory_bytes_max=memory_bytes_max)


def run_record(program: Program, record: bytes) -> GuestAnswer:
    """Raises a trap if the program breaks a limit of its manifest."""
    fuel_max = program.manifest.limits.fuel_max
    return runner(program.manifest.name).run(record, fuel_max=fuel_max)


def ask(name: str, values: Mapping[str, object]) -> dict[str, object]:
    """The result's fields, or ``{"error": code}`` with ``position`` where there is one."""
    program = catalogue().get(name)
    output = run_record(program, encode_input(program.manifest, values)).output
    answer = decode_answer(program.manifest, output)
    if isinstance(answer, ProgramError):
        position = {} if answer.position is None else {"position": answer.position}
        return {"error": answer.code, **position}
    return dict(answer.values)
