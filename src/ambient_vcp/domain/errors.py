"""Every expected failure is a class here, with a stable code, fields and a hint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Self


# Not frozen: contextlib assigns __traceback__ while an exception passes through it.
@dataclass(eq=False)
class VcpError(Exception):
    """Base of every expected failure. Any other exception that escapes is a bug.

    ``code`` is stable and machine-readable, ``http_status`` is how the API answers it, ``hint``
    tells a person what to do next, ``retryable`` says whether the same request may succeed later.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    @property
    def hint(self) -> str:
        return ""

    def details(self) -> dict[str, Any]:
        """The error's fields, for machines."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        return partial(type(self), **self.details()), ()


@dataclass(eq=False, kw_only=True)
class InvalidInputError(VcpError):
    """A value from outside breaks a rule. ``where`` names the field, ``rule`` what is allowed."""

    code: ClassVar[str] = "bad_request"
    http_status: ClassVar[int] = 400
    where: str
    rule: str
    got: str = ""
    advice: str = ""

    def __str__(self) -> str:
        got = f", got {self.got}" if self.got else ""
        return f"{self.where}: {self.rule}{got}"

    @property
    def hint(self) -> str:
        return self.advice or f"Correct {self.where} and try again."


@dataclass(eq=False, kw_only=True)
class LimitExceededError(VcpError):
    code: ClassVar[str] = "limit_exceeded"
    http_status: ClassVar[int] = 400
    limit: str
    maximum: int
    got: int

    def __str__(self) -> str:
        return f"{self.limit} is at most {self.maximum}, got {self.got}"

    @property
    def hint(self) -> str:
        return f"Lower it to {self.maximum} or less."


@dataclass(eq=False, kw_only=True)
class NotFoundError(VcpError):
    """The thing does not exist, or is not yours: the same answer on purpose."""

    code: ClassVar[str] = "not_found"
    http_status: ClassVar[int] = 404
    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id} was not found"

    @property
    def hint(self) -> str:
        return "Check the id, and that you are logged in as its owner."


@dataclass(eq=False, kw_only=True)
class ConflictError(VcpError):
    code: ClassVar[str] = "conflict"
    http_status: ClassVar[int] = 409
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return self.what

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False, kw_only=True)
class IllegalTransitionError(VcpError):
    code: ClassVar[str] = "illegal_transition"
    http_status: ClassVar[int] = 409
    machine: str
    state: str
    event: str

    def __str__(self) -> str:
        return f"a {self.machine} that is {self.state} cannot take the event {self.event}"


@dataclass(eq=False, kw_only=True)
class StaleLeaseError(VcpError):
    """A write under a lease that is no longer the live one."""

    code: ClassVar[str] = "stale_lease"
    http_status: ClassVar[int] = 409
    task_id: str
    slot: int
    epoch: int

    def __str__(self) -> str:
        return f"lease epoch {self.epoch} of slot {self.slot} of task {self.task_id} is not live"

    @property
    def hint(self) -> str:
        return "The work was given to somebody else. Drop it; a late result is kept as a vote."


@dataclass(eq=False, kw_only=True)
class UnauthorizedError(VcpError):
    code: ClassVar[str] = "unauthorized"
    http_status: ClassVar[int] = 401
    reason: str = "a valid access token is needed"

    def __str__(self) -> str:
        return self.reason

    @property
    def hint(self) -> str:
        return "Log in again, or check the token of your profile."


@dataclass(eq=False, kw_only=True)
class ForbiddenError(VcpError):
    code: ClassVar[str] = "forbidden"
    http_status: ClassVar[int] = 403
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class ValidationFailedError(VcpError):
    """A field of an account request breaks its rule (the reference answers these with 422)."""

    code: ClassVar[str] = "validation_error"
    http_status: ClassVar[int] = 422
    where: str
    rule: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}"

    @property
    def hint(self) -> str:
        return f"Correct {self.where} and try again."


@dataclass(eq=False, kw_only=True)
class IdempotencyMismatchError(VcpError):
    code: ClassVar[str] = "idempotency_key_reused"
    http_status: ClassVar[int] = 422
    key: str

    def __str__(self) -> str:
        return f"the idempotency key {self.key} was used with another body"

    @property
    def hint(self) -> str:
        return "Use a new key for a new request, and the same key only to repeat the same one."


@dataclass(eq=False, kw_only=True)
class InvalidKeyError(VcpError):
    """A public key or signature that no honest signer produces."""

    code: ClassVar[str] = "invalid_key"
    http_status: ClassVar[int] = 400
    reason: str

    def __str__(self) -> str:
        return f"the public key is refused: {self.reason}"


@dataclass(eq=False, kw_only=True)
class ClassUnavailableError(VcpError):
    code: ClassVar[str] = "assurance_class_unavailable"
    http_status: ClassVar[int] = 400
    assurance_class: str

    def __str__(self) -> str:
        return f"assurance class {self.assurance_class} is not offered by this control plane"

    @property
    def hint(self) -> str:
        return "Ask for signed or quorum."


@dataclass(eq=False, kw_only=True)
class UnavailableError(VcpError):
    """We cannot answer now; nothing was changed."""

    code: ClassVar[str] = "service_unavailable"
    http_status: ClassVar[int] = 503
    retryable: ClassVar[bool] = True
    reason: str

    def __str__(self) -> str:
        return self.reason

    @property
    def hint(self) -> str:
        return "Try again in a moment with the same idempotency key."
