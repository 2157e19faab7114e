"""Check a receipt offline: recompute everything in it, and say what was found in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ambient_vcp.domain.errors import InvalidInputError, InvalidKeyError, LimitExceededError
from ambient_vcp.domain.ids import PublicKey
from ambient_vcp.domain.receipts.canonical import Json
from ambient_vcp.domain.receipts.checks import RECEIPT_CHECKS, Ed25519Checker, Find
from ambient_vcp.domain.receipts.explain import caveats, guarantees
from ambient_vcp.domain.receipts.receipt import Receipt, receipt_from_dict, receipt_from_json


class ReceiptState(StrEnum):
    """``valid`` is the only good answer.

    ``untrusted_signer``: everything in it is consistent, but nothing says that its signer's word is
    worth anything. ``forged``: something in it is not what was signed, or contradicts itself.
    ``malformed``: not a receipt.
    """

    VALID = "valid"
    UNTRUSTED_SIGNER = "untrusted_signer"
    FORGED = "forged"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    number: int
    name: str
    ok: bool
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The answer. ``guarantees`` is empty unless the receipt is valid."""

    state: ReceiptState
    checks: tuple[Check, ...]
    guarantees: tuple[str, ...]
    caveats: tuple[str, ...]
    receipt: Receipt | None

    @property
    def ok(self) -> bool:
        return self.state is ReceiptState.VALID


def verify_receipt(
    receipt: str | bytes | dict[str, Json],
    *,
    trusted_keys: Mapping[PublicKey, str],
    verifier: Ed25519Checker,
) -> Verification:
    """Check ``receipt``, JSON text or the object in it.

    Args:
        receipt: The receipt. Text is preferred: an object cannot show duplicate keys any more.
        trusted_keys: Control-plane keys, each with the reason why it is trusted.
        verifier: Ed25519; the port ``SignatureVerifier`` fits.

    Never raises for anything in the receipt.
    """
    try:
        parsed = (
            receipt_from_dict(receipt) if isinstance(receipt, dict) else receipt_from_json(receipt)
        )
    except (InvalidInputError, LimitExceededError) as error:
        shape = Check(number=1, name="shape", ok=False, explanation=f"Not a receipt: {error}.")
        return Verification(
            state=ReceiptState.MALFORMED, checks=(shape,), guarantees=(), caveats=(), receipt=None
        )
    checks = [_passed(1, "shape", "Every field of a receipt is there, once, and nothing else.")]
    for check in RECEIPT_CHECKS:
        problems = _run(check.find, parsed, verifier)
        checks.append(
            Check(
                number=len(checks) + 1,
                name=check.name,
                ok=not problems,
                explanation="; ".join(problems) or check.meaning,
            )
        )
    consistent = all(check.ok for check in checks)
    checks.append(_trust_check(len(checks) + 1, parsed, trusted_keys))
    state = ReceiptState.VALID
    if not consistent:
        state = ReceiptState.FORGED
    elif not checks[-1].ok:
        state = ReceiptState.UNTRUSTED_SIGNER
    is_valid = state is ReceiptState.VALID
    return Verification(
        state=state,
        checks=tuple(checks),
        guarantees=guarantees(parsed) if is_valid else (),
        caveats=caveats(parsed) if is_valid else (),
        receipt=parsed,
    )


def _trust_check(number: int, receipt: Receipt, trusted_keys: Mapping[PublicKey, str]) -> Check:
    key = receipt.body.control_plane.public_key
    why = trusted_keys.get(key)
    if why is None:
        known = f"{len(trusted_keys)} known keys" if trusted_keys else "no key is known here"
        return Check(
            number=number,
            name="signer_trusted",
            ok=False,
            explanation=f"The signer's key {key} is not trusted ({known}).",
        )
    return _passed(number, "signer_trusted", f"The signer's key {key} is trusted: {why}.")


def _passed(number: int, name: str, explanation: str) -> Check:
    return Check(number=number, name=name, ok=True, explanation=explanation)


def _run(find: Find, receipt: Receipt, verifier: Ed25519Checker) -> list[str]:
    try:
        return find(receipt, verifier)
    except (InvalidInputError, InvalidKeyError) as error:
        return [str(error)]
