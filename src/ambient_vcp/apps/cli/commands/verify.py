"""`ambient-vcp verify`: check receipts offline; imports nothing that opens connections."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier
from ambient_vcp.apps.cli.connection import profiles
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.output import Output, note, output_options, printable
from ambient_vcp.apps.cli.receipts import kept_receipt
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.receipts.receipt import Receipt
from ambient_vcp.domain.receipts.verify import ReceiptState, Verification, verify_receipt

RECEIPT_BYTES_MAX = 4 * 1024 * 1024
VERDICTS = {
    ReceiptState.VALID: "VALID: everything holds, and the signer is trusted",
    ReceiptState.UNTRUSTED_SIGNER: "NOT TRUSTED: consistent, but the signer is unknown here",
    ReceiptState.FORGED: "REFUSED: this is not what was signed, or it contradicts itself",
    ReceiptState.MALFORMED: "REFUSED: this is not a receipt",
}


@click.command()
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.option("--key", "keys", multiple=True, metavar="HEX", help="Trust this key too; repeat.")
@output_options
def command(receipts: tuple[str, ...], keys: tuple[str, ...], *, out: Output) -> int:
    """Check receipts offline: each a FILE, the id of one kept on this machine, or - for stdin.

    Trusted are the control-plane keys that your profiles pinned, and those given with --key.
    Exit code 0 only if every receipt is valid and its signer is trusted.
    """
    trusted = trusted_keys(keys, out.state.profile)
    verifier = Ed25519Verifier()
    answers: list[dict[str, Any]] = []
    for name in receipts:
        found = verify_receipt(read_receipt(name), trusted_keys=trusted, verifier=verifier)
        answers.append(_as_json(name, found))
        if out.state.format == "table":
            if len(answers) > 1:
                click.echo("")
            _print(name, found)
    if out.state.format != "table":
        out.items(answers, [], "receipt_id")
    return Exit.OK if all(answer["ok"] for answer in answers) else Exit.FAILED


def trusted_keys(given: tuple[str, ...], profile: str | None) -> dict[PublicKey, str]:
    """Each trusted key with the reason why; a named profile limits them to that profile's.

    Raises:
        InvalidKeyError: a given key is not one that an honest signer could have.
    """
    store = profiles()
    found: dict[PublicKey, str] = {}
    for name in [profile] if profile else store.names():
        try:
            pinned = store.load(name)
        except InvalidInputError as error:
            note(f"profile {name} is left out: {error}")
            continue
        if pinned.public_key:
            why = f"profile {pinned.name} pinned it for {pinned.endpoint}"
            found[PublicKey(pinned.public_key)] = why
    checker = Ed25519Verifier()
    for key in given:
        found[checker.check_public_key(key.lower())] = "given with --key"
    return found


def read_receipt(name: str) -> bytes:
    """The bytes of a receipt: from stdin, from a file, or kept under this id.

    Raises:
        CommandFailed: there is no such file or id.
    """
    if name == "-":
        return sys.stdin.buffer.read(RECEIPT_BYTES_MAX + 1)
    path = Path(name)
    if not path.is_file() and path.name == name:
        path = kept_receipt(name)
    try:
        with path.open("rb") as file:
            return file.read(RECEIPT_BYTES_MAX + 1)
    except FileNotFoundError:
        raise CommandFailed(
            f"{name} is neither a file nor the id of a receipt kept here",
            hint=f"Fetch it first: ambient-vcp task get {name}",
            code="not_found",
            exit_code=Exit.ARGUMENTS,
        ) from None


def _print(name: str, found: Verification) -> None:
    click.echo(f"receipt {printable(name)}")
    for check in found.checks:
        mark = "ok  " if check.ok else "FAIL"
        click.echo(f"  {check.number:2}. {mark}  {check.name}: {printable(check.explanation)}")
    click.echo(VERDICTS[found.state])
    for title, sentences in (
        ("Guaranteed:", found.guarantees),
        ("Not guaranteed:", found.caveats),
    ):
        if sentences:
            click.echo(title)
            for sentence in sentences:
                click.echo(f"  - {printable(sentence)}")
    if found.state is ReceiptState.UNTRUSTED_SIGNER and found.receipt is not None:
        key = found.receipt.body.control_plane.public_key
        note("hint:  If you have this key from a source that you trust, for example from the")
        note(f"       control plane's operator, add: --key {key}")


def _as_json(name: str, found: Verification) -> dict[str, Any]:
    return {
        "receipt": name,
        "receipt_id": _receipt_id(found.receipt),
        "ok": found.ok,
        "state": found.state.value,
        "checks": [
            {
                "number": check.number,
                "name": check.name,
                "ok": check.ok,
                "explanation": check.explanation,
            }
            for check in found.checks
        ],
        "guarantees": list(found.guarantees),
        "caveats": list(found.caveats),
        "achieved_class": _achieved_class(found.receipt),
        "signer": found.receipt.body.control_plane.public_key if found.receipt else None,
    }


def _receipt_id(receipt: Receipt | None) -> str | None:
    return receipt.body.receipt_id if receipt else None


def _achieved_class(receipt: Receipt | None) -> str | None:
    return receipt.body.verification.achieved_class.value if receipt else None
