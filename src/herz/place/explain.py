"""Why no node fits, in Kubernetes' words, and with the nodes' names beside each reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from herz.model.record import Rejection, Stage
from herz.place.columns import NodeTable
from herz.place.outcome import NoFit
from herz.place.sheet import Sheet
from herz.plugin import Kind, ReasonBook, Verdict

NO_NODES: Final = "Nodes"
"""What rejects pods in a cluster without nodes; a node that comes wakes them."""
NAMES_MAX: Final = 10
"""Bound: node names beside one reason."""


def fit_error(count: int, reasons: Iterable[tuple[str, int]]) -> str:
    """Kubernetes' FitError: `0/5 nodes are available: 2 Insufficient cpu, 3 ...`."""
    texts = sorted(f"{number} {reason}" for reason, number in reasons)
    head = f"0/{count} nodes are available:"
    return f"{head} {', '.join(texts)}." if texts else head


def rejected_everywhere(verdict: Verdict, count: int) -> NoFit:
    """The answer when a rule rejects the pod for all nodes before looking at any."""
    text = ", ".join(verdict.reasons)
    is_waiting = verdict.kind is Kind.WAIT
    return NoFit(
        kind=verdict.kind,
        message=f"0/{count} nodes are available: {text}.",
        rejections=(Rejection(count, (), verdict.plugin, text),),
        rejected_by=() if is_waiting else (verdict.plugin,),
        pending_by=(verdict.plugin,) if is_waiting else (),
        path=(Stage(into=count, out=0, reasons=((text, count),), stage="filter"),),
    )


def no_node(count: int) -> NoFit:
    """The answer in a cluster without nodes, in Kubernetes' words."""
    return NoFit(
        kind=Kind.NEVER_FITS,
        message="no nodes available to schedule pods",
        rejections=(),
        rejected_by=(NO_NODES,),
        pending_by=(),
        path=(Stage(into=count, out=0, stage="filter"),),
    )


def no_fit(sheet: Sheet, nodes: NodeTable, book: ReasonBook) -> NoFit:
    """The answer when every row of the sheet was rejected."""
    verdicts = [(code, book.verdict(code), count) for code, count in sheet.table.histogram()]
    named = _named(sheet, nodes, [code for code, _, _ in verdicts])
    rejections: dict[tuple[str, str], tuple[int, list[str]]] = {}
    for code, verdict, count in verdicts:
        for reason in verdict.reasons:
            number, names = rejections.setdefault((verdict.plugin, reason), (0, []))
            rejections[(verdict.plugin, reason)] = (number + count, names + named[code])
    kinds = {verdict.kind for _, verdict, _ in verdicts}
    rejected_by = {verdict.plugin for _, verdict, _ in verdicts}
    outside = nodes.count - sheet.table.size if sheet.narrowed_by else 0
    if outside:
        plugins = ", ".join(sheet.narrowed_by)
        reason = f"node(s) didn't satisfy plugin(s) [{plugins}]"
        rejections[(plugins, reason)] = (outside, [])
        rejected_by.update(sheet.narrowed_by)
    return NoFit(
        kind=Kind.UNFIT if Kind.UNFIT in kinds else Kind.NEVER_FITS,
        message=fit_error(
            nodes.count, ((reason, count) for (_, reason), (count, _) in rejections.items())
        ),
        rejections=tuple(
            Rejection(count, tuple(sorted(names)[:NAMES_MAX]), plugin, reason)
            for (plugin, reason), (count, names) in sorted(rejections.items())
        ),
        rejected_by=tuple(sorted(rejected_by)),
        pending_by=(),
        path=(filter_stage(sheet, nodes, book),),
    )


def filter_stage(sheet: Sheet, nodes: NodeTable, book: ReasonBook) -> Stage:
    """How many nodes the filters saw and passed, and why not the others."""
    histogram, count = sheet.table.histogram(), len(nodes.rows)
    key = (count, histogram)
    if sheet.stage is not None and sheet.stage[0] == key:
        return sheet.stage[1]
    reasons: Counter[str] = Counter()
    for code, number in histogram:
        for reason in book.verdict(code).reasons:
            reasons[reason] += number
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    stage = Stage(into=count, out=sheet.table.fits, reasons=tuple(ordered), stage="filter")
    sheet.stage = (key, stage)
    return stage


def _named(sheet: Sheet, nodes: NodeTable, codes: list[int]) -> dict[int, list[str]]:
    """Up to NAMES_MAX names for each code: chosen by their names' hashes."""
    first = sheet.table.first()
    named = {}
    for code in codes:
        found = np.flatnonzero(first == code)
        at = found if sheet.rows is None else sheet.rows[found]
        if len(at) > NAMES_MAX:
            # By the names' hashes: rows would tell in which order the nodes came.
            at = at[np.argpartition(nodes.keys[at], NAMES_MAX)[:NAMES_MAX]]
        named[code] = [nodes.name(int(row)) for row in at]
    return named
