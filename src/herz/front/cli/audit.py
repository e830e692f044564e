"""`herz audit`: what a journal says, whether it was changed, and whether it can be had again."""

from __future__ import annotations

from typing import Annotated

from herz import comparing, journaling
from herz.commit.audit.otherwise import Pair
from herz.commit.audit.replay import Difference, Replayed
from herz.commit.audit.trust import Trust, coverage
from herz.commit.audit.verify import Verified
from herz.errors import ConfigError
from herz.front import crossing, exporting, vouched
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import ENTRY_MAX, Output, OutputOption, checked_name, parsed_integer
from herz.front.cli.printing import print_answer
from herz.front.exporting import Format
from herz.model.record import Decided, Record
from herz.world.store.where import Where, reader_of

VERIFY = """Examples:

    herz audit verify --journal DIR --integrity-only

    herz audit verify --journal DIR --trust trust.json --output json
"""
EXPORT = """Examples:

    herz audit export --journal DIR --format csv --to decisions.csv

    herz audit export --journal postgresql:///audit --format files --to journal

    herz audit export --journal DIR --format tiles --to log
"""
REPLAY = """Examples:

    herz audit replay --journal DIR

    herz audit replay --journal DIR --policy bestfit

    herz audit replay --journal DIR --cross-version
"""
DIFFERENCES_MAX = 1_000
"""Bound: of more differences, the first are shown."""


