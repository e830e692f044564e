"""Waiting for what is away, and saying for what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from herz.errors import WorldError

ResultT = TypeVar("ResultT")
RETRY_SECONDS: Final = 2.0


async def patiently(
    act: Callable[[], ResultT], tell: Callable[[str], None], *, waits: bool
) -> ResultT:
    """Do it, again and again while what it needs is away; each reason is told once.

    Args:
        act: what is to be done; it has undone what it did when it raises.
        tell: shows a person what is waited for.
        waits: whether to wait at all.

    Raises:
        WorldError: it will not be better later, or nobody wants to wait.
    """
    said = ""
    while True:  # Bound: the caller's patience.
        try:
            return act()
        except WorldError as error:
            if not (waits and error.is_retryable):
                raise
            if str(error) != said:
                said = str(error)
                tell(f"waiting: {said}")
        await asyncio.sleep(RETRY_SECONDS)
