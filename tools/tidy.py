"""Style that no linter knows: size budgets, one-line package docstrings, no stray words.

Prints each breach and exits 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
MODULES_PER_PACKAGE_MAX = 16
FORBIDDEN_WORDS = re.compile(r"/work/|\.library/|pypi\.org|files\.pythonhosted|registry\.npmjs")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".c", ".h", ".rs", ".json", ".yml"}


def python_files() -> Iterator[Path]:
    for folder in ("src", "tests", "tools", "benchmarks"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def module_breaches(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    lines_max = TEST_LINES_MAX if path.is_relative_to(ROOT / "tests") else MODULE_LINES_MAX
    if lines > lines_max:
        yield f"{lines} lines, at most {lines_max}: split the idea"
    tree = ast.parse(text)
    if path.is_relative_to(ROOT / "src") and ast.get_docstring(tree) is None:
        yield "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                yield f"{node.name} has {size} lines, at most {FUNCTION_LINES_MAX}"


def package_breaches() -> Iterator[str]:
    for init in sorted((ROOT / "src").rglob("__init__.py")):
        modules = [p for p in init.parent.glob("*.py") if p.name != "__init__.py"]
        if len(modules) > MODULES_PER_PACKAGE_MAX:
            name = init.parent.relative_to(ROOT)
            yield f"{name}: {len(modules)} modules, at most {MODULES_PER_PACKAGE_MAX}"


def word_breaches() -> Iterator[str]:
    # What git ignores is not ours to judge.
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for path in sorted(ROOT / name for name in listed.stdout.split("\0") if name):
        if path.suffix not in TEXT_SUFFIXES or not path.is_file():
            continue
        if path == Path(__file__).resolve():
            continue
        found = FORBIDDEN_WORDS.search(path.read_text(encoding="utf-8", errors="replace"))
        if found:
            yield f"{path.relative_to(ROOT)}: names {found.group()!r}"


def main() -> None:
    breaches = [
        f"{path.relative_to(ROOT)}: {breach}"
        for path in python_files()
        for breach in module_breaches(path)
    ]
    breaches += [*package_breaches(), *word_breaches()]
    for breach in breaches:
        print(breach)
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
