"""`ambient-vcp doctor`: is this machine fit, and is the connection?"""

from __future__ import annotations

import platform
import stat
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ambient_vcp.apps.cli.connection import chosen_profile, environment, open_client
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.output import Output, output_options
from ambient_vcp.apps.cli.self_test import (
    disk_has_room,
    look,
    sandbox_works,
    show_findings,
    unchecked,
)

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

PYTHON_MIN = (3, 11)
DISK_BYTES_MIN = 1024**3
SKEW_MAX_S = 30.0


@click.command()
@output_options
def command(*, out: Output) -> int:
    """Check Python, disk, files, the sandbox, the connection, the login and the clock."""
    findings = [
        look("python", _python),
        look("disk", lambda: disk_has_room(environment().data_dir, DISK_BYTES_MIN)),
        look("profile files", _profile_files),
        look("sandbox", sandbox_works),
    ]
    if chosen_profile(out) is None and environment().endpoint is None:
        findings.append(unchecked("control plane", "no profile yet; `ambient-vcp up` makes one"))
        return Exit.OK if show_findings(findings, out) else Exit.FAILED
    with open_client(out) as client:
        answer: dict[str, Any] = {}
        findings.append(look("control plane", lambda: _reach(client, answer)))
        if findings[-1].ok:
            findings.append(look("clock", lambda: _clock(answer)))
            findings.append(look("login", lambda: f"as {client.whoami().get('username')}"))
    return Exit.OK if show_findings(findings, out) else Exit.FAILED


def _python() -> str:
    if sys.version_info < PYTHON_MIN:
        raise CommandFailed(f"{platform.python_version()} is too old", code="too_old")
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _profile_files() -> str:
    folder = environment().profiles_dir
    open_to_others = [
        path.name
        for path in folder.glob("*.json")
        if stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if open_to_others:
        raise CommandFailed(
            f"others can read {', '.join(open_to_others)}",
            hint=f"chmod 600 {folder}/*.json",
            code="open_files",
        )
    return f"{len(list(folder.glob('*.json')))} in {folder}, readable by you only"


def _reach(client: Client, answer: dict[str, Any]) -> str:
    answer.update(client.health())
    return f"{client.session.endpoint} is {answer.get('status')}"


def _clock(answer: dict[str, Any]) -> str:
    theirs = datetime.fromisoformat(str(answer["timestamp"])).timestamp()
    skew_s = time.time_ns() / 1e9 - theirs
    text = f"{abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} the control plane's"
    if abs(skew_s) > SKEW_MAX_S:
        raise CommandFailed(text, hint="Set this machine's clock, or the other's.", code="clock")
    return text
