"""A child that simulates into a journal until it kills itself in the middle of an append.

python -m tests.support.killed_run APPENDS BYTES ARGUMENT...
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from herz.front.cli.entry import main
from herz.model import journal
from herz.world.store.files import FileStore

_whole = FileStore._write


def run(appends: int, size: int, arguments: list[str]) -> int:
    """Run the command; of this append, only so many bytes are written."""
    numbers = count()

    def cut(store: FileStore, batch: journal.Batch) -> None:
        _whole(store, batch)
        if next(numbers) == appends:
            os.ftruncate(store._file, store._end - len(batch.frames) + size)
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(FileStore, "_write", cut)  # noqa: B010 - so that no type is lied about
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
