"""`herz fuzz comparator`: the plan. Which processes run, what is confirmed, what is told."""

from __future__ import annotations

import base64
import math
import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from herz.errors import ConfigError, InvariantError
from herz.front.fuzz.child import Child
from herz.front.fuzz.engines import coverage_engine
from herz.intake.fuzz import Flaw
from herz.intake.fuzz.finding import LAWS

HUNT_SHARE: Final = 0.6
COVERAGE_SECONDS_MIN: Final = 1.0
START_SECONDS: Final = 1.5
"""About what a process takes to begin."""
LOAD_SECONDS: Final = 20.0
"""What a candidate's module may take to be imported; the search's seconds begin after it."""
CONFIRM_SECONDS: Final = 4.0
"""What may be used beyond the time that was asked for, to confirm what was found."""
OTHERS_ROUNDS: Final = 3
"""Five processes, two at a time."""
REPLAY_SECONDS: Final = 3.0
SEEDS: Final = ("0", "1", "2", "31337")
"""PYTHONHASHSEED of the processes whose answers are held against each other."""
ELSEWHERE: Final = {
    "TZ": "Asia/Kolkata",
    "LC_ALL": "C.UTF-8",
    "LANG": "tr_TR.UTF-8",
    "HOME": "/nowhere",
    "USER": "nobody",
    "HOSTNAME": "elsewhere",
}
FRESH: Final = (*LAWS, Flaw.RAISED, Flaw.ONE_SIDED, Flaw.ANSWER)
"""Flaws of a pure function: another process must see them as well."""


@dataclass(slots=True)
class Fault:
    """What was found, ready to tell."""

    flaw: Flaw
    says: list[str]
    shown: list[str]
    arguments: str = ""
    setting: dict[str, Any] = field(default_factory=dict)
    phase: str = ""
    is_confirmed: bool = False


