"""Memory that was freed goes back to the system; each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from herz.world.memory import _function

MEGABYTE = 1_000_000

pytestmark = pytest.mark.skipif(_function("mallopt") is None, reason="the C library is not glibc")

RESIDENT = """
import os
from herz.world import memory

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
"""

TABLES = """
PODS, TABLES, TURNS = 50_000, 2, 7
tables = [dict.fromkeys(map(str, range(PODS))) for _ in range(TABLES)]
at, found = PODS, []
for _ in range(TURNS):
    for _ in range(PODS):
        for table in tables:
            del table[str(at - PODS)]
            table[str(at)] = None
        at += 1
    found.append(resident())
print(max(found[2:]) - found[1])
"""

PIECES = """
pieces = [bytes(10_000) for _ in range(4_000)]
kept = pieces[::40]
del pieces
before = resident()
print(memory.give_back(), before - resident())
"""


def run(*parts: str) -> list[str]:
    command = [sys.executable, "-c", "\n".join((RESIDENT, *parts))]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=20
    ).stdout.split()


@pytest.mark.slow
def test_tables_that_are_made_anew_leave_no_holes() -> None:
    """Seven times as many pods come as there are; tables are made anew three times."""
    (grown,) = run("print(end='' if memory.keep_large_apart() else 'not kept')", TABLES)
    assert int(grown) < MEGABYTE / 2
    (grown,) = run(TABLES)
    assert int(grown) > MEGABYTE, "the C library makes no holes by itself any more"


def test_free_pages_between_others_are_given_back() -> None:
    is_given, freed = run(PIECES)
    assert is_given == "True"
    assert int(freed) > 20 * MEGABYTE


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from herz.world import memory

    monkeypatch.setattr(memory, "_function", lambda _: None)
    assert not memory.keep_large_apart()
    assert not memory.give_back()
