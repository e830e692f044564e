"""Scopes: `TaskGroup`, `deadline`, `shield`, `lock_thread`.

A scope that asks its own task to end takes the request back when it ends, so that only what is
inside is cancelled. A request from outside stays and goes on outwards.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar, overload

from herz._native import Cancelled, Task, Timer, current_task, go, sleep

T = TypeVar("T")


@contextmanager
def shield() -> Iterator[None]:
    """Inside, requests to end are not heard; the first await after it hears them."""
    task = current_task()
    task.shield(1)
    try:
        yield
    finally:
        task.shield(-1)


@contextmanager
def lock_thread() -> Iterator[None]:
    """Inside, the task keeps its thread, and no other task or function runs on that thread.

    For what belongs to a thread: `threading.local`, a library's handles, a changed name space. Each
    step costs a hop to another thread and one back. Where `max_workers` leaves no other thread,
    other tasks do run on it. A function has a thread of its own anyway.
    """
    task = current_task()
    task.lock_thread(1)
    try:
        yield
    finally:
        task.lock_thread(-1)


class deadline:  # noqa: N801 - reads like a function, as in asyncio.timeout
    """``async with deadline(seconds)``: cancels what is inside when the time is over.

    A step is not interrupted: the deadline is heard at its next await.

    Raises:
        TimeoutError: at the end of the block, when the deadline cancelled it.
    """

    def __init__(self, seconds: float) -> None:
        sleep(seconds)  # refuses what is no time
        self._seconds = seconds
        self._has_fired = False

    async def __aenter__(self) -> deadline:
        """Starts the clock."""
        self._host = current_task()
        self._timer = Timer(self._seconds, self._fire)
        return self

    def _fire(self) -> None:
        self._has_fired = True
        self._host.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops the clock; what the deadline cancelled becomes a TimeoutError."""
        self._timer.stop()
        if not self._has_fired:
            return
        self._host.uncancel()
        if isinstance(error, Cancelled) and not self._host.cancelling():
            raise TimeoutError("the deadline has passed") from error


class TaskGroup:
    """``async with TaskGroup() as group``: the block ends when all tasks of the group have ended.

    When one of them, or the block itself, raises, the others are cancelled.

    Raises:
        BaseExceptionGroup: what the tasks and the block raised, at the end of the block.
    """

    def __init__(self) -> None:
        # In the order of their start: which is cancelled first shows in the order of steps.
        self._tasks: dict[Task[Any], None] = {}
        self._errors: list[BaseException] = []
        self._is_ending = False
        self._has_cancelled_host = False

    async def __aenter__(self) -> TaskGroup:
        """Begins the group."""
        self._host = current_task()
        return self

    @overload
    def go(self, target: Coroutine[Any, Any, T], /, *, abandon: bool = ...) -> Task[T]: ...
    @overload
    def go(
        self, target: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, abandon: bool = ...
    ) -> Task[T]: ...
    @overload
    def go(self, target: Callable[..., T], /, *args: Any, abandon: bool = ...) -> Task[T]: ...
    def go(self, target: Any, /, *args: Any, abandon: bool = False) -> Task[Any]:
        """Starts a task of the group, as `herz.runtime.go` does.

        Args:
            target: a coroutine or a function.
            args: what the function is called with.
            abandon: whether the group, once cancelled, leaves a function that runs or a step that
                is detached behind; otherwise it waits for them.

        Raises:
            RuntimeError: the group has ended.
        """
        if self._is_ending and not self._tasks:
            if isinstance(target, Coroutine):
                target.close()
            raise RuntimeError("the group has ended: no task can join it")
        task = go(self._watch(target, args, abandon), abandon=abandon)
        self._tasks[task] = None
        if self._errors:
            task.cancel()
        return task

    async def _watch(self, target: Any, args: tuple[Any, ...], abandon: bool) -> Any:
        own = current_task()
        try:
            if isinstance(target, Coroutine):
                return await target
            return await _to_its_end(go(target, *args, abandon=abandon))
        except Cancelled:
            raise
        except BaseException as error:
            self._fail(error)
            raise Cancelled("the error is the group's") from error
        finally:
            self._tasks.pop(own, None)

    def _fail(self, error: BaseException) -> None:
        self._errors.append(error)
        for task in list(self._tasks):
            if task is not current_task():
                task.cancel()
        if not self._has_cancelled_host and not self._is_ending:
            self._has_cancelled_host = True
            self._host.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits for all tasks of the group."""
        self._is_ending = True
        if self._has_cancelled_host:
            self._host.uncancel()
        is_own = self._has_cancelled_host and isinstance(error, Cancelled)
        if error is not None and not is_own:
            if not isinstance(error, Cancelled):
                self._errors.append(error)
            for task in list(self._tasks):
                task.cancel()
        await self._wait()
        if self._errors:
            raise BaseExceptionGroup("tasks of a group failed", self._errors)

    async def _wait(self) -> None:
        """Waits for all, also when it is cancelled meanwhile: then they are, too."""
        cancelled = None
        # Copies: a task that ends on another thread leaves the set between any two bytecodes.
        while tasks := list(self._tasks):
            for task in tasks:
                try:
                    if cancelled is None:
                        await task
                    else:
                        with shield():
                            await task
                except Cancelled as error:
                    if task.done() and not self._host.cancelling():
                        continue
                    cancelled = error
                    for each in list(self._tasks):
                        each.cancel()
                finally:
                    if task.done():
                        self._tasks.pop(task, None)
        if cancelled is not None and not self._errors:
            raise cancelled


async def _to_its_end(task: Task[T]) -> T:
    """What the task returns. When this wait is cancelled the task is, and its end awaited."""
    try:
        return await task
    except Cancelled:
        task.cancel()
        with shield():
            await task
        raise
