"""`herz audit erase` and `herz audit hold`: what is no longer kept, and what must be."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

from herz import journaling
from herz.commit.audit.entry import Hold
from herz.commit.audit.erasing import ERASABLE, erase, outdated, planned
from herz.errors import ConfigError
from herz.front.cli.declared import Option
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import Output, OutputOption, checked_name, parsed_integer
from herz.front.cli.printing import print_answer
from herz.model.journal import Kind
from herz.world.sim.units import span_ns
from herz.world.store.where import reader_of

ERASE = """Example:

    herz audit erase --journal DIR --from 10 --to 5000 --actor ops --reason "kept for 90 days"
"""
HOLD = """Examples:

    herz audit hold --journal DIR --from 10 --to 5000 --actor legal --reason "case 7"

    herz audit hold --journal DIR --from 10 --to 5000 --actor legal --reason "case 7" --release
"""
RETAIN = """Example:

    herz audit retain --journal DIR --keep input=30d --keep state=7d --actor ops --reason "policy 4"
"""
ENTRY_MAX = 2**62


class Erasable(StrEnum):
    """The kinds of entries that can be erased."""

    INPUT = "input"
    OUTCOME = "outcome"
    RECORD = "record"
    STATE = "state"


FromOption = Annotated[str, Option("--from", metavar="N", help="The first entry.")]
ToOption = Annotated[str, Option("--to", metavar="N", help="The last entry.")]
ActorOption = Annotated[str, Option(metavar="NAME", help="Who does it; it is recorded.")]
ReasonOption = Annotated[str, Option(metavar="TEXT", help="Why; it is recorded.")]


def erase_command(
    *,
    journal: JournalOption,
    first: FromOption,
    last: ToOption,
    actor: ActorOption,
    reason: ReasonOption,
    kind: Annotated[
        list[Erasable] | None, Option("--kind", help="Only of this kind; again for more.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase what entries say, for good; that they were there, and who erased them, stays."""
    where = journal_at(journal)
    begin, end = _ends(first, last)
    kinds = ERASABLE if kind is None else tuple(Kind[one.name] for one in kind)
    with journaling.reopened(where) as log:
        plan = planned(log.store.read(), begin, end, kinds)
        told = erase(
            log,
            plan,
            actor=checked_name(actor, option="--actor"),
            reason=checked_name(reason, option="--reason"),
            time_ns=time.time_ns(),
        )
    print_answer(
        {"entry": told, "erased": len(plan.entries), "ranges": [list(one) for one in plan.ranges]},
        output,
        title=f"herz audit erase {where}",
        columns=("figure", "value"),
        rows=[("entries erased", str(len(plan.entries))), ("told by entry", str(told))],
    )


def retain_command(
    *,
    journal: JournalOption,
    keep: Annotated[
        list[str],
        Option("--keep", metavar="KIND=SPAN", help="How long; again for more kinds."),
    ],
    actor: ActorOption,
    reason: ReasonOption,
    dry_run: Annotated[bool, Option("--dry-run", help="Erase nothing.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase what is older than its kind is kept for; what is held stays."""
    spans = dict(_span(one) for one in keep)
    who, why = checked_name(actor, option="--actor"), checked_name(reason, option="--reason")
    told: int | None = None
    where = journal_at(journal)
    if dry_run:
        plan = outdated(reader_of(where).read, spans)
    else:
        with journaling.reopened(where) as log:
            plan = outdated(log.store.read, spans)
            if plan.entries:
                # What is held was left out: it is in nobody's way.
                free = replace(plan, held=())
                told = erase(log, free, actor=who, reason=why, time_ns=time.time_ns())
    print_answer(
        {
            "entry": told,
            "erased": 0 if dry_run else len(plan.entries),
            "outdated": len(plan.entries),
            "held": [{"first": one, "last": last, "by": by} for one, last, by in plan.held],
        },
        output,
        title=f"herz audit retain {where}",
        columns=("figure", "value"),
        rows=[
            ("entries outdated", str(len(plan.entries))),
            ("told by entry", "none" if told is None else str(told)),
        ],
        after=[f"note: entries {one} to {last} are held by {by}" for one, last, by in plan.held],
    )


def _span(text: str) -> tuple[Kind, int]:
    """A kind, and how long it is kept, in nanoseconds.

    Raises:
        ConfigError: it is neither.
    """
    name, equals, span = text.partition("=")
    if not equals or name not in list(Erasable):
        fix = f"give KIND=SPAN, such as input=30d; kinds are {', '.join(Erasable)}"
        raise ConfigError("not a retention", where="--keep", value=text, fix=fix)
    return Kind[name.upper()], span_ns(span, "--keep")


def hold_command(
    *,
    journal: JournalOption,
    first: FromOption,
    last: ToOption,
    actor: ActorOption,
    reason: ReasonOption,
    release: Annotated[bool, Option("--release", help="End the hold.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have entries kept, whoever wants them erased, until the hold is ended."""
    where = journal_at(journal)
    ends = _ends(first, last)
    with journaling.reopened(where) as log:
        told = log.write(
            Hold(
                actor=checked_name(actor, option="--actor"),
                is_held=not release,
                ranges=(ends,),
                reason=checked_name(reason, option="--reason"),
                time_ns=time.time_ns(),
            )
        )
        log.commit()
    print_answer(
        {"entry": told, "first": ends[0], "last": ends[1], "is_held": not release},
        output,
        title=f"herz audit hold {where}",
        columns=("figure", "value"),
        rows=[
            ("entries", f"{ends[0]} to {ends[1]}"),
            ("are", "released" if release else "held"),
            ("told by entry", str(told)),
        ],
    )


def _ends(first: str, last: str) -> tuple[int, int]:
    """The first and the last entry.

    Raises:
        ConfigError: they are no entries, or in the wrong order.
    """
    begin = parsed_integer(first, option="--from", low=0, high=ENTRY_MAX)
    end = parsed_integer(last, option="--to", low=0, high=ENTRY_MAX)
    if end < begin:
        fix = "give the first entry to --from, the last to --to"
        raise ConfigError("the last entry is before the first", where="--to", value=last, fix=fix)
    return begin, end
