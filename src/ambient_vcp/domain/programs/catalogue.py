"""All named programs of a control plane, by name."""

from __future__ import annotations

from dataclasses import dataclass

from ambient_vcp.domain.errors import NotFoundError
from ambient_vcp.domain.programs.manifest import ProgramManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program with its module (whose SHA-256 is ``manifest.module_digest``) and its page."""

    manifest: ProgramManifest
    module: bytes
    page: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``programs`` in alphabetical order of their names, which differ."""

    programs: tuple[Program, ...]

    def names(self) -> tuple[str, ...]:
        return tuple(program.manifest.name for program in self.programs)

    def get(self, name: str) -> Program:
        """Raises NotFoundError for a name that no program has."""
        for program in self.programs:
            if program.manifest.name == name:
                return program
        raise NotFoundError(kind="program", id=name[:64])
