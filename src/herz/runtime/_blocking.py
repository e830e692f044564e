"""Which `threading` lock a stalled step waits for, who has it, and who else wants it.

A lock does not say who has it. So this reads the source: the expression at the instruction that a
frame is in names the lock that it waits for, and a frame inside ``with lock:`` has it. Nothing is
called: names are looked up in the frame, attributes in the objects' own dictionaries. What cannot
be known this way is left out.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import itertools
import linecache
import re
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from herz._native import Task
from herz.runtime._stacks import frames

_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_TREES_MAX = 64
_Position = tuple[int | None, int | None, int | None, int | None]


def lock_waited_for(frame: FrameType) -> object | None:
    """The lock whose acquisition the frame is in; None when it is in something else."""
    position = _position(frame)
    for node in ast.walk(_tree(frame.f_code.co_filename)):
        if isinstance(node, ast.With | ast.Call) and _place(node) == position:
            match node:
                case ast.Call(func=ast.Attribute(value=owner, attr="acquire")):
                    return _lock(owner, frame)
                case ast.With(items=items):
                    return _lock(items[_entered_before(frame, position)].context_expr, frame)
    return None


def _entered_before(frame: FrameType, position: _Position) -> int:
    """How many locks of the same ``with`` the frame has got already."""
    entries = (
        at
        for at in dis.get_instructions(frame.f_code)
        if at.opname == "BEFORE_WITH" and at.offset < frame.f_lasti
    )
    return sum(at.positions is not None and tuple(at.positions) == position for at in entries)


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
    return any(_lock(item, frame) is lock for item in _entered(frame))


def _entered(frame: FrameType) -> Iterator[ast.expr]:
    for node in ast.walk(_tree(frame.f_code.co_filename)):
        if isinstance(node, ast.With):
            last = node.body[-1].end_lineno or 0
            # A function may be defined inside a `with` and run outside it.
            begins_inside = frame.f_code.co_firstlineno >= node.lineno
            if node.body[0].lineno <= frame.f_lineno <= last and not begins_inside:
                yield from (item.context_expr for item in node.items)


def _position(frame: FrameType) -> _Position:
    """Where in the source the instruction is from that the frame is in."""
    nowhere = (None, None, None, None)
    return next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), nowhere)


def _place(node: ast.expr | ast.With) -> _Position:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


@functools.lru_cache(_TREES_MAX)
def _tree(filename: str) -> ast.AST:
    try:
        return ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _lock(expression: ast.expr, frame: FrameType) -> object | None:
    found = _value(expression, frame)
    return found if isinstance(found, _LOCKS) else None


def _value(expression: ast.expr, frame: FrameType) -> object | None:
    if isinstance(expression, ast.Name):
        name = expression.id
        return frame.f_locals.get(name, frame.f_globals.get(name))
    if isinstance(expression, ast.Attribute):
        found: object = inspect.getattr_static(
            _value(expression.value, frame), expression.attr, None
        )
        return found
    return None
