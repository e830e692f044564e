"""Types of the native module (crates/herz-py); checked against it by mypy.stubtest."""

from collections.abc import Callable, Coroutine, Generator
from types import GenericAlias
from typing import Any, Generic, TypeVar, final, overload, type_check_only

import numpy as np
import numpy.typing as npt

__all__ = [
    "Cancelled",
    "ChangeLog",
    "Codes",
    "Deadlock",
    "Kernel",
    "LtHash",
    "RawPoints",
    "RequestMix",
    "Runtime",
    "Table",
    "Task",
    "current_runtime",
    "current_task",
    "expected_rest",
    "go",
    "has_room",
    "in_runtime",
    "levels",
    "mix64",
    "shift_row",
    "sleep",
    "yield_now",
]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

class Cancelled(BaseException): ...
class Deadlock(RuntimeError): ...  # noqa: N818 - what it is called everywhere

@final
class Task(Generic[_T_co]):
    def __await__(self) -> Generator[Any, None, _T_co]: ...
    def __class_getitem__(cls, key: Any, /) -> GenericAlias: ...
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    def cancel(self) -> None: ...
    def done(self) -> bool: ...
    def result(self) -> _T_co: ...

@final
class Runtime:
    def __new__(
        cls,
        start_worker: Callable[[], None],
        *,
        hand_off: bool,
        stall_ns: int,
        workers_max: int,
        grace_ns: int,
        short_interval: bool,
    ) -> Runtime: ...
    def watch(self) -> None: ...
    def listen(self, descriptor: int, nudge: Callable[[], None] | None) -> None: ...
    def run(self, main: object) -> Any: ...
    def work(self) -> None: ...
    def interrupt(self) -> str: ...
    @staticmethod
    def abandon(thread: int) -> None: ...
    def pause(self, change: int) -> None: ...
    def tasks(self) -> list[Task[Any]]: ...
    def stats(self) -> dict[str, int]: ...

@overload
def go(target: Coroutine[Any, Any, _T], /, *, name: str | None = None) -> Task[_T]: ...
@overload
def go(
    target: Callable[..., Coroutine[Any, Any, _T]], /, *args: Any, name: str | None = None
) -> Task[_T]: ...
@overload
def go(target: Callable[..., _T], /, *args: Any, name: str | None = None) -> Task[_T]: ...
def sleep(seconds: float, /) -> _Wait[None]: ...
def yield_now() -> _Wait[None]: ...
def current_task() -> Task[Any]: ...
def current_runtime() -> Runtime: ...
def in_runtime() -> bool: ...

@type_check_only
class _Wait(Generic[_T_co]):
    def __await__(self) -> Generator[Any, None, _T_co]: ...

_Rows = npt.NDArray[np.int64] | None

@final
class Kernel:
    @staticmethod
    def lacking(demands: list[tuple[int, int]]) -> Kernel: ...
    @staticmethod
    def fullness(
        kind: str,
        shape: list[tuple[int, int]],
        resources: list[tuple[int, bool, int, int]],
    ) -> Kernel: ...
    @staticmethod
    def balance(resources: list[tuple[int, int]]) -> Kernel: ...
    def values(
        self,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
        rows: _Rows,
    ) -> npt.NDArray[np.int64]: ...

def has_room(
    capacity: npt.NDArray[np.int64],
    used: npt.NDArray[np.int64],
    demands: list[tuple[int, int]],
    row: int,
) -> bool: ...
def levels(
    capacity: npt.NDArray[np.int64],
    used: npt.NDArray[np.int64],
    indices: list[int],
    row: int,
    most: int,
) -> list[int]: ...
def shift_row(
    used: npt.NDArray[np.int64],
    demands: list[tuple[int, int]],
    scored: npt.NDArray[np.int64],
    nonzero: tuple[int, int],
    row: int,
    sign: int,
) -> None: ...
def mix64(value: int) -> int: ...
def expected_rest(
    height: int, width: int, stop: int, worth: int, steps: list[tuple[int, int, int]]
) -> npt.NDArray[np.int64]: ...

@final
class RequestMix:
    def __new__(cls, requests: list[tuple[int, int, int, int, int]], kinds: int) -> RequestMix: ...
    def drops(
        self,
        slots: npt.NDArray[np.int64],
        other: npt.NDArray[np.int64],
        kinds: npt.NDArray[np.int64],
        take: tuple[int, int, int],
        rows: _Rows,
    ) -> npt.NDArray[np.int64]: ...

@final
class Codes:
    def __new__(cls, size: int) -> Codes: ...
    def set(self, rows: _Rows, values: npt.NDArray[np.int16], limit: int) -> bool: ...
    def set_live(self, rows: _Rows, is_live: npt.NDArray[np.bool_]) -> None: ...

@final
class RawPoints:
    def __new__(cls, size: int) -> RawPoints: ...
    def set(self, rows: _Rows, values: npt.NDArray[np.int64]) -> None: ...

_Open = tuple[int, int] | tuple[int, npt.NDArray[np.int64], int, int] | tuple[int] | None

@final
class Table:
    def __new__(
        cls,
        size: int,
        filters: list[Codes | Kernel],
        scorers: list[tuple[int, int, RawPoints | Kernel, bool]],
    ) -> Table: ...
    @property
    def size(self) -> int: ...
    @property
    def fits(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def settle(
        self,
        rows: _Rows,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
    ) -> _Open: ...
    def settle_codes(
        self,
        rows: _Rows,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
    ) -> _Open: ...
    def settle_points(
        self,
        rows: _Rows,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
    ) -> _Open: ...
    def learn_code(self, index: int, value: int, code: int) -> None: ...
    def learn_points(
        self, scorer: int, values: npt.NDArray[np.int64], points: npt.NDArray[np.int64]
    ) -> bool: ...
    def first(self) -> npt.NDArray[np.int16]: ...
    def fitting(self) -> npt.NDArray[np.int64]: ...
    def points(
        self,
        scorer: int,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]: ...
    def totals(self) -> npt.NDArray[np.int64]: ...
    def histogram(self) -> list[tuple[int, int]]: ...
    def top(
        self,
        k: int,
        keys: npt.NDArray[np.uint64],
        salt: int | None,
        capacity: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        scored: npt.NDArray[np.int64],
    ) -> tuple[list[tuple[int, int, tuple[int, ...]]], int]: ...

@final
class ChangeLog:
    def __new__(cls, capacity: int) -> ChangeLog: ...
    def append(self, row: int, mask: int) -> None: ...
    @property
    def end(self) -> int: ...
    def mask_since(self, position: int) -> int | None: ...
    def since(
        self, position: int, wanted: int
    ) -> tuple[int, npt.NDArray[np.int64] | None] | None: ...
    def rows_since(self, position: int, mask: int) -> npt.NDArray[np.int64]: ...

@final
class LtHash:
    def __new__(cls) -> LtHash: ...
    def add(self, element: bytes) -> None: ...
    def remove(self, element: bytes) -> None: ...
    def state(self) -> bytes: ...
    def digest(self) -> bytes: ...
