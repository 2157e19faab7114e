"""`Client` and `AsyncClient`: the same operations, bound to one of the two drivers.

Both classes are tables of bindings; what an operation does is written once, in the modules beside.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from ambient_vcp.sdk import cluster, events, session, tasks, uploads
from ambient_vcp.sdk.connect import new_session
from ambient_vcp.sdk.drivers import AsyncDriver, BlockingDriver
from ambient_vcp.sdk.effects import Operation
from ambient_vcp.sdk.results import Event, NodeInfo, TaskInfo
from ambient_vcp.sdk.session import Session

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


def _dress(method: Any, operation: Callable[..., Any]) -> None:
    """Show the operation's name, text and arguments, with `self` in place of the session."""
    functools.update_wrapper(method, operation)
    del method.__wrapped__
    signature = inspect.signature(operation)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [own, *list(signature.parameters.values())[1:]]
    method.__signature__ = signature.replace(parameters=parameters)


def _blocking(
    operation: Callable[Concatenate[Session, P], Operation[T]],
) -> Callable[Concatenate[Client, P], T]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.driver.run(operation(self.session, *args, **kwargs))

    _dress(method, operation)
    return method


def _awaiting(
    operation: Callable[Concatenate[Session, P], Operation[T]],
) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self.driver.run(operation(self.session, *args, **kwargs))

    _dress(method, operation)
    return method


