"""Which `threading` lock a stalled step waits for, who has it, and who else wants it.

A lock does not say who has it. So this reads the source: the text at the instruction that a frame
is in names the lock that it waits for, and a frame inside ``with lock:`` has it. Nothing is called:
names are looked up in the frame, attributes in the objects' own dictionaries. What cannot be known
this way is left out. `ast` is not used: in CPython 3.11 two threads must not parse at once, and the
program under watch may.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
import linecache
import re
import threading
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

from herz._native import Task
from herz.runtime._stacks import frames

CALLS = ("PRECALL", "CALL", "CALL_FUNCTION_EX", "BEFORE_WITH")
"""The instructions in which a frame calls something."""

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_ACQUIRE = re.compile(rf"({_NAME})\.acquire\(")
_ITEM = re.compile(rf"\s*({_NAME})(?:\s+as\s.*)?\s*", re.S)
_CODES_MAX = 256
_Position = tuple[int, int, int, int]


def operation(frame: FrameType) -> str:
    """The name of the instruction that the frame is in."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]]


def lock_waited_for(frame: FrameType) -> object | None:
    """The lock whose acquisition the frame is in; None when it is in something else."""
    kind = operation(frame)
    if kind == "BEFORE_WITH":
        return _lock(_item(frame.f_code, frame.f_lasti), frame)
    if kind in CALLS:
        positions = itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
        found = _ACQUIRE.match(_source(frame.f_code, _whole(next(positions, ()))))
        return _lock(found[1], frame) if found else None
    return None


def holders(lock: object, tasks: Iterable[Task[Any]], names: dict[int, str]) -> list[str]:
    """The names of tasks and threads that have the lock, as far as that can be known.

    Args:
        lock: of `threading`.
        tasks: to look at.
        names: of threads and the tasks on them, by the thread's number.
    """
    owner = re.search(r"owner=(\d+)", repr(lock))
    if owner is not None:
        return [names.get(int(owner[1]), f"thread {owner[1]}")] if int(owner[1]) else []
    return [task.name for task in tasks if any(has(frame, lock) for frame in frames(task))]


def has(frame: FrameType, lock: object) -> bool:
    """Whether the frame is inside a ``with`` of the lock."""
    return any(_lock(name, frame) is lock for name in _entered(frame))


def _entered(frame: FrameType) -> Iterator[str]:
    """What the ``with`` statements name that the frame is inside of."""
    for offset, position in _withs(frame.f_code):
        first, last = position[:2]
        if offset < frame.f_lasti and first <= frame.f_lineno <= last:
            yield _item(frame.f_code, offset)


@functools.lru_cache(_CODES_MAX)
def _withs(code: CodeType) -> tuple[tuple[int, _Position], ...]:
    """Where a ``with`` enters something: the instruction, and the whole statement's place."""
    return tuple(
        (at.offset, _whole(at.positions or ()))
        for at in dis.get_instructions(code)
        if at.opname == "BEFORE_WITH"
    )


def _item(code: CodeType, offset: int) -> str:
    """What the ``with`` names that enters something at that instruction; empty: no plain name."""
    entries = dict(_withs(code))
    position = entries[offset]
    # A statement with several items has an instruction for each, all with the statement's place.
    place = sum(before < offset for before, other in entries.items() if other == position)
    header = _source(code, position).removeprefix("with").partition(":")[0].strip()
    items = header.removeprefix("(").removesuffix(")").split(",")
    found = _ITEM.fullmatch(items[place]) if place < len(items) else None
    return found[1] if found else ""


def _whole(position: Iterable[int | None]) -> _Position:
    """A place in the source; the empty one where the code does not say."""
    line, end_line, column, end_column = (*(part or 0 for part in position), 0, 0, 0, 0)[:4]
    return line, end_line, column, end_column


def _source(code: CodeType, position: _Position) -> str:
    """The text at a place, whose columns count bytes."""
    line, end_line, column, end_column = position
    lines = [text.encode() for text in linecache.getlines(code.co_filename)[line - 1 : end_line]]
    if not line or not lines:
        return ""
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    return b"".join(lines).decode(errors="replace")


def _lock(name: str, frame: FrameType) -> object | None:
    """The lock of that dotted name in the frame."""
    first, *rest = name.split(".")
    found = frame.f_locals.get(first, frame.f_globals.get(first))
    for attribute in rest:
        found = inspect.getattr_static(found, attribute, None)
    return found if isinstance(found, _LOCKS) else None
