"""The official WebAssembly suite through the cell's checks, engine settings and limits.

Every script of the folder is run; ``WASM_SPEC_FOLDER`` names another. Zero failures are allowed;
what needs a proposal that is switched off, or imports the suite's own host module, must be refused.
"""

import os
from pathlib import Path

import pytest

from support.spec_script import run_script

FOLDER = Path(
    os.environ.get("WASM_SPEC_FOLDER")
    or Path(__file__).parents[2].parent / "shared" / "vectors" / "wasm-spec"
)
SCRIPTS = sorted(FOLDER.glob("**/*.wast"))


@pytest.mark.skipif(not SCRIPTS, reason=f"no scripts of the WebAssembly suite in {FOLDER}")
def test_every_script_gives_what_the_standard_says():
    passed = refused = 0
    failures, why = [], {}
    for path in SCRIPTS:
        tally = run_script(path.read_bytes())
        print(f"{path.name}: {tally.passed} passed, {tally.refused} refused")
        passed, refused = passed + tally.passed, refused + tally.refused
        failures += [f"{path.name} {failure}" for failure in tally.failures]
        for reason, count in tally.why.items():
            why[reason] = why.get(reason, 0) + count
    print(f"{len(SCRIPTS)} scripts: {passed} passed, {refused} refused, {len(failures)} failed")
    for reason, count in sorted(why.items(), key=lambda item: -item[1]):
        print(f"  refused {count}: {reason}")
    assert not failures, "\n".join(failures[:50])
    assert passed > 1000