def verify(
    *,
    journal: JournalOption,
    first: Annotated[str, Option("--from", metavar="N", help="The first entry to look at.")] = "0",
    last: Annotated[
        str | None, Option("--to", metavar="N", help="The last entry to look at.")
    ] = None,
    trust: Annotated[
        str | None, Option("--trust", metavar="FILE", help="Whose keys count.")
    ] = None,
    since: Annotated[
        str | None,
        Option("--since", metavar="FILE", help="A checkpoint that you remembered."),
    ] = None,
    integrity_only: Annotated[
        bool, Option("--integrity-only", help="Ask nobody who vouches for it.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Check the bytes, their form, the chain, the tree and the checkpoints; exit code 1 for no."""
    where = journal_at(journal)
    end = None if last is None else _entry(last, "--to") + 1
    trusted = None if trust is None else vouched.read_trust(trust)
    found = journaling.verified(
        where,
        first=_entry(first, "--from"),
        end=end,
        since=None if since is None else vouched.read_checkpoint(since),
        judge=None if trusted is None else trusted.judge,
    )
    is_vouched = found.problem is None and (integrity_only or found.vouched > 0)
    verdict = "verifies" if found.problem is None else str(found.problem)
    if found.problem is None and not is_vouched:
        verdict = "internally consistent; origin not verified"
    uncovered = found.size - (found.covered if integrity_only else found.vouched)
    after = [f"note: {found.cut}"] if found.cut else []
    after += [f"note: takes the place of {found.follows}"] if found.follows else []
    after += [
        f"note: entries {begin} to {until} are erased, by entry {by}"
        for begin, until, by in found.erased
    ]
    after.append(f"note: {_outside(found, trusted, where)}")
    print_answer(
        _verified(found, verdict, uncovered),
        output,
        title=f"herz audit verify {where}",
        columns=("figure", "value"),
        rows=[
            ("verdict", verdict),
            ("entries", f"{found.first} to {found.size - 1}"),
            ("records", str(found.records)),
            ("checkpoints", str(found.checkpoints)),
            ("covered by checkpoints", str(found.covered)),
            ("vouched for", f"{found.vouched} {found.by}".rstrip()),
        ],
        after=after,
    )
    return Exit.DONE if is_vouched else Exit.NO


def replay(
    *,
    journal: JournalOption,
    first: Annotated[
        str | None,
        Option("--from", metavar="N", help="Begin with the last state up to this entry."),
    ] = None,
    policy: Annotated[
        str | None,
        Option(metavar="NAME|FILE", help="Show what another policy would have decided."),
    ] = None,
    cross_version: Annotated[
        bool,
        Option("--cross-version", help="Show what this engine decides where another one did."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Decide everything anew from the logged inputs; exit code 1 where a record differs."""
    where = journal_at(journal)
    if cross_version:
        return _crossed(where, first, policy, output)
    if policy is not None:
        _other(where, checked_name(policy, option="--policy"), first, output)
        return Exit.DONE
    begin = None if first is None else _entry(first, "--from")
    found = journaling.replayed(where, first=begin)
    after = [
        f"note: entries {begin} to {until} cannot be recomputed: some of them are erased"
        for begin, until in found.lost
    ]
    if found.tail:
        after.append(f"note: the journal ends inside a step, {found.tail} records before its end")
    print_answer(
        _replayed(found),
        output,
        title=f"herz audit replay {where}",
        columns=("figure", "value"),
        rows=[
            ("verdict", "the same" if found.first is None else _difference(found.first)),
            ("machines", str(found.starts)),
            ("inputs", str(found.inputs)),
            ("steps", str(found.steps)),
            ("records that are the same", str(found.records)),
            ("states that are the same", str(found.states)),
        ],
        after=after,
    )
    return Exit.DONE if found.first is None else Exit.NO


def _crossed(where: Where, first: str | None, policy: str | None, output: Output) -> int:
    """Print what this engine decides otherwise than the journal's."""
    for option, value in (("--from", first), ("--policy", policy)):
        if value is not None:
            fix = "leave one of them out: all is compared from the first entry, policy by policy"
            raise ConfigError(f"{option} with --cross-version", where=option, value=value, fix=fix)
    found = crossing.crossed(comparing.crossed(where))
    print_answer(
        crossing.plain(found),
        output,
        title=f"what this engine decides in {where}",
        columns=("decision", "pod", "then", "now", "differ", "by"),
        rows=crossing.rows(found),
        after=crossing.notes(found),
    )
    return Exit.DONE if found.same == found.decisions else Exit.NO


def _outside(found: Verified, trusted: Trust | None, where: Where) -> str:
    """What no outside memory covers, in words."""
    if trusted is None:
        return f"who has the key can have rewritten all {found.size} entries: see --trust, --since"
    if found.problem is not None:
        return "nothing is said of outside memory: the journal does not verify"
    return coverage(reader_of(where).notes(), found.size, trusted).statement


def _other(where: Where, policy: str, first: str | None, output: Output) -> None:
    """Print what another policy would have decided."""
    if first is not None:
        fix = "leave one of them out: another policy has no state of its own to begin with"
        raise ConfigError("--from with --policy", where="--from", value=first, fix=fix)
    counts = {"decisions": 0, "same": 0, "placed": 0, "placed_otherwise": 0}
    shown: list[Pair] = []
    for pair in comparing.otherwise(where, policy):
        counts["decisions"] += 1
        counts["same"] += pair.is_same
        counts["placed"] += pair.logged is not None and pair.logged.decided is Decided.PLACE
        other = pair.other
        counts["placed_otherwise"] += other is not None and other.decided is Decided.PLACE
        if not pair.is_same and len(shown) < DIFFERENCES_MAX:
            shown.append(pair)
    plain = [
        {
            "time_ns": pair.time_ns,
            "pod": pair.pod,
            "logged": _verdict(pair.logged),
            "other": _verdict(pair.other),
        }
        for pair in shown
    ]
    left = counts["decisions"] - counts["same"] - len(shown)
    print_answer(
        {**counts, "differences": plain},
        output,
        title=f"what {policy} would have decided",
        columns=("at", "pod", "the journal", policy),
        rows=[
            (f"{pair.time_ns / 1e9:.3f} s", pair.pod, _said(pair.logged), _said(pair.other))
            for pair in shown
        ],
        after=[
            f"{counts['same']} of {counts['decisions']} decisions are the same; "
            f"{counts['placed']} pods placed, and {counts['placed_otherwise']} by {policy}",
            *([f"note: {left} more differ"] if left else []),
        ],
    )


def _verdict(record: Record | None) -> dict[str, object] | None:
    if record is None:
        return None
    decided, node = str(record.decided), record.node
    return {"decided": decided, "node": node, "message": record.message}


def _said(record: Record | None) -> str:
    if record is None:
        return "nothing"
    return " ".join(part for part in (str(record.decided), record.node, record.message) if part)


def _entry(text: str, option: str) -> int:
    return parsed_integer(text, option=option, low=0, high=ENTRY_MAX)


def _verified(found: Verified, verdict: str, uncovered: int) -> dict[str, object]:
    problem = found.problem
    return {
        "verdict": verdict,
        "first": found.first,
        "size": found.size,
        "records": found.records,
        "checkpoints": found.checkpoints,
        "covered": found.covered,
        "vouched": found.vouched,
        "by": found.by,
        "uncovered": uncovered,
        "cut": found.cut,
        "follows": found.follows,
        "erased": [{"first": first, "last": last, "by": by} for first, last, by in found.erased],
        "problem": None
        if problem is None
        else {"first": problem.entry, "last": problem.last, "what": problem.what},
    }


def _replayed(found: Replayed) -> dict[str, object]:
    first = found.first
    return {
        "is_same": first is None,
        "machines": found.starts,
        "inputs": found.inputs,
        "steps": found.steps,
        "records": found.records,
        "states": found.states,
        "tail": found.tail,
        "lost": [list(ends) for ends in found.lost],
        "first": None
        if first is None
        else {
            "entry": first.entry,
            "logged": first.logged.decode(),
            "replayed": first.replayed.decode(),
        },
    }


def _difference(found: Difference) -> str:
    if not found.logged:
        return f"differs: at entry {found.entry} a record is missing"
    if not found.replayed:
        return f"differs: entry {found.entry} is a record that is not decided"
    return f"differs: the record at entry {found.entry} is decided otherwise"


def export(
    *,
    journal: JournalOption,
    form: Annotated[
        Format, Option("--format", help="A table's form; the journal's files; tiles.")
    ] = Format.CSV,
    to: Annotated[
        str | None,
        Option("--to", metavar="FILE|DIR", help="Write it there, not to stdout."),
    ] = None,
    with_payloads: Annotated[
        bool, Option("--with-payloads", help="Tiles with what their leaves commit to.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write every decision with what became of it as a row; or all of the journal, or its tiles."""
    where = journal_at(journal)
    count = exporting.export(reader_of(where), form, to, with_payloads=with_payloads)
    if to is not None:
        is_whole = form in exporting.FOLDERS
        counted, place = ("entries", "folder") if is_whole else ("decisions", "file")
        print_answer(
            {place: to, "format": str(form), counted: count},
            output,
            title=f"herz audit export {where}",
            columns=("figure", "value"),
            rows=[(counted, str(count)), (place, to)],
        )
