"""Take in tasks: store them with their slots, link their blobs, leave a trace."""

from __future__ import annotations

from collections.abc import Sequence

from ambient_vcp.domain.errors import InvalidInputError, NotFoundError
from ambient_vcp.domain.ids import AccountId, Digest, TaskId
from ambient_vcp.domain.tasks.spec import InputRef, NewTask, TaskSpec
from ambient_vcp.ports.entropy import Entropy, random_uuids
from ambient_vcp.ports.store import Transaction
from ambient_vcp.services.record import audit

BULK_MAX = 1_000


def submit_tasks(
    tx: Transaction,
    *,
    account_id: AccountId,
    specs: Sequence[TaskSpec],
    independence_waived: bool,
    entropy: Entropy,
) -> list[TaskId]:
    """Store tasks, all or none, and answer their ids in order.

    Every blob that a spec names must be readable by the account.

    Raises:
        InvalidInputError: no task, or more than ``BULK_MAX``.
        NotFoundError: a named blob is not the account's.
    """
    if not 1 <= len(specs) <= BULK_MAX:
        raise InvalidInputError(
            where="tasks", rule=f"has 1 to {BULK_MAX} entries", got=str(len(specs))
        )
    _check_blobs(tx, account_id, specs)
    tasks = [
        NewTask(id=TaskId(task_id), account_id=account_id, spec=spec)
        for task_id, spec in zip(random_uuids(entropy, len(specs)), specs, strict=True)
    ]
    tx.tasks.insert(tasks, independence_waived=independence_waived)
    tx.blobs.link_tasks(
        (task.id, ref.digest, ref.size_bytes) for task in tasks for ref in _blob_refs(task.spec)
    )
    for task in tasks:
        audit.task_event(tx, "task.submitted", account_id=account_id, task_id=task.id)
    audit.record(
        tx,
        "tasks.submitted",
        actor=account_id,
        subject=tasks[0].id if len(tasks) == 1 else f"{len(tasks)} tasks",
        fields={"task_ids": ",".join(task.id for task in tasks)},
    )
    return [task.id for task in tasks]


def _blob_refs(spec: TaskSpec) -> list[InputRef]:
    refs = (spec.module, spec.public_input, spec.private_input)
    return [ref for ref in refs if ref is not None and ref.inline is None]


def _check_blobs(tx: Transaction, account_id: AccountId, specs: Sequence[TaskSpec]) -> None:
    checked: set[Digest] = set()
    for spec in specs:
        for ref in _blob_refs(spec):
            # The catalogue's modules belong to nobody and are stored by the control plane itself.
            if ref.digest in checked or (ref is spec.module and spec.program):
                continue
            if tx.blobs.size_for(ref.digest, account_id) is None:
                raise NotFoundError(kind="blob", id=ref.digest)
            checked.add(ref.digest)
