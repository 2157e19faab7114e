"""The catalogue as the API uses it: inputs to a program's bytes, its bytes to a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import BytesCall
from ambient_vcp.domain.ids import Digest
from ambient_vcp.domain.programs.catalogue import Catalogue
from ambient_vcp.domain.programs.manifest import MISSING, InputField
from ambient_vcp.domain.programs.prompt import program_call
from ambient_vcp.domain.programs.typed_input import encode_input
from ambient_vcp.domain.programs.typed_result import ProgramError, decode_answer
from ambient_vcp.domain.tasks.spec import INLINE_INPUT_BYTES_MAX, InputRef
from ambient_vcp.wire.http.submission import Program


class ProgramDesk:
    """Translates for every program of the catalogue. Runs none: nodes do."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._about = [self._describe(name) for name in catalogue.names()]

    @property
    def about(self) -> list[dict[str, Any]]:
        return self._about

    def modules(self) -> list[bytes]:
        """Every program's module, to be put among the blobs."""
        return [program.module for program in self._catalogue.programs]

    def translate(self, inputs: Any) -> Program:
        """The program that the inputs of a computation mean, and its input's bytes.

        Raises:
            InvalidInputError, LimitExceededError, NotFoundError: they mean none, or a field of its
                input breaks a rule.
        """
        if not isinstance(inputs, Mapping):
            raise InvalidInputError(where="inputs", rule="is an object")
        call = program_call(inputs)
        program = self._catalogue.get(call.program)
        module = program.module
        inline = module if len(module) <= INLINE_INPUT_BYTES_MAX else None
        return Program(
            name=call.program,
            module=InputRef(
                digest=Digest(program.manifest.module_digest),
                size_bytes=len(module),
                inline=inline,
            ),
            call=BytesCall(),
            public_input=encode_input(program.manifest, call.input),
            limits=program.manifest.limits,
        )

    def read(self, name: str, output: bytes) -> Any:
        """A program's result object, or ``{"error": ...}`` where it says that there is none.

        Raises:
            InvalidInputError: the bytes are not an answer of this program.
        """
        answer = decode_answer(self._catalogue.get(name).manifest, output)
        if isinstance(answer, ProgramError):
            error = {"code": answer.code, "message": answer.message, "position": answer.position}
            return {"error": error}
        return dict(answer.values)

    def _describe(self, name: str) -> dict[str, Any]:
        manifest = self._catalogue.get(name).manifest
        return {
            "name": manifest.name,
            "title": manifest.title,
            "summary": manifest.summary,
            "version": manifest.version,
            "inputs": [_field(field) for field in manifest.inputs],
            "results": [
                {"name": field.name, "kind": field.kind, "meaning": field.meaning}
                for field in manifest.results
            ],
        }


def _field(field: InputField) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": field.name,
        "kind": field.kind,
        "meaning": field.meaning,
        "required": field.is_required,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "size_min": field.size_min,
        "size_max": field.size_max,
        "choices": list(field.choices),
    }
    if field.default is not MISSING:
        about["default"] = field.default
    return about
