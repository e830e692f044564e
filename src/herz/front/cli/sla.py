"""`herz sla`: models of promises, from outcomes to figures."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from herz.errors import ConfigError
from herz.front.atomic import checked_target, write_whole
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer
from herz.front.promises import Format, read_model, read_outcomes
from herz.knowledge.sla.learning.card import card as card_of
from herz.knowledge.sla.learning.dataset import Dataset, parse_objective
from herz.knowledge.sla.learning.evaluation import (
    Report,
    answers_of,
    cross_validate,
    extrapolated,
    figures,
    objective_of,
    seen_rows,
)
from herz.knowledge.sla.learning.training import train as train_model
from herz.knowledge.sla.model import Model, strongest

TRAIN = """Examples:

    herz sla train --data runs.csv.gz --format nginx-interference --objective 'p99_ms<=1'
    --cv session -o p99.model

    herz sla train --data outcomes.jsonl --format records --objective 'p99_ms<=100' -o p99.model
"""
EVALUATE = """Example:

    herz sla evaluate --model p99.model --data new.csv.gz --format nginx-interference --output json
"""
PREDICT = """Example:

    herz sla predict --model p99.model --data new.csv.gz --format nginx-interference
"""
CARD = """Example:

    herz sla card --model p99.model --data runs.csv.gz --format nginx-interference -o card.md
"""
CUTS = ("session", "family", "campaign")


DataOption = Annotated[str, Option("--data", metavar="FILE", help="The outcomes.")]
FormatOption = Annotated[Format, Option("--format", help="Their form.")]
ModelOption = Annotated[str, Option("--model", metavar="FILE", help="The model.")]
FeaturesOption = Annotated[
    str | None,
    Option("--features", metavar="NAME", help="The features to make of the data."),
]


def train(
    *,
    data: DataOption,
    form: FormatOption,
    objective: Annotated[str, Option(metavar="TEXT", help="The promise, such as p99_ms<=1.")],
    features: FeaturesOption = None,
    cut: Annotated[
        str | None,
        Option("--cv", metavar="UNIT", help="Judge it too: by session, family or campaign."),
    ] = None,
    target: Annotated[
        str | None, Option("-o", "--model-file", metavar="FILE", help="Write the model here.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Learn a model of a promise from outcomes; judge it on units that it has not seen."""
    by = _checked_cut(cut)
    promise = parse_objective(objective)
    if target is None and cut is None:
        fix = "give -o FILE for a model, --cv UNIT for figures, or both"
        raise ConfigError("nothing to do", where="herz sla train", fix=fix)
    path = checked_target(target, option="-o") if target is not None else None
    outcomes = read_outcomes(data, form, promise, features)
    answer: Report = {}
    if cut is not None:
        found = cross_validate(outcomes, promise, by=by, tell=_tell(by))
        answer = {"cv": by, **figures(outcomes, promise, found)}
    if path is not None:
        model = train_model(outcomes, promise, by=by)
        write_whole(path, model.dump().decode())
        answer = {**answer, "model": _model_answer(model)}
    _print_report(answer, output, f"herz sla train {data}")


