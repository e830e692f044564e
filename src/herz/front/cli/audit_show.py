"""`herz audit show`: decisions as they are kept."""

from __future__ import annotations

from typing import Annotated

from herz.front import recorded
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import JournalOption, journal_at
from herz.front.cli.options import ENTRY_MAX, Output, OutputOption, checked_name, parsed_integer
from herz.front.cli.printing import print_answer
from herz.world.store.where import indexed

SHOW = """Examples:

    herz audit show 1000 --journal DIR

    herz audit show shop/web-00633 --journal DIR --output json
"""


def show(
    what: Annotated[
        str,
        Argument(
            metavar="DECISION|POD", help="A decision's number, or a pod: name, or namespace/name."
        ),
    ],
    *,
    journal: JournalOption,
    trust: Annotated[
        str | None, Option("--trust", metavar="FILE", help="Say when, by these witnesses.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show decisions as they are kept, with the API's answers."""
    where = journal_at(journal)
    asked = checked_name(what, option="DECISION|POD")
    with indexed(where) as index:
        if asked.isascii() and asked.isdigit():
            told = [
                recorded.decision(
                    index, parsed_integer(asked, option="DECISION", low=1, high=ENTRY_MAX)
                )
            ]
        else:
            _, told = recorded.of_pod(index, asked)
        logged = [None] * len(told) if trust is None else recorded.logged(index, told, trust)
    if output is not Output.TABLE:
        plain = [
            recorded.plain(one) | ({} if times is None else {"logged": times.plain})
            for one, times in zip(told, logged, strict=True)
        ]
        print_answer(plain, output, title="", columns=(), rows=())
        return
    for one, times in zip(told, logged, strict=True):
        print_answer(
            None,
            output,
            title=f"decision {one.record.sequence}",
            columns=("field", "value"),
            rows=recorded.rows(one),
            after=[] if times is None else [times.words],
        )
