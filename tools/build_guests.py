"""Build every guest that this repository ships, or check that the shipped ones are up to date.

    build_guests.py            build all, write the .wasm files and the digests in the manifests
    build_guests.py --check    build all elsewhere, compare; exit 1 on any difference

A guest is found, not registered: a C file under ``examples/`` or ``benchmarks/kernels/`` whose
first line is ``/* vcp-guest: scalar|bytes|wasi``, a ``.wat`` file there, or a folder of the
catalogue with a ``main.c`` and a ``manifest.toml``. The first line may go on with features and an
optimisation level: ``/* vcp-guest: scalar +simd128 -O3 */``. C is compiled by the C compiler of
the pinned ``ziglang`` wheel, so that everybody gets the same bytes; the wheel is installed into
``.venv-guests/`` when it is first needed (about 100 MB to fetch, 411 MB on disk).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

import wasmtime

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (ROOT / "examples", ROOT / "benchmarks/kernels")
CATALOGUE = ROOT / "src/ambient_vcp/adapters/catalogue"
CONSTRAINTS = ROOT / "constraints-guests.txt"
COMPILER_VENV = ROOT / ".venv-guests"
PAGE_BYTES = 65536
COMPILE_TIMEOUT_S = 300
INSTALL_TIMEOUT_S = 1800

COMMON = ["-O2", "-g0", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]
# The first WebAssembly, without later additions unless the source asks for them: any engine runs
# it and every tool reads it. The C library of the WASI guests is built for a later one.
BARE = ["--target=wasm32-freestanding", "-nostdlib", "-Wl,--no-entry"]
CPU = "-mcpu=mvp"
# A small stack in linear memory; the linker puts it below the data, so that an overflow traps.
STACK = ["-Wl,-z,stack-size=65536"]
FLAGS = {
    "scalar": [*BARE, *STACK],
    "bytes": [*BARE, *STACK, "-Iexamples/guest"],
    "wasi": ["--target=wasm32-wasi"],
}
MARKER = re.compile(r"/\* vcp-guest: (scalar|bytes|wasi)\b((?: [+][a-z0-9_]+)*)( -O[23s])?")
DIGEST_LINE = re.compile(r'^sha256 = "[0-9a-f]*"$', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One module to build: its source, where it goes, and the compiler's flags (none for WAT)."""

    source: Path
    module: Path
    flags: tuple[str, ...] = ()
    manifest: Path | None = None


def find_guests() -> list[Guest]:
    guests = [
        Guest(source=source, module=source.with_suffix(".wasm"), flags=marked_flags(found))
        for source in found_in("*.c")
        if (found := MARKER.match(source.read_text()))
    ]
    guests += [
        Guest(source=source, module=source.with_suffix(".wasm")) for source in found_in("*.wat")
    ]
    return guests + [catalogue_guest(p) for p in sorted(CATALOGUE.glob("programs/*/manifest.toml"))]


def found_in(pattern: str) -> list[Path]:
    return [path for folder in SOURCES for path in sorted(folder.rglob(pattern))]


def marked_flags(marker: re.Match[str]) -> tuple[str, ...]:
    """The interface's flags, and after them what the first line adds: a later -O wins."""
    interface, features, level = marker.groups()
    cpu = [CPU + features.replace(" ", "")] if interface != "wasi" or features else []
    return (*FLAGS[interface], *cpu, *(level or "").split())


def catalogue_guest(manifest: Path) -> Guest:
    """The memory limit of the manifest is built into the module as its declared maximum."""
    limits = tomllib.loads(manifest.read_text())["limits"]
    memory_bytes_max = limits["memory_bytes_max"] // PAGE_BYTES * PAGE_BYTES
    include = f"-I{(CATALOGUE / 'guest').relative_to(ROOT)}"
    return Guest(
        source=manifest.parent / "main.c",
        module=manifest.parent / "program.wasm",
        flags=(*FLAGS["bytes"], CPU, include, f"-Wl,--max-memory={memory_bytes_max}"),
        manifest=manifest,
    )


def build(guest: Guest, scratch: Path) -> bytes:
    if guest.source.suffix == ".wat":
        return bytes(wasmtime.wat2wasm(guest.source.read_text()))
    # Relative paths and a fixed working folder: no path of this machine can get into the module.
    target = scratch / "module.wasm"
    command = [str(COMPILER_VENV / "bin/python"), "-m", "ziglang", "cc", *COMMON, *guest.flags]
    command += ["-o", str(target), str(guest.source.relative_to(ROOT))]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
    )
    if done.returncode:
        raise SystemExit(f"{guest.source.relative_to(ROOT)} does not build:\n{done.stderr}")
    return target.read_bytes()


def store(guest: Guest, module: bytes) -> None:
    guest.module.write_bytes(module)
    if guest.manifest:
        line = f'sha256 = "{hashlib.sha256(module).hexdigest()}"'
        guest.manifest.write_text(DIGEST_LINE.sub(line, guest.manifest.read_text(), count=1))


def is_current(guest: Guest, module: bytes) -> bool:
    if not guest.module.exists() or guest.module.read_bytes() != module:
        return False
    digest = hashlib.sha256(module).hexdigest()
    return guest.manifest is None or f'sha256 = "{digest}"' in guest.manifest.read_text()


def ensure_compiler() -> None:
    """Install the pinned wheel, once for each content of the constraints."""
    stamp = COMPILER_VENV / ".ready"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("installing the C compiler for guests (about 100 MB to fetch)", file=sys.stderr)
    venv.create(COMPILER_VENV, clear=True, with_pip=True)
    pip = [str(COMPILER_VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "install", "--require-hashes", "--no-deps", "-r", str(CONSTRAINTS)],
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    stamp.write_text(wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check_only = parser.parse_args().check
    ensure_compiler()
    stale = 0
    with tempfile.TemporaryDirectory() as scratch:
        for guest in find_guests():
            module = build(guest, Path(scratch))
            if check_only and not is_current(guest, module):
                print(f"differs from its source: {guest.module.relative_to(ROOT)}")
                stale += 1
            if not check_only:
                store(guest, module)
                print(f"{len(module):8,} bytes  {guest.module.relative_to(ROOT)}")
    if stale:
        print("Run tools/build_guests.py and commit what it writes.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