def evaluate(
    *,
    model: ModelOption,
    data: DataOption,
    form: FormatOption,
    allow_seen: Annotated[
        bool, Option("--allow-seen", help="Judge rows that it was trained on, and say so.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Judge a model on outcomes. The answer is no (exit code 1) on rows that it has seen."""
    judged = read_model(model)
    promise = objective_of(judged)
    outcomes = _outcomes_for(judged, data, form)
    seen = seen_rows(judged, outcomes)
    if seen and not allow_seen:
        print_answer(
            {"seen": seen, "n": len(outcomes), "refused": "rows that the model was trained on"},
            output,
            title=f"herz sla evaluate {model}",
            columns=("figure", "value"),
            rows=[("rows", str(len(outcomes))), ("of these trained on", str(seen))],
            after=["not judged: give rows that it has not seen, or --allow-seen"],
        )
        return Exit.NO
    answer = figures(outcomes, promise, answers_of(judged, outcomes, promise))
    answer = {
        **answer,
        "seen": seen,
        "extrapolated": extrapolated(judged, outcomes),
        "model": _model_answer(judged),
    }
    _print_report(answer, output, f"herz sla evaluate {model}")
    return Exit.DONE


def predict(
    *,
    model: ModelOption,
    data: DataOption,
    form: FormatOption,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say for each row how likely the promise is kept, and what moved the answer."""
    asked = read_model(model)
    promise = objective_of(asked)
    outcomes = _outcomes_for(asked, data, form)
    ratio = asked.ratio_of(promise.target_ns)
    chance, is_known = asked.decide(outcomes.rows, ratio)
    rows = [
        {
            "group": str(outcomes.group[at]),
            "load": int(outcomes.load[at]),
            "probability_basis_points": int(chance[at]),
            "abstained": not is_known[at],
            "moved_by": dict(strongest(asked.contributions(outcomes.rows[at], ratio))),
        }
        for at in range(len(outcomes))
    ]
    print_answer(
        {"model": asked.digest, "objective": promise.text, "rows": rows},
        output,
        title=f"herz sla predict {data}: {promise.text}",
        columns=("group", "load", "value", "known", "moved by"),
        rows=[
            (
                str(row["group"]),
                str(row["load"]),
                f"{chance[at] / 100:.2f} %",
                "no" if row["abstained"] else "yes",
                _moves(asked, outcomes, at, ratio),
            )
            for at, row in enumerate(rows)
        ],
        after=["moved by: the strongest three, in units of log-odds"],
    )


def card(
    *,
    model: ModelOption,
    data: DataOption,
    form: FormatOption,
    target: Annotated[
        str, Option("-o", "--card-file", metavar="FILE", help="Write the card here.")
    ],
    cut: Annotated[
        list[str] | None,
        Option("--cv", metavar="UNIT", help="Judge it by these; may be repeated."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write the model's card in Markdown, with its plots: what it is, and how far to trust it."""
    asked = read_model(model)
    promise = objective_of(asked)
    path = checked_target(target, option="-o")
    cuts = [_checked_cut(each) for each in cut or ["session"]]
    outcomes = _outcomes_for(asked, data, form)
    reports = []
    for by in cuts:
        found = cross_validate(outcomes, promise, by=by, tell=_tell(by))
        reports.append({"cv": by, **figures(outcomes, promise, found)})
    text, plots = card_of(asked, outcomes, reports, stem=path.stem)
    for name, drawing in plots.items():
        write_whole(path.parent / name, drawing)
    write_whole(path, text)
    print_answer(
        {"card": path.name, "plots": list(plots), "figures": reports},
        output,
        title=f"herz sla card {model}",
        columns=("file",),
        rows=[(path.name,), *((name,) for name in plots)],
    )


def _outcomes_for(model: Model, data: str, form: Format) -> Dataset:
    """The data, with the model's features."""
    named = None if form is Format.RECORDS else model.feature_set
    return read_outcomes(data, form, objective_of(model), named)


def _checked_cut(cut: str | None) -> str:
    if cut is not None and cut not in CUTS:
        raise ConfigError("no such cut", where="--cv", value=cut, fix=f"use {', '.join(CUTS)}")
    return cut or "session"


def _tell(by: str) -> Any:
    """Says on stderr which unit is held out: a run takes minutes."""

    def tell(unit: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"without {by} {unit}\n")

    return tell


def _model_answer(model: Model) -> Report:
    manifest = model.body.manifest
    return {
        "digest": model.digest,
        "feature_set": model.feature_set,
        "objective": manifest.objective,
        "trees": len(model.body.forest.roots),
        "nodes": len(model.body.forest.feature),
        "bytes": len(model.dump()),
        "rows": manifest.rows,
        "groups": manifest.groups,
        "sessions": manifest.sessions,
    }


def _moves(model: Model, data: Dataset, at: int, ratio: int) -> str:
    parts = strongest(model.contributions(data.rows[at], ratio))
    return ", ".join(f"{name} {part / (1 << 20):+.2f}" for name, part in parts)


def _print_report(answer: Report, output: Output, title: str) -> None:
    model, paired = answer.get("model"), answer.get("paired_difference")
    rows = []
    if "n" in answer:
        rows += [
            (
                "outcomes",
                f"{answer['n']} ({answer['groups']} groups, {answer['sessions']} sessions)",
            ),
            ("kept", _share(answer["base_rate"])),
            ("abstained", str(answer["abstained"])),
            ("AUC", f"{_number(answer['auc'])} {_span(answer['auc_interval'])}"),
            ("Brier score", _number(answer["brier"])),
            ("Brier skill", _number(answer["brier_skill"])),
        ]
        rows += [
            (f"AUC of {name}", f"{_number(each['auc'])} (Brier {_number(each['brier'])})")
            for name, each in answer["baselines"].items()
        ]
    if paired:
        span = _span((paired["low"], paired["high"]))
        rows.append((f"AUC over {paired['against']}", f"{_number(paired['mean'])} {span}"))
    if model:
        rows += [("model", model["digest"]), ("trees", str(model["trees"]))]
    if answer.get("seen"):
        rows.append(("rows trained on", str(answer["seen"])))
    rows += [("extrapolated", each) for each in answer.get("extrapolated", ())]
    after = ["intervals: 95 %, by bootstrap over sessions"] if "n" in answer else []
    print_answer(answer, output, title=title, columns=("figure", "value"), rows=rows, after=after)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _share(value: float) -> str:
    return f"{value * 100:.1f} %"


def _span(pair: Any) -> str:
    low, high = pair
    return "" if low is None else f"[{low:.4f}, {high:.4f}]"
