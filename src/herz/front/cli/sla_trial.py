"""`herz sla trial`: the test by which a live scheduler promotes a model, on files or a journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

from herz.errors import ConfigError
from herz.feedback.adjust.rows import POLICY, outcomes_of
from herz.feedback.adjust.trials import (
    CLUSTERS_MIN,
    OUTCOMES_MIN,
    VIOLATIONS_MIN,
    Trial,
    Verdict,
)
from herz.feedback.observe.promises import PlacementOutcome
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit
from herz.front.cli.journals import FORM, journal_at
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer
from herz.front.promises import Format, read_model, read_outcomes
from herz.judging import outcomes, tried
from herz.knowledge.sla.learning.dataset import parse_objective
from herz.knowledge.sla.learning.evaluation import seen_rows
from herz.knowledge.sla.model import Model

TRIAL: Final = """Examples:

    herz sla trial --candidate new.model --incumbent old.model --data later.csv --format csv

    herz sla trial --journal DIR
"""
NUMBER_MAX: Final = 1_000_000
_WORDS: Final = {
    "promote": "the candidate is better: it would be promoted",
    "keep": "the candidate is not shown to be better: it would not be promoted",
    "wait": "too little to judge by: nothing would be promoted yet",
}


def trial(
    *,
    candidate: Annotated[str | None, Option(metavar="FILE", help="The model on trial.")] = None,
    incumbent: Annotated[str | None, Option(metavar="FILE", help="The model in force.")] = None,
    data: Annotated[
        str | None, Option(metavar="FILE", help="Outcomes that neither has seen.")
    ] = None,
    form: Annotated[Format | None, Option("--format", help="Their form.")] = None,
    journal: Annotated[
        str | None,
        Option(metavar=FORM, help="Take what both said, and what came of it, from here."),
    ] = None,
    objective: Annotated[
        str | None, Option(metavar="TEXT", help="The promise; the candidate's by default.")
    ] = None,
    number: Annotated[
        int | None,
        Option(metavar="K", help="How many candidates there have been, with this one."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Judge a candidate as a live scheduler does. Exit code 1 if it would not be promoted.

    A journal says itself which models were tried, and how many before; a file says neither.
    """
    if number is not None and not 1 <= number <= NUMBER_MAX:
        fix = f"count from 1, up to {NUMBER_MAX}"
        raise ConfigError("out of range", where="--number", value=number, fix=fix)
    if (journal is None) == (data is None):
        fix = "give --data FILE or --journal DIR"
        what = "no outcomes" if data is None else "outcomes of two places"
        raise ConfigError(what, where="herz sla trial", fix=fix)
    theirs = None if candidate is None else read_model(candidate, "--candidate")
    ours = None if incumbent is None else read_model(incumbent, "--incumbent")
    if journal is not None:
        if form is not None or objective is not None or number is not None:
            fix = "leave --format, --objective and --number out: the journal tells them"
            raise ConfigError("options of a file", where="--journal", fix=fix)
        return _of_journal(journal, theirs, ours, output)
    if data is None or theirs is None or ours is None or form is None:
        fix = "give --candidate, --incumbent, --data and --format"
        raise ConfigError("an option is missing", where="herz sla trial", fix=fix)
    return _of_file(theirs, ours, data, form, objective, number or 1, output)


def _of_file(
    theirs: Model,
    ours: Model,
    data: str,
    form: Format,
    objective: str | None,
    number: int,
    output: Output,
) -> int:
    promise = parse_objective(objective or theirs.body.manifest.objective)
    named = None if form is Format.RECORDS else theirs.feature_set
    rows = read_outcomes(data, form, promise, named)
    seen = max(seen_rows(model, rows) for model in (theirs, ours))
    if seen:
        print_answer(
            {"seen": seen, "n": len(rows), "refused": "rows that a model was trained on"},
            output,
            title="herz sla trial",
            columns=("figure", "value"),
            rows=[("rows", str(len(rows))), ("of these trained on", str(seen))],
            after=["not judged: give rows from after the training of both"],
        )
        return Exit.NO
    judge = Trial(POLICY, number)
    found = _judged(judge, outcomes_of(ours, theirs, rows, promise))
    return _tell(found, number, theirs.digest, ours.digest, output)


def _of_journal(journal: str, theirs: Model | None, ours: Model | None, output: Output) -> int:
    where = journal_at(journal)
    found = tried(where, *(None if one is None else one.digest for one in (theirs, ours)))
    if found is None:
        fix = "name the candidate and the model of a policy that the journal has, or neither"
        raise ConfigError("no such trial", where="--journal", value=journal, fix=fix)
    verdict = _judged(Trial(found.policy, found.number), outcomes(where))
    return _tell(verdict, found.number, found.candidate, found.incumbent, output)


def _judged(judge: Trial, found: Iterable[PlacementOutcome]) -> Verdict:
    """The verdict: it stands with the first outcome that is enough, whatever comes then."""
    for outcome in found:
        if judge.add(outcome).says != "wait":
            break
    return judge.verdict


def _tell(verdict: Verdict, number: int, theirs: str, ours: str, output: Output) -> int:
    content: dict[str, Any] = {
        "says": verdict.says,
        "number": number,
        "candidate": theirs,
        "incumbent": ours,
        "outcomes": verdict.outcomes,
        "violations": verdict.violations,
        "clusters": verdict.clusters,
        "brier_improvement": verdict.mean if verdict.says != "wait" else None,
        "low": verdict.low,
        "error": verdict.error,
    }
    rows = [
        ("candidate", f"{theirs}, number {number}"),
        ("incumbent", ours),
        ("outcomes", f"{verdict.outcomes} of {OUTCOMES_MIN}"),
        ("violations", f"{verdict.violations} of {VIOLATIONS_MIN}"),
        ("pods or windows, the fewer", f"{verdict.clusters} of {CLUSTERS_MIN}"),
    ]
    if verdict.says != "wait":
        low = "undefined" if verdict.low is None else f"{verdict.low:.5f}"
        rows.append(("Brier improvement", f"{verdict.mean:.5f}"))
        rows.append((f"at least, one-sided at {verdict.error:g}", low))
    print_answer(
        content,
        output,
        title="herz sla trial",
        columns=("figure", "value"),
        rows=rows,
        after=[_WORDS[verdict.says]],
    )
    return Exit.DONE if verdict.says == "promote" else Exit.NO
