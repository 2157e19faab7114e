"""Write the page of each catalogue program, and docs/reference/programs.md, from the manifests.

program_pages.py           write them
program_pages.py --check   exit 1 if one is not what its manifest says
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

from ambient_vcp.domain.programs.manifest import Example, InputField, ProgramManifest
from ambient_vcp.domain.programs.parse_manifest import parse_manifest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "src/ambient_vcp/adapters/catalogue/programs"
REFERENCE = ROOT / "docs/reference/programs.md"

REFERENCE_HEAD = """# Programs of the catalogue

<!-- Written by tools/program_pages.py from the manifests. -->

A `computation` task names one of these programs. Each is a guest like any other: it runs in a cell
on a node, never on the control plane, under any assurance class.

Ask in one of three ways:

| Inputs | Meaning |
|---|---|
| `{"program": NAME, "input": {...}}` | this program, these fields |
| `{"expression": TEXT}` | the program `expression` |
| `{"prompt": TEXT}` | plain language, see below |

A prompt with arithmetic in it (`what is 5 + 5?`) goes to `expression`; one that asks to estimate or
simulate pi by Monte Carlo goes to `monte_carlo_pi`, with the samples and the seed that it names; of
any other, `text_statistics` are made. A date such as 2024-01-05 reads as arithmetic, too.

An answer is `{"result": {...}}` with the fields below, or `{"error": {"code", "message"}}`, with a
`position` where there is one: both are results that nodes agree on and that get a receipt. Values
that break a rule of the input are refused before any node sees them. Answers are canonical JSON
(RFC 8785).

"""


def bounds(field: InputField) -> str:
    match field.kind:
        case "integer" | "number":
            return f"{field.minimum:,} to {field.maximum:,}"
        case "text":
            return f"{field.size_min:,} to {field.size_max:,} bytes"
        case "list":
            return f"{field.size_min:,} to {field.size_max:,} items"
        case "matrix":
            return f"1 to {field.size_max} rows and columns"
        case "choice":
            return ", ".join(field.choices)
        case _:
            return ""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def example(shown: Example) -> str:
    text = f"in  {json.dumps(dict(shown.input), ensure_ascii=False)}\n"
    if shown.result is not None:
        text += f"out {json.dumps({'result': shown.result}, ensure_ascii=False)}\n"
    if shown.error is not None:
        text += f"out {json.dumps({'error': shown.error}, ensure_ascii=False)}\n"
    return text


def page(manifest: ProgramManifest, level: str) -> str:
    limits = manifest.limits
    lines = [f"{level} {manifest.title} (`{manifest.name}`)", "", manifest.summary, ""]
    if manifest.notes:
        lines += [manifest.notes.strip(), ""]
    lines += ["| Input | Kind | Bounds | Default | Meaning |", "|---|---|---|---|---|"]
    for field in manifest.inputs:
        default = "required" if field.is_required else f"`{json.dumps(field.default)}`"
        about = f"{field.kind} | {bounds(field)} | {default} | {cell(field.meaning)}"
        lines.append(f"| `{field.name}` | {about} |")
    lines += ["", "| Result | Kind | Meaning |", "|---|---|---|"]
    lines += [f"| `{f.name}` | {f.kind} | {cell(f.meaning)} |" for f in manifest.results]
    lines += ["", "| Error | Meaning |", "|---|---|"]
    lines += [f"| `{e.code}` | {cell(e.meaning)} |" for e in manifest.errors]
    bounded = (
        f"Limits: {limits.fuel_max:,} fuel, {limits.memory_bytes_max:,} bytes of memory, "
        f"{limits.output_bytes_max:,} bytes of output."
    )
    module = f"Version {manifest.version}, module `{manifest.module_digest}`."
    lines += ["", bounded, module, ""]
    if manifest.examples:
        lines += ["```", "".join(example(e) for e in manifest.examples).rstrip(), "```", ""]
    return "\n".join(lines)


def pages() -> dict[Path, str]:
    found: dict[Path, str] = {}
    reference = REFERENCE_HEAD
    for path in sorted(PROGRAMS.glob("*/manifest.toml")):
        manifest = parse_manifest(tomllib.loads(path.read_text()))
        found[path.parent / "page.md"] = page(manifest, "#")
        reference += page(manifest, "##") + "\n"
    found[REFERENCE] = reference.rstrip() + "\n"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    check_only = parser.parse_args().check
    stale = 0
    for path, text in pages().items():
        if check_only and (not path.exists() or path.read_text() != text):
            print(f"not what its manifest says: {path.relative_to(ROOT)}")
            stale += 1
        if not check_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
