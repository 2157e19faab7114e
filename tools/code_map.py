"""Write the code map into ARCHITECTURE.md from the packages' own first lines.

``--check`` changes nothing and exits 1 when the page is stale or names a path that is not there.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
SOURCE = ROOT / "src" / "ambient_vcp"
BEGIN, END = "<!-- code map: begin -->", "<!-- code map: end -->"
DEPTH_MAX = 2
PATHS = re.compile(r"`((?:src|tests|docs|tools|examples|benchmarks)/[\w./-]+)`")


def first_line(init: Path) -> str:
    doc = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    return doc.splitlines()[0] if doc else ""


def render() -> str:
    lines = ["```"]
    for init in sorted(SOURCE.rglob("__init__.py")):
        parts = init.parent.relative_to(SOURCE).parts
        if len(parts) > DEPTH_MAX:
            continue
        name = "/".join(parts[-1:]) or "ambient_vcp"
        lines.append(f"{'  ' * len(parts)}{name + '/':<26} {first_line(init)}".rstrip())
    return "\n".join([*lines, "```"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    fresh = f"{before}{BEGIN}\n{render()}\n{END}{after}"
    missing = [path for path in PATHS.findall(page) if not (ROOT / path).exists()]
    for path in missing:
        print(f"ARCHITECTURE.md names {path}, which does not exist")
    if not check:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page:
        print("ARCHITECTURE.md: the code map is stale; run: make pages")
    sys.exit(1 if missing or (check and fresh != page) else 0)


if __name__ == "__main__":
    main()
