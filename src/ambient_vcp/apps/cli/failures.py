"""From any failure to one message on stderr and one exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from enum import IntEnum
from typing import Any

import click

from ambient_vcp.apps.cli.output import SCHEMA_VERSION, State
from ambient_vcp.domain.errors import NotFoundError, VcpError

BAD_ARGUMENT_STATUSES = frozenset({400, 404, 413, 415, 416, 422})


class Exit(IntEnum):
    """The exit codes; docs/reference/cli.md has this table."""

    OK = 0
    FAILED = 1
    CONNECTION = 2
    TIMEOUT = 3
    ARGUMENTS = 4
    BUG = 5
    INTERRUPTED = 130


EXIT_MEANINGS = {
    Exit.OK: "done; for `verify`: every receipt is valid and its signer is trusted",
    Exit.FAILED: "the task failed, the server failed or refused, or a check found something wrong",
    Exit.CONNECTION: "no connection to the control plane, or not logged in",
    Exit.TIMEOUT: "the time given with --timeout is over; the task goes on",
    Exit.ARGUMENTS: "bad arguments, or a request that breaks a rule; nothing was done",
    Exit.BUG: "a bug of this program",
    Exit.INTERRUPTED: "Ctrl-C; a task that was waited for goes on",
}


class CommandFailed(Exception):  # noqa: N818 - the name says what happened
    """A command's own failure, with what to do about it."""

    def __init__(
        self, message: str, *, hint: str = "", code: str = "failed", exit_code: Exit = Exit.FAILED
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.exit_code = exit_code


def report_failure(failure: BaseException, state: State) -> int:
    """Write the message and the hint to stderr; answer the exit code."""
    if isinstance(failure, click.exceptions.Exit):
        return failure.exit_code
    code = exit_code_of(failure)
    fields = describe(failure)
    if code is Exit.BUG:
        traceback.print_exception(failure, file=sys.stderr)
    if state.format in ("json", "jsonl"):
        envelope = {"schema_version": SCHEMA_VERSION, "status": "error", "error": fields}
        print(json.dumps(envelope), file=sys.stderr)
        return code
    print(f"error: {fields['message']} [{fields['code']}]", file=sys.stderr)
    if fields["hint"]:
        print(f"hint:  {fields['hint']}", file=sys.stderr)
    if fields["request_id"]:
        print(f"request id: {fields['request_id']}", file=sys.stderr)
    return code


def exit_code_of(failure: BaseException) -> Exit:
    """The exit code of any failure."""
    if isinstance(failure, CommandFailed):
        return failure.exit_code
    if isinstance(failure, KeyboardInterrupt | click.Abort):
        return Exit.INTERRUPTED
    if isinstance(failure, click.ClickException | VcpError):
        return Exit.ARGUMENTS
    return _exit_code_of_client_error(failure)


def _exit_code_of_client_error(failure: BaseException) -> Exit:
    # Recognised by name: importing the client for its classes would cost every command its time.
    kinds = {kind.__name__ for kind in type(failure).__mro__}
    if kinds & {"ConnectionFailed", "LoginNeeded"} or getattr(failure, "status", 0) == 403:  # noqa: PLR2004 - forbidden
        return Exit.CONNECTION
    if "TimedOut" in kinds:
        return Exit.TIMEOUT
    if "BadRequest" in kinds or getattr(failure, "status", 0) in BAD_ARGUMENT_STATUSES:
        return Exit.ARGUMENTS
    if "ClientError" in kinds:
        return Exit.FAILED
    return Exit.FAILED if isinstance(failure, OSError) else Exit.BUG


def describe(failure: BaseException) -> dict[str, Any]:
    """The failure's fields as they stand in the JSON envelope."""
    fields: dict[str, Any] = {
        "code": getattr(failure, "code", "internal_error"),
        "message": str(failure) or type(failure).__name__,
        "hint": getattr(failure, "hint", ""),
        "retryable": bool(getattr(failure, "retryable", False)),
        "request_id": getattr(failure, "request_id", None),
        "details": getattr(failure, "details", {}),
    }
    if callable(fields["details"]):
        fields["details"] = fields["details"]()
    if isinstance(failure, click.ClickException):
        fields |= {"code": "bad_arguments", "message": failure.format_message()}
        context = getattr(failure, "ctx", None)
        if context is not None:
            fields["hint"] = f"Try `{context.command_path} --help`."
    elif isinstance(failure, KeyboardInterrupt | click.Abort):
        fields |= {"code": "interrupted", "message": "interrupted"}
    elif isinstance(failure, OSError):
        fields |= {"code": "os_error", "message": _os_error_text(failure)}
    elif isinstance(failure, NotFoundError) and failure.kind == "profile":
        fields["hint"] = "List them with `ambient-vcp profile list`, or make one with `up`."
    return fields


def _os_error_text(failure: OSError) -> str:
    what = os.strerror(failure.errno) if failure.errno else str(failure)
    return f"{failure.filename}: {what}" if failure.filename else what
