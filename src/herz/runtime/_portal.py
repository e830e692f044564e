"""`Portal`: tasks from threads that are not the runtime's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from herz._native import current_runtime

T = TypeVar("T")


class Portal:
    """A way in for other threads; made inside a runtime, closed by ``with`` or `close`.

    While one is open, tasks that wait are no deadlock: somebody outside may wake them.
    """

    def __init__(self) -> None:
        self._runtime = current_runtime()
        self._is_open = True
        self._runtime.hold(1)

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], /, *args: Any) -> Future[T]:
        """Starts ``function(*args)`` as a task of the runtime and gives its future at once.

        Raises:
            RuntimeError: the portal is closed, or the runtime has ended.
        """
        if not self._is_open:
            raise RuntimeError("the portal is closed")
        future: Future[T] = Future()
        relay = _relay(future, function, args)
        try:
            self._runtime.spawn(relay)
        except BaseException:
            relay.close()
            raise
        return future

    def close(self) -> None:
        """Ends the way in; what was called goes on. Closing twice is as good as once."""
        if self._is_open:
            self._is_open = False
            self._runtime.hold(-1)

    def __enter__(self) -> Portal:
        """The portal itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()


async def _relay(
    future: Future[T], function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = await function(*args)
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        future.set_result(value)
