"""A sandbox with an event loop of its own, so that plain test functions can run guests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import wasmtime

from ambient_vcp.adapters.wasmtime.sandbox import WasmtimeSandbox
from ambient_vcp.domain.execution.invocation import (
    BytesCall,
    Call,
    CellLimits,
    ScalarCall,
    WasiCall,
)
from ambient_vcp.domain.execution.scalars import decode_scalars
from ambient_vcp.ports.sandbox import CellReport, GuestRun

SEED = bytes(range(32))


@dataclass(frozen=True)
class Ran:
    report: CellReport
    output: bytes

    @property
    def outcome(self):
        return self.report.outcome

    @property
    def reason(self):
        return self.report.outcome.reason

    @property
    def values(self):
        return [value.to_number() for value in decode_scalars(self.output)]


class Cells:
    """Use as a context manager; ``folder`` is for modules, inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self.runner = asyncio.Runner()
        self.sandbox = self.runner.run(WasmtimeSandbox.start())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.runner.run(self.sandbox.close())
        self.runner.close()

    def file(self, data: bytes) -> Path:
        self._count += 1
        path = self.folder / f"file-{self._count}"
        path.write_bytes(data)
        return path

    def request(
        self,
        module: str | bytes | Path,
        call: Call,
        *,
        public: bytes | Path | None = None,
        private: bytes | Path | None = None,
        clock_start_ms: int = 0,
        **limits: int,
    ) -> GuestRun:
        self._count += 1
        if isinstance(module, str):
            module = bytes(wasmtime.wat2wasm(module))
        paths = [
            self.file(item) if isinstance(item, bytes) else item
            for item in (module, public, private)
        ]
        assert paths[0] is not None
        return GuestRun(
            module_path=paths[0],
            call=call,
            public_input_path=paths[1],
            private_input_path=paths[2],
            output_path=self.folder / f"output-{self._count}",
            limits=CellLimits(**limits),
            random_seed=SEED,
            clock_start_ms=clock_start_ms,
        )

    def run(self, module: str | bytes | Path, call: Call, **options: object) -> Ran:
        request = self.request(module, call, **options)  # type: ignore[arg-type] # passed on
        report = self.runner.run(self.sandbox.run(request))
        output = request.output_path.read_bytes() if request.output_path.exists() else b""
        return Ran(report, output)

    def scalar(self, module: str | bytes, name: str, *args: str, **options: object) -> Ran:
        return self.run(module, ScalarCall(name=name, args=args), **options)

    def bytes(
        self, module: str | bytes, public: bytes | Path | None = None, **options: object
    ) -> Ran:
        return self.run(module, BytesCall(), public=public, **options)

    def wasi(self, module: str | bytes, *args: str, **options: object) -> Ran:
        env = options.pop("env", ())
        return self.run(module, WasiCall(args=args, env=env), **options)  # type: ignore[arg-type] # same


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def descendants() -> set[int]:
    """Process ids of everything this process started, zombies included."""
    return {child.pid for child in psutil.Process().children(recursive=True)}
