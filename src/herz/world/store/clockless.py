"""No clocks: while a journal is replayed, who asks for the time in that thread gets an error."""

from __future__ import annotations

import datetime
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NoReturn

from herz.errors import InvariantError

_READERS: Final = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
CLOCKS: Final = tuple(
    name
    for one in (*_READERS, "clock_gettime")
    for name in (one, f"{one}_ns")
    if hasattr(time, name)
)
"""The functions of `time` that read a clock, whatever they are given."""
CALENDARS: Final = ("localtime", "gmtime", "ctime")
"""Those that read one if they are given nothing."""


@contextmanager
def clockless() -> Iterator[None]:
    """Make every reading of a clock in this thread an error, also through names imported before.

    A reading by C code cannot be seen; nothing that decides has any (`tests/test_tidy.py`).

    Raises:
        InvariantError: what runs inside asked for the time.
    """
    thread = threading.get_ident()
    instead: dict[int, Any] = {}
    for name in (*CLOCKS, *CALENDARS):
        real = getattr(time, name)
        instead[id(real)] = _refusing(name, real, thread, is_always=name in CLOCKS)
    instead[id(datetime.datetime)] = type("datetime", (datetime.datetime,), _METHODS)
    instead[id(datetime.date)] = type("date", (datetime.date,), {"today": _METHODS["today"]})
    changed = [
        (module, name, value)
        for module in _users()
        for name, value in list(vars(module).items())
        if id(value) in instead
    ]
    # What looks at the garbage collector reads clocks, in whatever thread it runs.
    looking, gc.callbacks[:] = gc.callbacks[:], []
    try:
        for module, name, value in changed:
            setattr(module, name, instead[id(value)])
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)
        gc.callbacks[:] = [*looking, *gc.callbacks]


def _users() -> Iterator[ModuleType]:
    """The modules that may ask: all but the standard library's, which have uses of their own."""
    for name, module in list(sys.modules.items()):
        if name == __name__ or not hasattr(module, "__dict__"):
            continue
        if name in ("time", "datetime") or name.partition(".")[0] not in sys.stdlib_module_names:
            yield module


def _refusing(name: str, real: Callable[..., Any], thread: int, *, is_always: bool) -> Any:
    def refuse(*args: Any) -> Any:
        if threading.get_ident() == thread and (is_always or not args):
            _refuse(f"time.{name}")
        return real(*args)

    return refuse


def _refuse(what: str) -> NoReturn:
    raise InvariantError(
        f"{what} was asked for while a journal is replayed: what decides has no clock"
    )


_METHODS: Final[dict[str, Any]] = {
    name: classmethod(lambda cls, *_, name=name: _refuse(f"datetime.{name}"))  # noqa: ARG005
    for name in ("now", "utcnow", "today")
}
