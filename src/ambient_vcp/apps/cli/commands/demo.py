"""`ambient-vcp demo`: the whole system on real work, every claim checked."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import click

import ambient_vcp
from ambient_vcp.apps.cli.failures import CommandFailed, Exit

OUTPUT_DIR = "demo-out"


@click.command()
@click.option("--report", "report_file", metavar="FILE", help="Write everything as JSON.")
@click.option("--output-dir", default=OUTPUT_DIR, show_default=True, help="Picture and receipts.")
@click.option("--examples", metavar="DIR", help="The examples folder. [the source tree's]")
@click.option("--keep", is_flag=True, help="Keep the control plane's and the nodes' data.")
def command(report_file: str | None, output_dir: str, examples: str | None, keep: bool) -> int:
    """Start a control plane and three nodes, give them real work, and check every claim.

    Three honest tasks, a liar among the nodes, a node killed while it works, guests that misbehave;
    then every receipt is verified by other processes. Exit code 0 only if all is as it should be.
    """
    source = _examples(examples)
    output = Path(output_dir).absolute()
    shutil.rmtree(output / "receipts", ignore_errors=True)
    (output / "receipts").mkdir(parents=True)
    folder = Path(tempfile.mkdtemp(prefix="ambient-vcp-demo-"))
    # The demonstration's profile and receipts must not mix with the user's own.
    os.environ["AMBIENT_VCP_HOME"] = str(folder / "home")  # noqa: TID251 - for our own children
    for name in ("ENDPOINT", "TOKEN", "PROFILE"):
        os.environ.pop(f"AMBIENT_VCP_{name}", None)  # noqa: TID251 - the same
    try:
        from ambient_vcp.apps.cli.demo.play import play  # noqa: PLC0415 - not for --help

        return play(folder, source, output, Path(report_file) if report_file else None)
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _examples(given: str | None) -> Path:
    folder = Path(given) if given else Path(ambient_vcp.__file__).resolve().parents[2] / "examples"
    if not (folder / "hello" / "hello.wasm").is_file():
        raise CommandFailed(
            f"the examples are not in {folder}",
            hint="Run it from a source tree after `make setup`, or give --examples DIR.",
            code="no_examples",
            exit_code=Exit.ARGUMENTS,
        )
    return folder.resolve()
