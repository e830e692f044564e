"""What tasks wait for beside channels: `Mutex`, `Event`, `WaitGroup`.

`Semaphore` and the gate below them are native: one step of them cannot be interleaved with another
task's. They may be released, set or counted down from any thread; awaited by tasks only.
"""

from __future__ import annotations

from collections.abc import Awaitable

from herz._native import Gate, Semaphore


class Mutex(Semaphore):
    """Lets one task in at a time, the others in the order in which they came: ``async with``.

    A release happens before the next acquisition returns. Any task may release it, as in Go.
    """

    def __new__(cls) -> Mutex:
        """An unlocked mutex."""
        return super().__new__(cls, 1)


class Event:
    """A flag that tasks wait for."""

    def __init__(self) -> None:
        self._gate = Gate(1)

    def set(self) -> None:
        """Lets all who wait, and all who will, go on."""
        if self._gate.missing:
            self._gate.change(-1)

    def clear(self) -> None:
        """Makes those who come from now on wait."""
        if not self._gate.missing:
            self._gate.change(1)

    def is_set(self) -> bool:
        """Whether a wait ends at once."""
        return not self._gate.missing

    def wait(self) -> Awaitable[None]:
        """An awaitable that ends once the flag is set."""
        return self._gate.wait()


class WaitGroup:
    """Counts what is under way; tasks wait until nothing is."""

    def __init__(self) -> None:
        self._gate = Gate(0)

    def add(self, count: int = 1) -> None:
        """So many more are under way.

        Raises:
            ValueError: the count would fall below zero; it stays as it is.
        """
        self._gate.change(count)

    def done(self) -> None:
        """One has ended.

        Raises:
            ValueError: none was under way.
        """
        self._gate.change(-1)

    def wait(self) -> Awaitable[None]:
        """An awaitable that ends once nothing is under way."""
        return self._gate.wait()
