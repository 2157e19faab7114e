"""`ambient-vcp health`: checks every part of the chosen control plane for real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ambient_vcp.apps.cli.connection import chosen_profile, open_client
from ambient_vcp.apps.cli.failures import CommandFailed, Exit
from ambient_vcp.apps.cli.output import Output, output_options
from ambient_vcp.apps.cli.self_test import Finding, look, sandbox_works, show_findings, unchecked

if TYPE_CHECKING:
    from ambient_vcp.sdk.client import Client

PARTS = ("database", "blobs", "scheduler", "sweeper", "sealer")


@click.command()
@output_options
def command(*, out: Output) -> int:
    """Check the control plane, its parts, its log's signature, the nodes, and the sandbox here.

    A part gets its tick only when it was looked at just now.
    """
    pinned = (profile := chosen_profile(out)) and profile.public_key
    with open_client(out) as client:
        findings = check_control_plane(client, pinned or "")
    findings.append(look("sandbox here", sandbox_works))
    # A part that nobody could look at has no tick, so the whole has none either.
    good = show_findings(findings, out) and all(finding.ok for finding in findings)
    unreachable = findings[0].ok is False
    return Exit.CONNECTION if unreachable else Exit.OK if good else Exit.FAILED


def check_control_plane(client: Client, pinned: str) -> list[Finding]:
    """The control plane's answer, its own parts, the log's signature and the nodes."""
    answer: dict[str, object] = {}

    def reach() -> str:
        answer.update(client.health())
        if answer.get("status") != "healthy":
            raise CommandFailed(f"it says that it is {answer.get('status')}", code="degraded")
        return f"{client.session.endpoint}, version {answer.get('version')}"

    findings = [look("control plane", reach)]
    checks = answer.get("checks")
    for part in PARTS:
        if isinstance(checks, dict) and part in checks:
            findings.append(_what_it_says(part, checks[part]))
        else:
            findings.append(unchecked(part, "the control plane said nothing about it"))
    if not answer:
        rest = ("log signature", "login", "nodes")
        return [*findings, *(unchecked(part, "there is no connection") for part in rest)]
    findings.append(look("log signature", lambda: _log_is_signed(client, pinned)))
    findings.append(look("login", lambda: f"as {client.whoami().get('username')}"))
    findings.append(look("nodes", lambda: _nodes_serve(client)))
    return findings


def _what_it_says(part: str, said: Any) -> Finding:
    status = str(said.get("status") if isinstance(said, dict) else said)
    detail = str(said.get("detail") or "") if isinstance(said, dict) else ""
    seen = f"the control plane says {status}" + (f": {detail}" if detail else "")
    return Finding(part=part, ok=status == "ok", seen=seen)


def _log_is_signed(client: Client, pinned: str) -> str:
    from ambient_vcp.adapters.ed25519.verifier import Ed25519Verifier  # noqa: PLC0415 - slow
    from ambient_vcp.domain.ids import PublicKey  # noqa: PLC0415 - with it
    from ambient_vcp.domain.log.checkpoint import log_origin, open_checkpoint  # noqa: PLC0415

    about = client.control_plane()
    key = pinned or about["public_key"]
    if pinned and about["public_key"] != pinned:
        raise CommandFailed(
            f"it shows key {about['public_key']}, the profile trusts {pinned}",
            hint="If that is expected, log in again with --trust-new-key.",
            code="untrusted_signer",
        )
    head = open_checkpoint(
        client.checkpoint()["checkpoint"],
        origin=log_origin(about["control_plane_id"]),
        public_key=PublicKey(key),
        checker=Ed25519Verifier(),
    )
    if head is None:
        raise CommandFailed("the newest checkpoint is not signed by its key", code="forged")
    whose = "the pinned key" if pinned else "the key it shows (none is pinned)"
    return f"the checkpoint over {head.size} entries is signed by {whose}"


def _nodes_serve(client: Client) -> str:
    nodes = list(client.nodes())
    online = sum(node.status == "online" for node in nodes)
    if not online:
        raise CommandFailed(
            f"{online} of {len(nodes)} online",
            hint="Lend a machine: `ambient-vcp node join`, or see `node list`.",
            code="no_nodes",
        )
    return f"{online} of {len(nodes)} online"