def _iterating(
    operation: Callable[Concatenate[Session, P], Operation[None]], _item: type[Item]
) -> Callable[Concatenate[Client, P], Iterator[Item]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        return self.driver.iterate(operation(self.session, *args, **kwargs))

    _dress(method, operation)
    return method


def _async_iterating(
    operation: Callable[Concatenate[Session, P], Operation[None]], _item: type[Item]
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[Item]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return self.driver.iterate(operation(self.session, *args, **kwargs))

    _dress(method, operation)
    return method


def _submitting(
    operation: Callable[Concatenate[Session, P], Operation[str]],
) -> Callable[Concatenate[Client, P], TaskHandle]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle:
        return TaskHandle(self, self.driver.run(operation(self.session, *args, **kwargs)))

    _dress(method, operation)
    return method


def _async_submitting(
    operation: Callable[Concatenate[Session, P], Operation[str]],
) -> Callable[Concatenate[AsyncClient, P], Awaitable[AsyncTaskHandle]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncTaskHandle:
        task_id = await self.driver.run(operation(self.session, *args, **kwargs))
        return AsyncTaskHandle(self, task_id)

    _dress(method, operation)
    return method


def _of_task(
    operation: Callable[Concatenate[Session, str, P], Operation[T]],
) -> Callable[Concatenate[TaskHandle, P], T]:
    def method(self: TaskHandle, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.client.driver.run(operation(self.client.session, self.id, *args, **kwargs))

    functools.update_wrapper(method, operation)
    return method


def _of_task_async(
    operation: Callable[Concatenate[Session, str, P], Operation[T]],
) -> Callable[Concatenate[AsyncTaskHandle, P], Awaitable[T]]:
    def method(self: AsyncTaskHandle, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self.client.driver.run(operation(self.client.session, self.id, *args, **kwargs))

    functools.update_wrapper(method, operation)
    return method


class Client:
    """A control plane, seen from a program that waits for each answer. Close it, or use `with`."""

    def __init__(
        self, endpoint: str | None = None, token: str | None = None, profile: str | None = None
    ) -> None:
        self.session = new_session(endpoint, token, profile)
        self.driver = BlockingDriver(self.session.endpoint)

    register = _blocking(cluster.register)
    login = _blocking(session.login)
    whoami = _blocking(cluster.whoami)

    submit = _submitting(tasks.submit)
    submit_request = _submitting(tasks.submit_request)
    submit_many = _blocking(tasks.submit_many)
    run = _blocking(tasks.run)
    get = _blocking(tasks.get)
    list = _iterating(tasks.list_tasks, TaskInfo)
    wait = _blocking(tasks.wait)
    result = _blocking(tasks.result)
    result_of = _blocking(tasks.result_of)
    cancel = _blocking(tasks.cancel)
    explain = _blocking(tasks.explain)
    logs = _blocking(tasks.logs)
    receipt = _blocking(tasks.receipt)
    output = _blocking(tasks.output)
    upload = _blocking(uploads.upload)
    events = _iterating(events.events, Event)

    nodes = _iterating(cluster.nodes, NodeInfo)
    node = _blocking(cluster.node)
    invite = _blocking(cluster.invite)
    drain = _blocking(cluster.drain)
    undrain = _blocking(cluster.undrain)
    remove_node = _blocking(cluster.remove_node)
    programs = _blocking(cluster.programs)
    stats = _blocking(cluster.stats)
    health = _blocking(cluster.health)
    control_plane = _blocking(cluster.control_plane)
    checkpoint = _blocking(cluster.checkpoint)
    leaves = _iterating(cluster.leaves, dict)
    consistency = _blocking(cluster.consistency)
    inclusion = _blocking(cluster.inclusion)

    def task(self, task_id: str) -> TaskHandle:
        """A handle on a task that was submitted before."""
        return TaskHandle(self, task_id)

    def close(self) -> None:
        self.driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """A control plane, seen from an event loop. Close it, or use `async with`."""

    def __init__(
        self, endpoint: str | None = None, token: str | None = None, profile: str | None = None
    ) -> None:
        self.session = new_session(endpoint, token, profile)
        self.driver = AsyncDriver(self.session.endpoint)

    register = _awaiting(cluster.register)
    login = _awaiting(session.login)
    whoami = _awaiting(cluster.whoami)

    submit = _async_submitting(tasks.submit)
    submit_request = _async_submitting(tasks.submit_request)
    submit_many = _awaiting(tasks.submit_many)
    run = _awaiting(tasks.run)
    get = _awaiting(tasks.get)
    list = _async_iterating(tasks.list_tasks, TaskInfo)
    wait = _awaiting(tasks.wait)
    result = _awaiting(tasks.result)
    result_of = _awaiting(tasks.result_of)
    cancel = _awaiting(tasks.cancel)
    explain = _awaiting(tasks.explain)
    logs = _awaiting(tasks.logs)
    receipt = _awaiting(tasks.receipt)
    output = _awaiting(tasks.output)
    upload = _awaiting(uploads.upload)
    events = _async_iterating(events.events, Event)

    nodes = _async_iterating(cluster.nodes, NodeInfo)
    node = _awaiting(cluster.node)
    invite = _awaiting(cluster.invite)
    drain = _awaiting(cluster.drain)
    undrain = _awaiting(cluster.undrain)
    remove_node = _awaiting(cluster.remove_node)
    programs = _awaiting(cluster.programs)
    stats = _awaiting(cluster.stats)
    health = _awaiting(cluster.health)
    control_plane = _awaiting(cluster.control_plane)
    checkpoint = _awaiting(cluster.checkpoint)
    leaves = _async_iterating(cluster.leaves, dict)
    consistency = _awaiting(cluster.consistency)
    inclusion = _awaiting(cluster.inclusion)

    def task(self, task_id: str) -> AsyncTaskHandle:
        """A handle on a task that was submitted before."""
        return AsyncTaskHandle(self, task_id)

    async def close(self) -> None:
        await self.driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.close()


class TaskHandle:
    """One submitted task. Nothing is kept but its id, so handles are cheap and survive restarts."""

    def __init__(self, client: Client, task_id: str) -> None:
        self.client = client
        self.id = task_id

    def __repr__(self) -> str:
        return f"TaskHandle({self.id!r})"

    result = _of_task(tasks.result)
    wait = _of_task(tasks.wait)
    info = _of_task(tasks.get)
    cancel = _of_task(tasks.cancel)
    explain = _of_task(tasks.explain)
    logs = _of_task(tasks.logs)
    output = _of_task(tasks.output)

    @property
    def status(self) -> str:
        """Asks the control plane each time."""
        return self.info().status

    @property
    def receipt(self) -> bytes:
        """Asks the control plane each time."""
        return self.client.receipt(self.id)


class AsyncTaskHandle:
    """One submitted task, for an event loop; ``receipt()`` and ``status()`` are awaited."""

    def __init__(self, client: AsyncClient, task_id: str) -> None:
        self.client = client
        self.id = task_id

    def __repr__(self) -> str:
        return f"AsyncTaskHandle({self.id!r})"

    result = _of_task_async(tasks.result)
    wait = _of_task_async(tasks.wait)
    info = _of_task_async(tasks.get)
    cancel = _of_task_async(tasks.cancel)
    explain = _of_task_async(tasks.explain)
    logs = _of_task_async(tasks.logs)
    output = _of_task_async(tasks.output)
    receipt = _of_task_async(tasks.receipt)

    async def status(self) -> str:
        return (await self.info()).status
