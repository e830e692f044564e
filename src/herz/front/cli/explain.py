"""`herz explain`: why a pod is where it is, or why it waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from herz.front import recorded
from herz.front.cli.declared import Argument, Option
from herz.front.cli.journals import FORM, journal_at
from herz.front.cli.options import (
    Output,
    OutputOption,
    checked_data,
    checked_name,
    parsed_load,
    parsed_seed,
)
from herz.front.cli.printing import print_answer
from herz.front.explain import (
    UNNAMED,
    Remembered,
    candidate_rows,
    notes,
    plain,
    recomputed_note,
    recomputed_plain,
    rows,
    said_of,
)
from herz.front.recorded import Logged, Told
from herz.model.record import Record
from herz.world.store.where import Where, indexed

if TYPE_CHECKING:
    from herz.recomputing import Recomputed

EXAMPLE = """Examples:

    herz explain shop/web-00633

    herz explain shop/web-00633 --node general-0020

    herz explain web-00001 --scenario shop --seed 7 --output json

    herz explain shop/web-00633 --journal DIR

    herz explain shop/web-00633 --journal DIR --node general-0020
"""


def explain(
    pod: Annotated[str, Argument(help="The pod's name, or namespace/name.")],
    *,
    node: Annotated[
        str | None, Option(metavar="NAME", help="Say what is known of this node.")
    ] = None,
    journal: Annotated[
        str | None, Option(metavar=FORM, help="The journal that tells; nothing is run.")
    ] = None,
    trust: Annotated[
        str | None,
        Option(metavar="FILE", help="With --journal: say when, by these witnesses."),
    ] = None,
    scenario: Annotated[
        str, Option(metavar="NAME|PATH", help="The scenario in which the pod is.")
    ] = "shop",
    policy: Annotated[
        str,
        Option(metavar="NAME|FILE", help="A built-in policy, or a file: all its profiles."),
    ] = "default",
    seed: Annotated[str, Option(metavar="N", help="Seed of the run.")] = "0",
    data: Annotated[
        str | None, Option(metavar="DIR", help="Folder of the trace, where one is replayed.")
    ] = None,
    list_name: Annotated[
        str | None, Option("--list", metavar="NAME", help="Which pod list of the trace.")
    ] = None,
    load: Annotated[
        str | None,
        Option(metavar="X", help="Arriving load over capacity, such as 1.3."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show every decision about a pod: where, why there, and what it waited for.

    From a journal; or the run is done again: the same scenario, policy and seed give the same
    records.
    """
    asked = checked_name(pod, option="POD")
    of_node = "" if node is None else checked_name(node, option="--node")
    if journal is not None:
        where = journal_at(journal)
        with indexed(where) as index:
            key, told = recorded.of_pod(index, asked)
            when = None if trust is None else recorded.logged(index, told, trust)
        again = _recomputed(where, told, of_node) if of_node else None
        _show(key, [one.record for one in told], of_node, output, told, when, again)
        return
    # Imported here: a journal tells without all that decides.
    from herz import app  # noqa: PLC0415
    from herz.front.cli.progress import shown_progress  # noqa: PLC0415

    kept = Remembered(asked)
    with shown_progress(is_table=output is Output.TABLE) as progress:
        app.run_simulation(
            scenario=checked_name(scenario, option="--scenario"),
            policy=checked_name(policy, option="--policy"),
            seed=parsed_seed(seed),
            runs=1,
            data=None if data is None else checked_data(data),
            list_name=None if list_name is None else checked_name(list_name, option="--list"),
            load=None if load is None else parsed_load(load),
            progress=progress,
            sinks=(kept,),
        )
    _show(*kept.records(), of_node, output)


def _recomputed(where: Where, told: Sequence[Told], node: str) -> Recomputed | None:
    """What the last decision in full would say of a node that its record does not name."""
    last = next((one for one in reversed(told) if not one.record.repeats), told[-1])
    if said_of(last.record, node) != UNNAMED:
        return None
    from herz.recomputing import recomputed  # noqa: PLC0415  # As above.

    return recomputed(where, last.record, last.entry, node)


def _show(
    key: str,
    records: list[Record],
    of_node: str,
    output: Output,
    told: Sequence[Told] = (),
    when: Sequence[Logged] | None = None,
    again: Recomputed | None = None,
) -> None:
    """Print the answer; `told`, `when` and `again` have what is known beyond the records."""
    answers = [
        f"outcome: decision {one.record.sequence}, {recorded.said(outcome)}"
        for one in told
        for _, outcome in one.outcomes
    ]
    if when is not None:
        answers += [
            f"decision {one.record.sequence}: {times.words}"
            for one, times in zip(told, when, strict=True)
        ]
    best = next((one for one in reversed(records) if one.plugins), None)
    print_answer(
        plain(key, records, of_node)
        | ({"outcomes": [recorded.plain(one)["outcomes"] for one in told]} if told else {})
        | ({} if when is None else {"logged": [times.plain for times in when]})
        | ({} if again is None else {"recomputed": recomputed_plain(again)}),
        output,
        title=f"herz explain {key}",
        columns=("decision", "at", "decided", "node", f"of {of_node}" if of_node else "why"),
        rows=rows(records, of_node),
        after=[*notes(records), *answers]
        if not of_node
        else [recomputed_note(again)]
        if again is not None
        else [],
    )
    if best is not None and not of_node and output is Output.TABLE:
        columns, candidates = candidate_rows(best)
        print_answer(
            None,
            output,
            title=f"the best nodes of decision {best.sequence}",
            columns=columns,
            rows=candidates,
        )
