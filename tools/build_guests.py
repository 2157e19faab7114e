"""Build every guest that this repository ships, or check that the shipped ones are up to date.

    build_guests.py            build all, write the .wasm files and the digests in the manifests
    build_guests.py --check    build all elsewhere, compare; exit 1 on any difference

A guest is found, not registered: a C file under ``examples/`` whose first line is
``/* vcp-guest: scalar|bytes|wasi``, a ``.wat`` file there, or a folder of the catalogue with a
``main.c`` and a ``manifest.toml``. C is compiled by the C compiler of the pinned ``ziglang`` wheel,
so that everybody gets the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import wasmtime

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
CATALOGUE = ROOT / "src/ambient_vcp/adapters/catalogue"
ZIGLANG_VERSION = "0.17.1"
PAGE_BYTES = 65536
COMPILE_TIMEOUT_S = 300

COMMON = ["-O2", "-g0", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"]
# The first WebAssembly, without later additions: any engine runs it and every tool reads it.
BARE = ["--target=wasm32-freestanding", "-mcpu=mvp", "-nostdlib", "-Wl,--no-entry"]
# A small stack in linear memory; the linker puts it below the data, so that an overflow traps.
STACK = ["-Wl,-z,stack-size=65536"]
FLAGS = {
    "scalar": [*BARE, *STACK],
    "bytes": [*BARE, *STACK, "-Iexamples/guest"],
    "wasi": ["--target=wasm32-wasi"],
}
MARKER = re.compile(r"/\* vcp-guest: (scalar|bytes|wasi)\b")
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
        Guest(source=source, module=source.with_suffix(".wasm"), flags=tuple(FLAGS[found[1]]))
        for source in sorted(EXAMPLES.rglob("*.c"))
        if (found := MARKER.match(source.read_text()))
    ]
    guests += [
        Guest(source=source, module=source.with_suffix(".wasm"))
        for source in sorted(EXAMPLES.rglob("*.wat"))
    ]
    return guests + [catalogue_guest(p) for p in sorted(CATALOGUE.glob("programs/*/manifest.toml"))]


def catalogue_guest(manifest: Path) -> Guest:
    """The memory limit of the manifest is built into the module as its declared maximum."""
    limits = tomllib.loads(manifest.read_text())["limits"]
    memory_bytes_max = limits["memory_bytes_max"] // PAGE_BYTES * PAGE_BYTES
    include = f"-I{(CATALOGUE / 'guest').relative_to(ROOT)}"
    return Guest(
        source=manifest.parent / "main.c",
        module=manifest.parent / "program.wasm",
        flags=(*FLAGS["bytes"], include, f"-Wl,--max-memory={memory_bytes_max}"),
        manifest=manifest,
    )


def build(guest: Guest, scratch: Path) -> bytes:
    if guest.source.suffix == ".wat":
        return bytes(wasmtime.wat2wasm(guest.source.read_text()))
    # Relative paths and a fixed working folder: no path of this machine can get into the module.
    target = scratch / "module.wasm"
    command = [sys.executable, "-m", "ziglang", "cc", *guest.flags, *COMMON]
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


def require_compiler() -> None:
    try:
        installed = metadata.version("ziglang")
    except metadata.PackageNotFoundError:
        installed = "not installed"
    if installed != ZIGLANG_VERSION:
        raise SystemExit(
            f"ziglang {ZIGLANG_VERSION} is needed, it is {installed}.\n"
            f"Try: pip install ziglang=={ZIGLANG_VERSION} (about 100 MB to fetch, 411 MB on disk)"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check_only = parser.parse_args().check
    require_compiler()
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
