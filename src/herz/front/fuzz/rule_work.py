"""In a candidate's process: holds a rule to its contract, case by case."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from herz.errors import ConfigError
from herz.front.fuzz.guard import Watchdog
from herz.front.fuzz.perturb import NOON, set_to
from herz.front.fuzz.shims import clock, cpu_clock
from herz.front.fuzz.target import load_thing
from herz.intake.arrive import Arrivals
from herz.intake.fuzz import Asked, words_of
from herz.intake.fuzz.asking import StopAsking
from herz.model.objects import Pod
from herz.model.podinfo import PodInfo
from herz.place.fuzz import Broken, Clause, Draft, RuleCase, check_case
from herz.plugin import Filter, Plugin, Reading, Score, Skip, Verdict

WHERE: Final = "PLUGIN"
SIZE_MAX: Final = 12
BY_SIZE: Final = 6
"""Cases of each size, from one node on."""
LARGE: Final = BY_SIZE * (SIZE_MAX - 1)
"""The first case of the largest size: those that are held against other processes."""
CASE_CPU_SECONDS: Final = 10.0
HOUR_NS: Final = 3_600_000_000_000
ROWS: Final = (512, 4096)
COST_SHARE: Final = 0.3
"""Of the time for cases: then the cost by row is tried, which takes long where it is too dear."""
ROUNDS: Final = 6
COST_FACTOR: Final = 3.0
COST_SECONDS: Final = 0.05
"""A rule is too dear when 8 times the rows cost more than 3 times as much by row, and so long: in
the square of the rows it would be 8, less what each row costs alone; in n log n 1.3."""

Tell = Callable[..., None]


def case_of(name: str, args: dict[str, Any]) -> RuleCase:
    """The rule of `MODULE:CLASS`, ready to be checked.

    Raises:
        ConfigError: it is not there, or it is no rule.
    """
    make = load_thing(name, where=WHERE)
    is_rule = callable(make) and (isinstance(getattr(make, "name", None), str) or callable(make))
    if not is_rule or (isinstance(make, type) and not isinstance(getattr(make, "name", 0), str)):
        fix = "name a class that has `name` and names Protocols of herz.plugin as bases"
        raise ConfigError("not a rule", where=WHERE, value=name, fix=fix)
    return RuleCase(make, args, words_of(make).texts, read_with)


def read_with(sign: Callable[[PodInfo], bytes]) -> Callable[[Pod], PodInfo]:
    """What reads pods as the intake does, for rules that sign so."""
    arrivals = Arrivals([], sign, order_salt=b"fuzz")
    return lambda pod: arrivals.read(pod, ())


class RuleWork:
    """One job: cases until the time is over, or one case.

    Args:
        job: `target`, `args`, `seed`, `seconds`, and `only` for one case.
        tell: takes what is found.
    """

    def __init__(self, job: dict[str, Any], tell: Tell) -> None:
        self._job = job
        self._tell = tell
        # Its count is the case: the watch sees whether one goes on for too long.
        self._asked = Asked(lambda: None)

    def run(self) -> None:
        """Look for broken clauses."""
        try:
            case = case_of(self._job["target"], self._job["args"])
            Draft(random.Random(0), case.words, case.make, case.args, case.read)
        except ConfigError as error:
            value = "" if error.value is None else str(error.value)
            told = {"what": error.what, "where": error.where, "value": value, "fix": error.fix}
            self._tell(error=told)
            return
        except Exception as error:
            told = {"what": f"it cannot be made: {type(error).__name__}: {error}", "where": WHERE}
            self._tell(error={**told, "value": self._job["target"], "fix": "give its arguments"})
            return
        Watchdog(self._asked, lambda: self._tell(beat=1), CASE_CPU_SECONDS).start()
        self._asked.is_inside = True
        self._tell(loaded="rule")
        number = self._job["only"]
        try:
            if number is not None:
                self._one(case, number)
            else:
                self._many(case)
        except Broken as broken:
            # What is too dear was measured twice, and belongs to no case.
            is_dear = broken.clause is Clause.COST
            case_ = None if is_dear else self._asked.count
            self._tell(
                broken=broken.clause.value,
                says=list(broken.says),
                case=case_,
                is_confirmed=is_dear,
            )
        except StopAsking:
            self._tell(broken="does not answer in time", says=[], case=self._asked.count)

    def _many(self, case: RuleCase) -> None:
        seconds = self._job["seconds"]
        begin, is_dear_tried = clock(), self._job["answers"] > 0
        whole = hashlib.sha3_256()
        first = number = LARGE if self._job["answers"] else 0
        while clock() < begin + seconds and number < first + self._job["cases"]:
            said = self._one(case, number)
            number += 1
            if not is_dear_tried and clock() > begin + COST_SHARE * seconds:
                self._try_cost(case)
                is_dear_tried = True
            if number <= first + self._job["answers"]:
                whole.update(json.dumps(said).encode())
                self._tell(answers=number, digest=whole.hexdigest()[:24])
        self._tell(cases=number - first)
        if not is_dear_tried:
            self._try_cost(case)

    def _try_cost(self, case: RuleCase) -> None:
        self._asked.count += 1
        try:
            found = self._cost(case)
        except Broken:
            self._asked.count += 1
            found = self._cost(case)  # it was somebody else's time
        self._tell(by_row_ns=found)

    def _one(self, case: RuleCase, number: int) -> list[object]:
        self._asked.count = number
        size = min(1 + number // BY_SIZE, SIZE_MAX)
        with set_to({"time_ns": NOON, "chance": number}):
            said = check_case(case, self._dice(number), size)
        other = {
            "time_ns": NOON + (1 + number * 7) * HOUR_NS,
            "tick_ns": number % 2,
            "chance": "high" if number % 2 else "low",
            "id_mask": 0xFFFFFFFFFFF0 if number % 2 else 0x7F0,
        }
        with set_to(other):
            again = check_case(case, self._dice(number), size)
        if said != again:
            first = next(at for at, one in enumerate(said) if again[at : at + 1] != [one])
            then = str(again[first : first + 1])[:160]
            says = (str(said[first])[:160], f"under another clock, chance and identity: {then}")
            raise Broken(Clause.PURE, *says)
        return said

    def _dice(self, number: int) -> random.Random:
        return random.Random(self._job["seed"] * 1_000_003 + number)

    def _cost(self, case: RuleCase) -> dict[str, int]:
        """CPU nanoseconds a row of filter and score, by rows."""
        asks: dict[int, tuple[Plugin, Draft, list[PodInfo]]] = {}
        for rows in ROWS:
            draft = Draft(self._dice(0), case.words, case.make, case.args, case.read)
            if not isinstance(draft.rule, Reading):
                return {}
            draft.add_nodes(rows)
            draft.place(8)
            asks[rows] = draft.rule, draft, [draft.pod() for _ in range(ROUNDS)]
        # In turn, few rows as often as takes as long as many: a machine that slows down slows both.
        taken: dict[int, list[float]] = {rows: [] for rows in ROWS}
        for at in range(ROUNDS):
            for rows, (rule, draft, pods) in asks.items():
                again = ROWS[-1] // rows
                taken[rows] += [_ask(rule, draft, pods[at]) / rows for _ in range(again)]
        small, large = (int(min(taken[rows]) * 1e9) for rows in ROWS)
        if large > small * COST_FACTOR and large * ROWS[-1] > COST_SECONDS * 1e9:
            says = f"{small} ns a row with {ROWS[0]} rows, {large} ns with {ROWS[-1]}"
            raise Broken(Clause.COST, says)
        return {str(ROWS[0]): small, str(ROWS[-1]): large}


def _ask(rule: Plugin, draft: Draft, pod: PodInfo) -> float:
    """CPU seconds of one filter and one score over all rows."""
    view = draft.cluster.view
    rows = np.array(sorted(draft.cluster.nodes.rows.values()), np.int64)
    began = cpu_clock()
    for protocol, prepare, ask in (
        (Filter, "prepare", "filter"),
        (Score, "prepare_score", "score"),
    ):
        if not isinstance(rule, protocol):
            continue
        state = getattr(rule, prepare)(pod, view)
        if isinstance(state, Skip | Verdict):
            continue
        if ask == "score" and hasattr(rule, "prescore"):
            state = rule.prescore(state, view, rows)
            if isinstance(state, Skip):
                continue
        getattr(rule, ask)(getattr(state, "state", state), view, slice(None))
    return cpu_clock() - began
