"""Recompute a whole log and compare it with every checkpoint that was ever signed for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.log.checkpoint import Checkpoint, open_checkpoint
from ambient_vcp.domain.log.merkle import Frontier, leaf_hash
from ambient_vcp.domain.log.note import SignatureChecker

FINDINGS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What was found. ``attested_size`` is how many leaves a good checkpoint vouches for."""

    size: int
    root: bytes
    checkpoints: int
    attested_size: int
    findings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.findings


def verify_log(
    leaves: Iterable[bytes],
    checkpoints: Sequence[str],
    *,
    origin: str,
    public_key: PublicKey,
    checker: SignatureChecker,
) -> LogReport:
    """Rebuild the tree from ``leaves`` (their data, in order) and say what is wrong, if anything.

    ``checkpoints`` are signed notes in the order in which they were issued. A change before the
    last good checkpoint cannot stay unseen; leaves after it are vouched for by nobody. At most
    ``FINDINGS_MAX`` findings are reported. Memory does not grow with the number of leaves.
    """
    findings: list[str] = []
    heads = _open_all(checkpoints, origin, public_key, checker, findings)
    _find_going_back(heads, findings)
    waiting = sorted(heads, key=lambda head: head[1].size, reverse=True)
    frontier, attested = Frontier(), 0

    def compare() -> None:
        nonlocal attested
        while waiting and waiting[-1][1].size == frontier.size:
            number, head = waiting.pop()
            if head.root == frontier.root():
                attested = frontier.size
            else:
                findings.append(
                    f"checkpoint {number} states another root for the first {head.size} leaves: "
                    "a leaf before it was changed, removed, added or moved"
                )

    compare()
    for data in leaves:
        frontier, _ = frontier.append(leaf_hash(data))
        compare()
    findings += [
        f"checkpoint {number} vouches for {head.size} leaves, but the log has {frontier.size}: "
        "its end was cut off"
        for number, head in reversed(waiting)
    ]
    return LogReport(
        size=frontier.size,
        root=frontier.root(),
        checkpoints=len(checkpoints),
        attested_size=attested,
        findings=tuple(findings[:FINDINGS_MAX]),
    )


def _open_all(
    notes: Sequence[str],
    origin: str,
    public_key: PublicKey,
    checker: SignatureChecker,
    findings: list[str],
) -> list[tuple[int, Checkpoint]]:
    heads: list[tuple[int, Checkpoint]] = []
    for number, note in enumerate(notes):
        try:
            head = open_checkpoint(note, origin=origin, public_key=public_key, checker=checker)
        except InvalidInputError as error:
            findings.append(f"checkpoint {number} cannot be read: {error}")
            continue
        if head is None:
            findings.append(f"checkpoint {number} is not signed by the key of log {origin}")
        else:
            heads.append((number, head))
    return heads


def _find_going_back(heads: Sequence[tuple[int, Checkpoint]], findings: list[str]) -> None:
    for (_, earlier), (number, later) in pairwise(heads):
        if later.size < earlier.size:
            findings.append(
                f"checkpoint {number} goes back from {earlier.size} to {later.size} leaves"
            )
