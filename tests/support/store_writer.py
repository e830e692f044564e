"""A child that writes to a store until it is killed, and says what was acknowledged.

python -m tests.support.store_writer FILE
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from herz.world.apiserver.store import Key, Store


async def _write(path: Path) -> None:
    store = Store(path, history_max=50)
    for round_ in itertools.count():
        keys = [Key("pods", "default", f"p{(round_ * 7 + at) % 40}") for at in range(7)]
        done = []
        for key in keys:
            latest = store.latest(key)
            content = {"metadata": {"name": key.name}, "round": round_}
            is_removed = latest is not None and round_ % 5 == 4
            done.append((store.remove if is_removed else store.put)(key, content))
        for version in await asyncio.gather(*done):
            sys.stdout.write(f"{version.revision} {version.key.name} {round_}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1])))
