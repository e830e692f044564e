"""The model's card: what it is, what it was made of, and how far to trust it.

Markdown, with plots as SVG files of their own beside it: the same model and data give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from herz.knowledge.sla.learning.dataset import Dataset
from herz.knowledge.sla.learning.evaluation import Report, objective_of
from herz.knowledge.sla.model import Model

SIDE: Final = 360
EDGE: Final = 48
STRONGEST: Final = 10


def card(
    model: Model, data: Dataset, reports: Sequence[Report], *, stem: str
) -> tuple[str, Mapping[str, str]]:
    """The card, and its plots by file name.

    Args:
        model: whose card it is.
        data: what it was trained on, or rows like these.
        reports: figures of `evaluation.figures` with the key `cv`.
        stem: starts the names of the plots' files.
    """
    plots = {f"{stem}-{report['cv']}.svg": reliability_plot(report) for report in reports}
    manifest = model.body.manifest
    lines = [
        f"# Model of `{manifest.objective}`, features `{model.feature_set}`",
        "",
        f"`{model.digest}`",
        "",
        "## What it answers",
        "",
        f"How likely one service keeps `{manifest.objective}` on a node, from the node's state "
        f"before the service's load comes. {_targets(model)} For states unlike those learned it "
        "abstains, and the decision is made as if the chance were at most the average.",
        "",
        "## What it was made of",
        "",
        f"- {manifest.rows} outcomes in {manifest.groups} groups that share a state, in "
        f"{manifest.sessions} sessions. The effective sample is the groups and sessions, not the "
        f"rows. {manifest.base_rate / 100:g} % of the promises were kept.",
        f"- Services: {', '.join(model.body.scope.services)}. Machine types: "
        f"{', '.join(name or 'not named' for name in model.body.scope.machines)}." + _narrow(model),
        *(f"- Left out: {note}." for note in manifest.notes),
        "- " + ", ".join(f"{name} {value}" for name, value in manifest.settings) + ".",
        "",
        "## How good it is",
        "",
        "Each answer is by a model trained, tuned and calibrated without the row's unit. Intervals "
        "are 95 %, by bootstrap over sessions; the skill is against the base rate of these rows.",
        "",
        *_table(reports),
    ]
    for report, plot in zip(reports, plots, strict=True):
        lines += ["", f"### Held out by {report['cv']}", "", f"![reliability]({plot})", ""]
        lines += _reliability(report)
        lines += ["", *_alike(report)]
    lines += ["", "## What moves it", "", *_moves(model, data)]
    return "\n".join(lines) + "\n", plots


def _targets(model: Model) -> str:
    if model.kind == "completion":
        return "A pod completes in time, or does not: whatever share of them is promised."
    low, high = model.targets
    quiet = f"the quiet indicator of {model.body.manifest.quiet_ns / 1e6:g} ms"
    return (
        f"It answers for targets from {_times(low)} to {_times(high)} times {quiet}, and abstains "
        "for others."
    )


def reliability_plot(report: Report) -> str:
    """Said against observed, as SVG; a point's area is its share of the rows."""
    whole = SIDE + 2 * EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{whole}" height="{whole}" fill="#ffffff"/>',
        f'<path d="M{_x(0)} {_y(0)}H{_x(1)}M{_x(0)} {_y(0)}V{_y(1)}" stroke="#444" fill="none"/>',
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#999" stroke-dasharray="5 4"/>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        label = f"{share * 100:g}"
        parts.append(f'<text x="{_x(share)}" y="{_y(0) + 18}" text-anchor="middle">{label}</text>')
        parts.append(f'<text x="{_x(0) - 8}" y="{_y(share) + 4}" text-anchor="end">{label}</text>')
    middle = EDGE + SIDE / 2
    parts.append(
        f'<text x="{middle}" y="{whole - 10}" text-anchor="middle">'
        "said: the promise is kept, %</text>"
    )
    parts.append(
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "observed, %</text>"
    )
    parts.append(
        f'<text x="{middle}" y="24" text-anchor="middle" font-weight="bold">'
        f"Held out by {report['cv']}: AUC {_plain(report['auc'])}, "
        f"Brier {_plain(report['brier'])}</text>"
    )
    for each in report["reliability"]:
        radius = 3 + 22 * (each["n"] / report["n"]) ** 0.5
        parts.append(
            f'<circle cx="{_x(each["predicted"])}" cy="{_y(each["observed"])}" r="{radius:.1f}" '
            'fill="#2563eb" fill-opacity="0.55" stroke="#1e3a8a">'
            f"<title>{each['n']} rows, {each['groups']} groups</title></circle>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(share: float) -> float:
    return round(EDGE + share * SIDE, 1)


def _y(share: float) -> float:
    return round(EDGE + (1 - share) * SIDE, 1)


def _times(ratio: int) -> str:
    return f"{np.exp(ratio / 1024):.2g}"


def _narrow(model: Model) -> str:
    scope = model.body.scope
    if len(scope.services) == 1 and len(scope.machines) == 1:
        return " One service on one machine type: elsewhere every answer is an extrapolation."
    return ""


def _table(reports: Sequence[Report]) -> list[str]:
    """A column for each cut."""
    rows = [["figure", *(f"by {report['cv']}" for report in reports)]]

    def row(name: str, told: Any) -> None:
        rows.append([name, *(told(report) for report in reports)])

    row("outcomes, groups, sessions", lambda r: f"{r['n']}, {r['groups']}, {r['sessions']}")
    row("base rate", lambda r: f"{r['base_rate']:.3f}")
    row("abstained", lambda r: str(r["abstained"]))
    row("AUC", lambda r: _with_span(r["auc"], *r["auc_interval"]))
    row("Brier score", lambda r: _plain(r["brier"]))
    row("Brier skill", lambda r: _plain(r["brier_skill"]))
    for name in reports[0]["baselines"]:
        row(
            f"`{name}`: AUC, Brier",
            lambda r, name=name: (
                f"{_plain(r['baselines'][name]['auc'])}, {_plain(r['baselines'][name]['brier'])}"
            ),
        )
    row("AUC over the better rival", _paired)
    head, *rest = [f"| {' | '.join(cells)} |" for cells in rows]
    return [head, "|" + "---|" * len(rows[0]), *rest]


def _paired(report: Report) -> str:
    paired = report["paired_difference"]
    if paired is None:
        return "undefined"
    span = _with_span(paired["mean"], paired["low"], paired["high"])
    return f"{span} over `{paired['against']}`"


def _reliability(report: Report) -> list[str]:
    lines = ["| said, % | observed, % | rows | groups |", "|---|---|---|---|"]
    return lines + [
        f"| {100 * each['predicted']:.1f} | {100 * each['observed']:.1f} | {each['n']} | "
        f"{each['groups']} |"
        for each in report["reliability"]
    ]


def _alike(report: Report) -> list[str]:
    alike = report["groups_of_one_kind"]
    return [
        f"{len(alike['kept'])} groups kept the promise at every load and {len(alike['broken'])} at "
        "none: within them there is nothing to rank."
    ]


def _moves(model: Model, data: Dataset) -> list[str]:
    """The features by their mean absolute part of the log-odds over the data."""
    ratio = model.ratio_of(objective_of(model).target_ns)
    total: dict[str, int] = {}
    for row in data.rows:
        for name, part in model.contributions(row, ratio).items():
            total[name] = total.get(name, 0) + abs(part)
    total.pop("base", None)
    names = sorted(total, key=lambda name: (-total[name], name))[:STRONGEST]
    specs = {spec.name: spec for spec in model.features}
    lines = ["| feature | mean part of the log-odds | what it is |", "|---|---|---|"]
    for name in names:
        spec = specs.get(name)
        what = f"{spec.source}, {spec.unit}" if spec else "target over quiet indicator"
        lines.append(f"| `{name}` | {total[name] / len(data) / (1 << 20):.3f} | {what} |")
    return lines


def _with_span(value: float | None, low: float | None, high: float | None) -> str:
    return (
        _plain(value) if low is None or high is None else f"{_plain(value)} [{low:.3f}, {high:.3f}]"
    )


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