@dataclass(slots=True)
class Report:
    """A run's outcome."""

    target: str
    seed: int
    seconds: float
    form: str = ""
    fault: Fault | None = None
    tried: dict[str, int] = field(default_factory=dict)
    engines: list[str] = field(default_factory=list)
    robustness: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cut_short: list[str] = field(default_factory=list)
    """Parts of the search that their time was too short for."""
    not_tried: list[str] = field(default_factory=list)
    """Parts that were not begun."""
    elapsed_ms: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for."""

    target: str
    type_text: str | None
    seconds: float
    seed: int
    is_hostile: bool


Tell = Callable[[str], None]


def fuzz_comparator(wish: Wish, tell: Tell) -> Report:
    """Look for faults for so many seconds.

    Args:
        wish: the candidate and the bounds.
        tell: told which part is under way.

    Raises:
        ConfigError: the candidate cannot be loaded, or its argument types are not known.
    """
    return _Run(wish, tell).run()


def replay(wish: Wish, fault: Fault) -> bool:
    """Whether the fault shows itself again in a fresh process.

    Raises:
        ConfigError: the candidate cannot be loaded.
    """
    return _Run(wish, lambda text: None).is_seen_again(fault)


class _Run:
    """One run; see `fuzz_comparator`."""

    def __init__(self, wish: Wish, tell: Tell) -> None:
        self._wish = wish
        self._tell = tell
        self._began = time.monotonic()
        self._end = self._last = 0.0
        self._bound(LOAD_SECONDS)
        self._begun: list[str] = []
        self._plan: list[str] = []
        self.report = Report(wish.target, wish.seed, wish.seconds)

    def run(self) -> Report:
        """The whole plan."""
        report = self.report
        fault = self._hunt()
        if fault is None:
            fault = self._coverage()
        if fault is not None:
            report.fault = self._confirmed(fault)
        else:
            report.not_tried += [part for part in self._plan if part not in self._begun]
        report.elapsed_ms = int((time.monotonic() - self._began) * 1000)
        return report

    def _bound(self, more: float) -> None:
        """The search ends when its seconds are over; what was found is then confirmed."""
        self._end = time.monotonic() + self._wish.seconds + more
        self._last = self._end + CONFIRM_SECONDS

    # ---- the search -----------------------------------------------------------------------

    def _hunt(self) -> Fault | None:
        """The own search and hypothesis, and meanwhile processes with other hash seeds."""
        seconds = self._wish.seconds * HUNT_SHARE / OTHERS_ROUNDS
        others = _Others(self._job("answers", seconds))
        try:
            fault = self._search(others)
            places = others.wait() if fault is None else None
            if not others.is_whole:
                self.report.cut_short.append("other processes")
        finally:
            others.close()
        return fault if places is None else self._differs(*places)

    def _search(self, others: _Others) -> Fault | None:
        """What the searching process finds; None as well when the others have found something."""
        seconds = self._wish.seconds * HUNT_SHARE
        job = self._job("hunt", seconds, hostile=self._wish.is_hostile)
        is_loaded, phase = False, "load"
        with Child(job, {"PYTHONHASHSEED": SEEDS[0]}, self._end) as child:
            for message in child.messages():
                if "loaded" in message:
                    self._bound(0)
                    child.until = others.until = self._end
                is_loaded = is_loaded or "loaded" in message
                self._note(message)
                phase = str(message.get("phase", phase))
                if "loaded" in message:
                    others.start()
                if "found" in message:
                    return _fault(message)
                if "done" in message:
                    self.report.engines = ["own search", "hypothesis"]
                    return None
                if others.found is not None:
                    return None
            if child.is_cut and is_loaded:
                self.report.cut_short += [phase] if phase not in self.report.cut_short else []
                return None
            is_stuck, code = child.is_stuck, child.ended()
            wrong = "" if is_stuck or code != 1 else child.stderr()
        if wrong:
            # Python ended by an exception: the candidate's own are caught, so it is ours.
            raise InvariantError(f"the fuzzer's worker failed: {wrong[-2000:]}")
        if not is_loaded:
            fix = "look at what its module does when it is imported"
            where, what = "COMPARATOR", "its module ends the process, or does not end loading"
            raise ConfigError(what, where=where, value=self._wish.target, fix=fix)
        return self._died(job, phase, is_stuck=is_stuck, code=code)

    def _died(
        self, job: Mapping[str, Any], phase: str, *, is_stuck: bool, code: int | None
    ) -> Fault:
        """The process ended or hung inside C code: again, with each call written down before."""
        self._tell("finding the last call")
        flaw = Flaw.HANG if is_stuck else Flaw.DIED
        said = "does not come back" if is_stuck else f"ends its process (exit code {code})"
        again = {**job, "last_words": True}
        with Child(again, {"PYTHONHASHSEED": SEEDS[0]}, self._last) as child:
            for message in child.messages():
                if "found" in message:
                    return _fault(message)
            data = child.last_words.read_bytes() if child.last_words.exists() else b""
        size = int.from_bytes(data[:8], "big")
        packed = data[8 : 8 + size]
        shown: list[str] = []
        try:
            shown = [_short(repr(value)) for value in pickle.loads(packed)]
        except Exception:
            # Its types live in the candidate's module, which this process does not load.
            packed = packed if shown else b""
        text = base64.b64encode(packed).decode()
        return Fault(flaw, [f"less(a, b) {said}"], shown, text, {}, phase)

    def _differs(
        self,
        places: list[tuple[int, int, int]],
        environment: dict[str, str],
        is_elsewhere: bool,
    ) -> Fault | None:
        self._tell("other processes")
        shown = self._ask({"job": "show", "places": places[:200]}, {"PYTHONHASHSEED": SEEDS[0]})
        if not shown:
            return None
        pair = {"job": "ask", "arguments": shown["pair"]}
        one = shown["answer"]
        two = self._ask(pair, environment)["answer"]
        if one == two:
            again = self._ask(pair, {"PYTHONHASHSEED": SEEDS[0]})["answer"]
            if again == one:
                # The answers of whole pools differ, those of the pair alone do not: its state.
                return Fault(
                    Flaw.STATE,
                    ["two processes answer differently to the same calls"],
                    shown["shown"],
                    shown["pair"],
                    {"calls": 10_000},
                    "other processes",
                )
        flaw = Flaw.ENVIRONMENT if is_elsewhere else Flaw.SEED
        name = "elsewhere" if is_elsewhere else f"PYTHONHASHSEED={environment['PYTHONHASHSEED']}"
        says = [f"less(a, b) is {one} with PYTHONHASHSEED=0", f"and {two} in a process {name}"]
        return Fault(
            flaw,
            says,
            shown["shown"],
            shown["pair"],
            {"process": environment},
            "other processes",
            True,
        )

    def _coverage(self) -> Fault | None:
        engine = coverage_engine()
        self._tell(engine)
        left = self._end - time.monotonic()
        if not engine:
            self.report.notes.append("coverage: atheris is not installed (pip install atheris)")
            return None
        if left < COVERAGE_SECONDS_MIN:
            self.report.not_tried.append("coverage")
            return None
        seconds = max(left - START_SECONDS, COVERAGE_SECONDS_MIN)
        job, environment = self._job("coverage", seconds), {"PYTHONHASHSEED": SEEDS[0]}
        with Child(job, environment, self._last) as child:
            found = None
            for message in child.messages():
                if "found" in message:
                    found = _fault(message)
            child.wait(2.0)
            self._count_coverage(child.stderr())
        self.report.engines.append(engine)
        return found

    def _count_coverage(self, text: str) -> None:
        for count, edges, corpus in re.findall(r"^#(\d+)\s.*?cov: (\d+).*?corp: (\d+)", text, re.M)[
            -1:
        ]:
            self.report.tried |= {
                "coverage executions": int(count),
                "coverage edges": int(edges),
                "coverage corpus": int(corpus),
            }

    # ---- confirmation ---------------------------------------------------------------------

    def _confirmed(self, fault: Fault) -> Fault:
        """The fault, seen again in a fresh process; a law that holds there is a state's doing."""
        if not fault.arguments or fault.is_confirmed:
            return fault
        self._tell("confirming in a fresh process")
        fault.is_confirmed = self.is_seen_again(fault)
        if time.monotonic() > self._last:
            return fault
        if not fault.is_confirmed and fault.flaw in FRESH:
            says = [*fault.says, "but not in a fresh process: what was asked before decides"]
            return Fault(
                Flaw.STATE, says, fault.shown, fault.arguments, fault.setting, fault.phase, True
            )
        return fault

    def is_seen_again(self, fault: Fault) -> bool:
        """Whether a fresh process sees it as well."""
        environment = {"PYTHONHASHSEED": SEEDS[0]}
        if "process" in fault.setting:
            pair = {"job": "ask", "arguments": fault.arguments}
            one = self._ask(pair, environment)
            return bool(one != self._ask(pair, fault.setting["process"]))
        job = {
            "job": "replay",
            "flaw": fault.flaw.value,
            "arguments": fault.arguments,
            "setting": fault.setting,
        }
        told = self._ask(job, environment)
        if fault.flaw in (Flaw.HANG, Flaw.DIED):
            return bool(told.get("again")) or not told
        return bool(told.get("again"))

    def _ask(self, job: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        """All that a short job tells."""
        told: dict[str, Any] = {}
        whole = {**self._job("", REPLAY_SECONDS), **job}
        with Child(whole, environment, self._last) as child:
            for message in child.messages():
                told |= message
        return {} if "done" not in told else told

    # ---- helpers --------------------------------------------------------------------------

    def _job(self, job: str, seconds: float, **more: Any) -> dict[str, Any]:
        place, _, name = self._wish.target.rpartition(":")
        if place.endswith(".py"):
            place = os.path.abspath(place)
        return {
            "job": job,
            "target": f"{place}:{name}",
            "type": self._wish.type_text,
            "seed": self._wish.seed,
            "seconds": seconds,
            "folder": os.getcwd(),
            "hostile": False,
            **more,
        }

    def _note(self, message: Mapping[str, Any]) -> None:
        if "phase" in message:
            self._tell(str(message["phase"]))
            self._begun.append(str(message["phase"]))
        if "cut" in message:
            self.report.cut_short.append(str(message["cut"]))
        if "beat" in message:
            # A process that is cut short does not come to tell it at its end.
            self.report.tried["calls"] = int(message["beat"])
        self._plan = list(message.get("plan", self._plan))
        if "loaded" in message:
            self.report.form = str(message["loaded"])
        for name in ("pools", "values", "hypothesis", "calls", "longest_sort"):
            if name in message:
                self.report.tried[name.replace("_", " ")] = int(message[name])
        self.report.robustness += message.get("robustness", [])


class _Others:
    """Processes with other hash seeds, and one somewhere else: do they answer alike?

    Args:
        job: what each is asked.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._job = job
        self.until = math.inf
        """When they are listened to no longer, by `time.monotonic`."""
        self._children: list[Child] = []
        self._told: dict[int, list[list[str]]] = {}
        self._threads: list[threading.Thread] = []
        self.found: tuple[list[tuple[int, int, int]], dict[str, str], bool] | None = None
        """Where answers differ, from which environment, and whether that is elsewhere."""

    def start(self) -> None:
        """Begin; two at a time, so that they do not slow the search down much."""
        environments = [{"PYTHONHASHSEED": one} for one in SEEDS]
        environments.append({"PYTHONHASHSEED": SEEDS[0], **ELSEWHERE})
        todo = list(enumerate(environments))
        for part in (todo[::2], todo[1::2]):
            thread = threading.Thread(target=self._ask, args=(part,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _ask(self, part: list[tuple[int, dict[str, str]]]) -> None:
        for number, environment in part:
            if self.found is not None:
                return
            if time.monotonic() > self.until:
                return
            child = Child(self._job, environment, self.until)
            self._children.append(child)
            try:
                answers = _answers(child)
            except (ConfigError, OSError):
                continue  # the searching process tells it
            self._told[number] = answers
            first = self._told.get(0, [])
            for at in list(self._told):
                places = _differing(first, self._told[at])
                if places:
                    whole = dict(ELSEWHERE) if at == len(SEEDS) else {}
                    seed = SEEDS[0] if at == len(SEEDS) else SEEDS[at]
                    self.found = (places, {"PYTHONHASHSEED": seed, **whole}, at == len(SEEDS))
                    return

    def wait(self) -> tuple[list[tuple[int, int, int]], dict[str, str], bool] | None:
        """What was found, once all have answered."""
        if not self._threads:
            self.start()
        for thread in self._threads:
            thread.join()
        return self.found

    @property
    def is_whole(self) -> bool:
        """Whether all have answered to the end, or a difference was found before."""
        answered = [len(told) for told in self._told.values()]
        return bool(self.found) or (len(answered) > len(SEEDS) and len(set(answered)) == 1)

    def close(self) -> None:
        """End them."""
        self.found = self.found or ([], {}, False)
        for child in self._children:
            child.kill()
        for thread in self._threads:
            thread.join()
        for child in self._children:
            child.close()


def _fault(message: Mapping[str, Any]) -> Fault:
    return Fault(
        Flaw(message["found"]),
        list(message["says"]),
        list(message["shown"]),
        message["arguments"],
        dict(message["setting"]),
        message["phase"],
    )


def _answers(child: Child) -> list[list[str]]:
    for message in child.messages():
        if "answers" in message:
            return [list(pool) for pool in message["answers"]]
    return []


def _differing(one: list[list[str]], two: list[list[str]]) -> list[tuple[int, int, int]]:
    """(pool, place, place) of each answer that is not the same."""
    found = []
    for pool, (rows, others) in enumerate(zip(one, two, strict=False)):
        if len(rows) != len(others) or not rows[0].startswith("0x"):
            continue
        for at, (row, other) in enumerate(zip(rows, others, strict=True)):
            if not other.startswith("0x"):
                continue
            changed = int(row, 16) ^ int(other, 16)
            found += [(pool, at, to) for to in range(len(rows)) if changed >> to & 1]
    return found


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"
