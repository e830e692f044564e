"""`herz fuzz plugin`: cases in one process, and the same in processes with other hash seeds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from herz.errors import ConfigError
from herz.front.fuzz.child import Child
from herz.front.fuzz.rule_work import LARGE
from herz.front.fuzz.run import SEEDS

COMPARED: Final = 12
"""Cases whose answers are held against other processes."""
CASES_SHARE: Final = 0.7
"""Of the time; the rest is for other processes."""
CASES_MAX: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class RuleWish:
    """What the user asks for.

    Attributes:
        target: `MODULE:CLASS` or `FILE.py:CLASS`.
        args: the rule's arguments.
        seconds: how long.
        seed: of all chance.
        only: the number of the one case to try; None for all.
        cases: the most cases.
    """

    target: str
    args: Mapping[str, Any]
    seconds: float
    seed: int
    only: int | None = None
    cases: int = CASES_MAX


@dataclass(slots=True)
class RuleReport:
    """A run's outcome."""

    target: str
    seed: int
    clause: str = ""
    says: list[str] = field(default_factory=list)
    case: int | None = None
    cases: int = 0
    by_row_ns: dict[str, int] = field(default_factory=dict)
    is_confirmed: bool = False
    elapsed_ms: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether no clause was broken."""
        return not self.clause


def fuzz_rule(wish: RuleWish, tell: Callable[[str], None]) -> RuleReport:
    """Hold the rule to its contract.

    Raises:
        ConfigError: the rule cannot be loaded or made.
    """
    began = time.monotonic()
    report = RuleReport(wish.target, wish.seed)
    tell("the contract")
    _run(report, _job(wish, 0), SEEDS[0])
    if report.is_sound and wish.only is None:
        tell("other processes")
        _compare(report, wish)
    if report.clause and not report.is_confirmed and report.case is not None and wish.only is None:
        tell("confirming in a fresh process")
        again = RuleReport(wish.target, wish.seed)
        _run(again, {**_job(wish, 0), "only": report.case}, SEEDS[0])
        report.is_confirmed = again.clause == report.clause
    report.elapsed_ms = int((time.monotonic() - began) * 1000)
    return report


def _run(report: RuleReport, job: Mapping[str, Any], hash_seed: str) -> list[str]:
    """One process' cases; gives the digests of its answers."""
    digests: list[str] = []
    is_loaded = is_done = False
    with Child(job, {"PYTHONHASHSEED": hash_seed}) as child:
        for message in child.messages():
            is_loaded = is_loaded or "loaded" in message
            if "broken" in message:
                report.clause, report.says = message["broken"], list(message["says"])
                report.case = message["case"]
                report.is_confirmed = bool(message.get("is_confirmed"))
            if "digest" in message:
                digests.append(message["digest"])
            report.cases = max(report.cases, int(message.get("cases", 0)))
            report.by_row_ns |= message.get("by_row_ns", {})
            is_done = is_done or "done" in message
    if not is_loaded:
        fix = "look at what its module does when it is imported"
        what = "its module ends the process, or does not end loading"
        raise ConfigError(what, where="PLUGIN", value=report.target, fix=fix)
    if not is_done and not report.clause:
        report.clause = "does not answer in time" if child.is_stuck else "ends its process"
    return digests


def _compare(report: RuleReport, wish: RuleWish) -> None:
    job = {**_job(wish, COMPARED), "cases": COMPARED}
    told = [_run(report, job, seed) for seed in SEEDS[:2]]
    for number, (one, two) in enumerate(zip(*told, strict=False), LARGE):
        if one != two:
            report.clause = "depends on the process or its hash seed"
            report.says = [f"case {number} has other answers with PYTHONHASHSEED={SEEDS[1]}"]
            report.case = number
            report.is_confirmed = True
            return


def _job(wish: RuleWish, answers: int) -> dict[str, Any]:
    place, _, name = wish.target.rpartition(":")
    if place.endswith(".py"):
        place = os.path.abspath(place)
    return {
        "job": "rule",
        "target": f"{place}:{name}" if place else wish.target,
        "args": dict(wish.args),
        "seed": wish.seed,
        "seconds": wish.seconds * CASES_SHARE,
        "cases": wish.cases,
        "only": wish.only,
        "answers": answers,
        "folder": os.getcwd(),
    }
