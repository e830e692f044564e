"""A child that appends to a journal until it is killed, and says what was acknowledged.

python -m tests.support.journal_writer URL TERM
"""

from __future__ import annotations

import itertools
import os
import sys

from herz.app import load_policy
from herz.commit.audit.log import Log
from herz.errors import WorldError
from herz.journaling import journaled
from herz.model.events import ObjectApplied
from herz.world.store.where import where_of, writer_of
from tests.support.journal import ORIGIN
from tests.support.objects import make_node, make_pod


def _write(url: str, term: int) -> None:
    log = Log(writer_of(where_of(url), term), os.urandom, ORIGIN)
    machine = journaled(log, load_policy("default"), 1)
    machine.apply(ObjectApplied(time_ns=0, object=make_node("a", pods="5000")))
    for number in itertools.count(1):
        for which in range(number % 4):
            pod = make_pod(f"p{term}-{number}-{which}", {"cpu": "1m"})
            machine.apply(ObjectApplied(time_ns=number, object=pod))
        _, sync = machine.decide(number, 10)
        if sync is None:
            continue
        sync()
        # From here on its effects may leave.
        sys.stdout.write(f"{log.committed} {log.root.hex()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        _write(sys.argv[1], int(sys.argv[2]))
    except WorldError as error:
        sys.stdout.write(f"error {error}\n")
