"""What all rules say of one node: more than a decision says of it, and without its haste.

A decision stops at the first rule that refuses a node, and its record names the best nodes only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.answers import RuleError
from herz.place.framework import Framework
from herz.place.sheet import Sheet
from herz.place.whatif import first_code
from herz.plugin import View


@dataclass(frozen=True, slots=True)
class About:
    """What the rules say of a node, to one pod.

    Args:
        refusals: (rule, its words) of each rule that refuses it; empty: the pod fits there.
        points: weighted points by rule, where it fits.
        total: their sum.
        rank: 1 for the node with the most points, its equals included; 0 where it does not fit.
        among: on how many nodes the pod fits.
    """

    refusals: tuple[tuple[str, tuple[str, ...]], ...] = ()
    points: tuple[tuple[str, int], ...] = ()
    total: int = 0
    rank: int = 0
    among: int = 0


def about(framework: Framework, pod: PodInfo, row: int, view: View) -> About:
    """Ask all rules about one row. Nothing is changed, but for what the framework keeps anyway.

    Raises:
        RuleError: a rule failed.
    """
    sheet = framework.sheet(pod)
    if not isinstance(sheet, Sheet):
        return About(refusals=((sheet.plugin, sheet.reasons),))
    table = sheet.table
    if sheet.rows is not None and row not in sheet.rows:
        words = ("the pod may only go to other nodes, by name",)
        return About(refusals=tuple((by, words) for by in sheet.narrowed_by), among=table.fits)
    refusals = []
    for asked in sheet.filters:
        code = first_code([asked], view, np.array([row], np.int64))
        if code:
            refusals.append((asked.rule.name, framework.book.verdict(code).reasons))
    if not refusals and sheet.code(row) != 0:
        refusals.append(("Nominations", ("its room is left to pods that are nominated there",)))
    if refusals:
        return About(refusals=tuple(refusals), among=table.fits)
    if sheet.failed is not None:
        raise RuleError(sheet.failed.plugin, "; ".join(sheet.failed.reasons))
    at = row if sheet.rows is None else int(np.flatnonzero(sheet.rows == row)[0])
    totals, fitting = table.totals(), table.fitting()
    weighed = enumerate(zip(sheet.score_names, sheet.weights, strict=True))
    return About(
        points=tuple((name, weight * int(table.points(n)[at])) for n, (name, weight) in weighed),
        total=int(totals[at]),
        rank=1 + int((totals[fitting] > totals[at]).sum()),
        among=table.fits,
    )
