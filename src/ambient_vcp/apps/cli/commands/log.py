"""`ambient-vcp log`: check a whole transparency log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier
from ambient_vcp.adapters.profiles.store import write_private
from ambient_vcp.apps.cli.connection import chosen_profile, client_for, environment
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.output import Output, note, output_options
from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.log.checkpoint import log_origin, parse_checkpoint
from ambient_vcp.domain.log.verify import LogReport, verify_log

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

CHECKPOINTS_KEPT_MAX = 1000


@click.group()
def command() -> None:
    """The transparency log: every receipt and every audit record is a leaf of it."""


@command.command()
@click.argument("file", required=False)
@click.option("--from-url", metavar="URL", help="Control plane; default: the profile's.")
@click.option("--key", metavar="HEX", help="The log's key; default: the one the profile pinned.")
@click.option("--id", "control_plane_id", metavar="ID", help="The control plane's id, for FILE.")
@click.option("--save", metavar="FILE", help="Save what was downloaded, to check it again offline.")
@output_options
def verify(
    file: str | None,
    from_url: str | None,
    key: str | None,
    control_plane_id: str | None,
    save: str | None,
    *,
    out: Output,
) -> int:
    """Recompute the whole log and compare it with every checkpoint seen for it.

    Checkpoints seen before are kept on this machine: a log that forgets or rewrites what it once
    showed here is found out, even if it is consistent with itself today. FILE is what --save wrote.
    """
    profile = None if from_url else chosen_profile(out)
    if file is not None:
        saved = _read_saved(Path(file))
        identity = control_plane_id or str(saved["control_plane_id"])
        public_key = key or (profile.public_key if profile else "")
        leaves: Iterator[bytes] = (base64.b64decode(leaf) for leaf in saved["leaves"])
        report = _check(
            leaves, [str(note_) for note_ in saved["checkpoints"]], identity, public_key
        )
    else:
        with client_for(endpoint=from_url, profile=out.state.profile) as client:
            identity = str(client.control_plane()["control_plane_id"])
            pinned = profile.public_key if profile else ""
            report = _check_online(client, identity, key or pinned, save)
    data = {
        "control_plane_id": identity,
        "ok": report.ok,
        "size": report.size,
        "root": report.root.hex(),
        "checkpoints": report.checkpoints,
        "attested_size": report.attested_size,
        "findings": list(report.findings),
    }
    lines: list[tuple[str, Any]] = [
        ("log", log_origin(identity)),
        ("entries", report.size),
        ("root", report.root.hex()),
        ("checkpoints", f"{report.checkpoints} checked, the newest over {report.attested_size}"),
        ("verdict", "CONSISTENT" if report.ok else "REFUSED"),
    ]
    lines += [("finding", finding) for finding in report.findings]
    out.one(data, "control_plane_id", lines)
    return Exit.OK if report.ok else Exit.FAILED


def _check_online(client: Client, identity: str, public_key: str, save: str | None) -> LogReport:
    newest = client.checkpoint()
    seen = _seen(identity, public_key)
    notes = _kept(seen)
    if not notes or notes[-1] != newest["checkpoint"]:
        notes.append(str(newest["checkpoint"]))
    size = max(int(newest["size"]), *(_size_of(text) for text in notes))
    kept_leaves: list[str] = []

    def download() -> Iterator[bytes]:
        for index, leaf in enumerate(client.leaves(start=0, stop=size)):
            if leaf["index"] != index:
                raise CommandFailed(
                    f"the log's leaf {index} came as number {leaf['index']}", code="log_disordered"
                )
            if save is not None:
                kept_leaves.append(leaf["data_b64"])
            yield base64.b64decode(leaf["data_b64"], validate=True)

    report = _check(download(), notes, identity, public_key)
    if report.ok:
        body = json.dumps(notes[-CHECKPOINTS_KEPT_MAX:]).encode()
        write_private(seen, body)
    if save is not None:
        saved = {"control_plane_id": identity, "checkpoints": notes, "leaves": kept_leaves}
        Path(save).write_text(json.dumps(saved))
    return report


def _check(leaves: Iterator[bytes], notes: list[str], identity: str, public_key: str) -> LogReport:
    if not public_key:
        raise CommandFailed(
            "no key of this log is trusted here",
            hint="Log in to pin the control plane's key, or give it with --key HEX.",
            code="untrusted_signer",
        )
    verifier = Ed25519Verifier()
    return verify_log(
        leaves,
        notes,
        origin=log_origin(identity),
        public_key=PublicKey(verifier.check_public_key(public_key)),
        checker=verifier,
    )


def _size_of(text: str) -> int:
    try:
        return parse_checkpoint(text).size
    except InvalidInputError:
        return 0


def _seen(identity: str, public_key: str) -> Path:
    name = "".join(c for c in f"{identity}-{public_key[:16]}" if c.isalnum() or c in "-_")
    return environment().data_dir / "checkpoints" / f"{name}.json"


def _kept(path: Path) -> list[str]:
    try:
        return [str(text) for text in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except ValueError:
        note(f"{path} is damaged and is left out")
        return []


def _read_saved(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text())
        assert {"control_plane_id", "checkpoints", "leaves"} <= set(saved)
    except (ValueError, AssertionError, TypeError):
        raise CommandFailed(
            f"{path} is not what `log verify --save` writes",
            code="bad_request",
            exit_code=Exit.ARGUMENTS,
        ) from None
    return dict(saved)
