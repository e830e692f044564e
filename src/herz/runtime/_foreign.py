"""Coroutines that only an asyncio loop can run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from herz._native import go

T = TypeVar("T")


async def run_asyncio(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, run by a new asyncio loop on a thread of its own.

    Args:
        coroutine: may await asyncio's objects; those of this runtime it cannot.

    Raises:
        Exception: what the coroutine raised.
    """
    return await go(asyncio.run, coroutine)
