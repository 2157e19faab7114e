"""The program ``python -m ambient_vcp.apps.node``: verbs, exit codes, one place for errors."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum

from ambient_vcp.adapters.control_plane_http import RefusedError
from ambient_vcp.adapters.ed25519 import Ed25519Signer
from ambient_vcp.adapters.system import SystemClock
from ambient_vcp.apps.node.agent import Agent
from ambient_vcp.apps.node.disk.data_dir import DataDir
from ambient_vcp.apps.node.log import EventLog
from ambient_vcp.apps.node.settings import Settings, parse
from ambient_vcp.apps.node.wiring import build, close_parts, joined_state
from ambient_vcp.domain.errors import InvalidInputError, VcpError

HTTP_FORBIDDEN = 403


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    CONNECTION = 2
    ARGUMENTS = 4
    BUG = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code."""
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments)
        if settings.verb == "doctor":
            # Loaded only here: the running agent shall not pay for it.
            from ambient_vcp.apps.node.doctor import doctor  # noqa: PLC0415

            return Exit.OK if asyncio.run(doctor(settings)) else Exit.FAILED
        return asyncio.run(_run(settings))
    except VcpError as error:
        print(f"error: {error}", file=sys.stderr)
        if hint := error.hint or _hint(error):
            print(f"hint: {hint}", file=sys.stderr)
        return _exit_code(error)
    except KeyboardInterrupt:
        return Exit.OK
    except Exception:  # noqa: BLE001 - whatever escapes to here is a bug of ours and says so
        traceback.print_exc()
        print("This is a bug in Ambient VCP. Please report the lines above.", file=sys.stderr)
        return Exit.BUG


async def _run(settings: Settings) -> int:
    log = EventLog(SystemClock(), as_json=settings.log_json)
    data_dir = DataDir(settings.data_dir)
    data_dir.prepare()
    data_dir.lock()
    data_dir.clear_work()
    signer = Ed25519Signer.load_or_create(data_dir.key)
    node = joined_state(settings, data_dir, signer.public_key)
    parts = await build(settings, data_dir, node, signer, log)
    try:
        await Agent(parts).run(settings.code, joining=settings.verb == "join")
    except* VcpError as group:
        raise group.exceptions[0] from None
    finally:
        await close_parts(parts)
        data_dir.unlock()
    return Exit.OK


def _hint(error: VcpError) -> str:
    """For refusals that come without advice."""
    if isinstance(error, RefusedError) and error.status == HTTP_FORBIDDEN:
        return "Make a code with `ambient-vcp node invite` and join with --code CODE."
    return ""


def _exit_code(error: VcpError) -> Exit:
    if isinstance(error, InvalidInputError) or error.code in {
        "data_dir_unusable",
        "key_file_unusable",
    }:
        return Exit.ARGUMENTS
    return Exit.CONNECTION
