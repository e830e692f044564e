"""`Ticker`: ticks at equal distances, for as long as somebody listens."""

from __future__ import annotations

from collections.abc import Awaitable
from types import TracebackType

from herz._native import Channel, Timer


class Ticker:
    """Ticks every so many seconds; a tick that nobody took in time stands for those after it.

    Ticks do not drift: each is due a whole number of periods after the start. Who is late finds
    one tick waiting, not all that it missed: ``async for now in Ticker(1.0)``. It ticks until it
    is stopped, at the end of ``with`` for one, or the run ends.
    """

    def __init__(self, seconds: float) -> None:
        """Starts ticking.

        Raises:
            RuntimeError: no runtime runs on this thread.
            ValueError: seconds are not above zero.
        """
        self._channel: Channel[int] = Channel(1)
        self._timer = Timer.every(seconds, self._channel)

    def receive(self) -> Awaitable[int]:
        """An awaitable of the next tick: when it came, by `now_ns`.

        Raises:
            Closed: the ticker was stopped.
        """
        return self._channel.receive()

    def stop(self) -> None:
        """No more ticks: who receives gets `Closed`, and ``async for`` ends. Unlike Go's."""
        self._timer.stop()
        self._channel.close()

    def reset(self, seconds: float) -> None:
        """Ticks every so many seconds, from now on; also after `stop`.

        Raises:
            ValueError: seconds are not above zero; the ticker goes on as before.
        """
        if self._channel.is_closed:
            channel: Channel[int] = Channel(1)
            self._timer, self._channel = Timer.every(seconds, channel), channel
        else:
            self._timer.reset(seconds)

    def __aiter__(self) -> Ticker:
        """The ticker itself."""
        return self

    def __anext__(self) -> Awaitable[int]:
        """The next tick."""
        return self._channel.__anext__()

    def __enter__(self) -> Ticker:
        """The ticker itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops it."""
        self.stop()
