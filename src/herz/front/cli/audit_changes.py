"""`herz audit changes`: who changed what decides or what is kept, and why."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from herz.commit.audit.entry import opened
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer
from herz.model.journal import Kind
from herz.world.store.index import Index
from herz.world.store.where import indexed

CHANGES = """Examples:

    herz audit changes --journal DIR

    herz audit changes --journal postgresql:///audit --output json
"""
KINDS: Final = (
    Kind.START,
    Kind.CONFIGURATION,
    Kind.MODEL,
    Kind.KEY,
    Kind.ERASURE,
    Kind.MODE,
    Kind.CLOCK,
    Kind.HOLD,
)
_WHO: Final = ("actor", "reason", "time_ns", "signatures", "blobs")


def changes(*, journal: JournalOption, output: OutputOption = Output.TABLE) -> None:
    """Show who changed policy, models, keys and proof mode, erased or held entries, and why."""
    where = journal_at(journal)
    with indexed(where) as index:
        told = sorted(_all(index), key=lambda one: int(one["entry"]))
    print_answer(
        told,
        output,
        title=f"herz audit changes {where}",
        columns=("entry", "what", "actor", "reason", "how"),
        rows=[
            (
                *(str(one["entry"]), str(one["kind"])),
                *(str(one.get("actor", "")), str(one.get("reason", ""))),
                _how(one),
            )
            for one in told
        ],
    )


def _all(index: Index) -> list[dict[str, Any]]:
    """What each entry of these kinds says (none can be erased), with its number and kind.

    Raises:
        AuditError: one is damaged.
    """
    found = []
    for kind in KINDS:
        for place in index.others(kind):
            said = msgspec.to_builtins(opened(index.entry(place))[1])
            found.append({"entry": place.entry, "kind": kind.name.lower(), **said})
    return found


def _how(one: dict[str, Any]) -> str:
    if one["kind"] == "start":
        return f"policy {one['policy']}, engine {one['engine']['digest']}, term {one['term']}"
    skipped = ("entry", "kind", *_WHO)
    return ", ".join(f"{name} {value}" for name, value in one.items() if name not in skipped)
