"""A candidate's process: reads one job, loads the candidate, and does the job.

    python -m herz.front.fuzz.worker FD

The job comes as JSON on standard input; what is found goes out as lines of JSON on descriptor FD.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from herz.errors import ConfigError
from herz.front.fuzz import guard, shims
from herz.front.fuzz.engines import with_coverage, with_hypothesis
from herz.front.fuzz.facts import Watching, changes, copied
from herz.front.fuzz.hostile import robustness
from herz.front.fuzz.lengths import long_arguments, long_sorts, million, one_of_each_length
from herz.front.fuzz.perturb import Perturbing, described, set_to
from herz.front.fuzz.rule_work import RuleWork
from herz.front.fuzz.shims import clock
from herz.front.fuzz.target import Target, load_target
from herz.front.fuzz.threads import Interloper, disturb, held_at
from herz.front.fuzz.underway import changed_under_way
from herz.intake.fuzz import (
    Asked,
    Finding,
    Flaw,
    OutOfTime,
    Pool,
    Refuted,
    Source,
    search,
    shows_law,
    smallest,
)
from herz.intake.fuzz.finding import LAWS

SHRINK_SECONDS: Final = 1.5
ANSWER_POOLS: Final = 30
SHOWN_MAX: Final = 300
REPLAYS: Final = 500
PLAN: Final = (
    *("laws", "long arguments", "lengths", "settings", "threads", "sorts"),
    *("a sort of a million", "laws again", "hypothesis"),
)
"""The parts of every search, as they are told."""
MILLION_SHARE: Final = 0.2
"""A sort of a million is tried when its calls take at most so much of the time."""


class Worker:
    """One job on one candidate.

    Args:
        job: what to do; see `run`.
        out: the descriptor for lines of JSON.
    """

    def __init__(self, job: dict[str, Any], out: int) -> None:
        self._job = job
        self._out = out
        self._began = clock()
        self._target: Target
        self._less: Asked
        self._watchdog: guard.Watchdog
        self._phase = "load"
        self._lock = threading.Lock()

    def run(self) -> None:
        """Do the job and tell how it ended."""
        job = self._job
        guard.nobodys_input()
        guard.limit(int(job["seconds"] * 2) + 20)
        shims.install()
        sys.path.insert(0, job["folder"])
        if job["job"] == "rule":
            RuleWork(job, self._tell).run()
            self._tell(done="rule")
            return
        if job["job"] == "coverage":
            import atheris  # noqa: PLC0415  # an extra

            name = job["target"].rpartition(":")[0]
            stem = os.path.basename(name).removesuffix(".py")
            with atheris.instrument_imports(include=[stem]):
                self._load()
        else:
            self._load()
        getattr(self, f"_{job['job']}")()
        self._tell(done=job["job"], calls=self._less.count)

    def _load(self) -> None:
        try:
            self._target = load_target(self._job["target"], self._job["type"])
        except ConfigError as error:
            self._tell(
                error={
                    "what": error.what,
                    "where": error.where,
                    "value": str(error.value or ""),
                    "fix": error.fix,
                }
            )
            self._end()
        self._less = Asked(self._target.function, self._target.form)
        if self._job.get("last_words"):
            self._less.before_call = self._last_words()
        self._watchdog = guard.Watchdog(self._less, lambda: self._tell(beat=self._less.count))
        self._watchdog.start()
        self._tell(loaded=self._target.form.value, file=self._target.file, plan=PLAN)

    def _last_words(self) -> Callable[[Any, Any], None]:
        """Writes the arguments of each call down before it is made: the process may not live."""
        where = os.open(self._job["last_words"], os.O_RDWR | os.O_CREAT, 0o600)

        def write(one: Any, two: Any) -> None:
            data = pickle.dumps((one, two))
            if len(data) < guard.FILE_BYTES // 2:
                os.pwrite(where, len(data).to_bytes(8, "big") + data, 0)

        return write

    def _source(self, salt: int = 0) -> Source:
        return Source(random.Random(self._job["seed"] * 16 + salt), self._target.words)

    def _until(self, share: float) -> Callable[[], bool]:
        """Whether less than this share of the job's time has gone."""
        end = self._began + self._job["seconds"] * share
        return lambda: clock() < end

    def _for(self, share: float) -> Callable[[], bool]:
        """Whether less than this share of the job's time has gone from now on."""
        end = clock() + self._job["seconds"] * share
        return lambda: clock() < end

    # ---- jobs -----------------------------------------------------------------------------

    def _hunt(self) -> None:
        """Everything but coverage and other processes."""
        try:
            self._search()
        except Refuted as refuted:
            self._tell_found(self._shrunk(refuted.finding))
            self._end()

    def _search(self) -> None:
        less, domain, target = self._less, self._target.domain, self._target
        watching = Watching(less)
        self._part(
            "laws",
            0.15,
            lambda is_time: search(
                less, domain, self._source(), is_time, pools_max=160, watch=watching
            ),
        )
        self._part(
            "long arguments",
            0.3,
            lambda is_time: one_of_each_length(less, domain, self._source(1)),
            is_whole=True,
        )
        self._part(
            "lengths",
            0.1,
            lambda is_time: long_arguments(less, domain, self._source(1), is_time),
            is_whole=True,
        )
        facts = watching.facts
        self._part(
            "settings", 0.2, lambda is_time: Perturbing(less, facts, is_time).all(), is_whole=True
        )
        self._part(
            "threads",
            0.08,
            lambda is_time: disturb(less, facts, target.file, is_time),
            is_whole=True,
        )
        self._part(
            "sorts",
            0.1,
            lambda is_time: self._tell(
                longest_sort=long_sorts(less, domain, self._source(2), is_time)
            ),
            is_whole=True,
        )
        if self._job["hostile"]:
            self._part("hostile", 0.2, self._hostile)
        if self._is_quick():
            self._part("a sort of a million", 0.5, lambda is_time: self._million(), is_whole=True)
        self._part(
            "laws again",
            0.2,
            lambda is_time: self._tell(
                **asdict(search(less, domain, self._source(4), is_time, watch=watching))
            ),
        )
        left = self._until(1.0)
        seed = self._job["seed"]
        self._part(
            "hypothesis",
            0.1,
            lambda is_time: self._tell(
                hypothesis=with_hypothesis(
                    less, domain, self._source(5), seed, lambda: is_time() or left()
                )
            ),
        )

    def _hostile(self, is_time: Callable[[], bool]) -> None:
        less, target = self._less, self._target
        self._tell(robustness=robustness(less, target.domain, self._source(6), is_time))
        told = changed_under_way(less, target.domain, self._source(9), target.file, is_time)
        self._tell(robustness=told)

    def _million(self) -> None:
        million(self._less, self._target.domain, self._source(3))
        self._tell(longest_sort=1_000_000)

    def _part(
        self,
        name: str,
        share: float,
        do: Callable[[Callable[[], bool]], Any],
        *,
        is_whole: bool = False,
    ) -> None:
        """One part of the search, with its share of the time.

        Args:
            name: as it is told.
            share: of the job's time.
            do: the part; asks whether there is time left.
            is_whole: whether it has an end of its own: that it does not reach it is told.
        """
        self._begin(name)
        is_time = self._for(share)
        self._watchdog.is_time = is_time
        try:
            do(is_time)
        except OutOfTime:
            pass
        finally:
            self._watchdog.is_time = None
            self._less.is_late = False
        if is_whole and not is_time():
            self._tell(cut=name)

    def _is_quick(self) -> bool:
        """Whether a million calls fit into the time."""
        source = self._source(3)
        values = [self._target.domain.draw(source, ()) for _ in range(8)]
        began, count = clock(), 0
        while clock() - began < 0.02:
            for one in values:
                self._less(one, values[0])
            count += len(values)
        seconds = (clock() - began) / count * 1e6
        return bool(seconds < MILLION_SHARE * self._job["seconds"])

    def _answers(self) -> None:
        """What is said of fixed pools, to be held against another process."""
        source, domain = self._source(7), self._target.domain
        told = []
        self._watchdog.is_time = self._until(1.0)
        for number in range(ANSWER_POOLS):
            source.begin()
            values = [domain.draw(source, ()) for _ in range((3, 6, 12, 20)[number % 4])]
            try:
                told.append([hex(row) for row in Pool(values, self._less).rows])
            except Refuted as refuted:
                told.append([refuted.finding.flaw.value])
            except OutOfTime:
                break
        self._watchdog.is_time = None
        self._less.is_late = False
        self._tell(answers=told)

    def _show(self) -> None:
        """The pair of those of `_answers` that is told shortest."""
        source, domain = self._source(7), self._target.domain
        wanted: dict[int, list[Any]] = {}
        for pool, one, two in self._job["places"]:
            wanted.setdefault(pool, []).append((one, two))
        best: Any = None
        for number in range(ANSWER_POOLS):
            source.begin()
            values = [domain.draw(source, ()) for _ in range((3, 6, 12, 20)[number % 4])]
            for one, two in wanted.get(number, ()):
                pair = (values[one], values[two])
                if best is None or len(repr(pair)) < len(repr(best)):
                    best = pair
        self._tell(pair=_packed(best), shown=[_shown(value) for value in best])
        self._job["arguments"] = _packed(best)
        self._ask()

    def _ask(self) -> None:
        """What is said of one pair, plainly."""
        one, two = _unpacked(self._job["arguments"])[:2]
        try:
            self._tell(answer=self._less(one, two))
        except Refuted as refuted:
            self._tell(answer=refuted.finding.says[0])

    def _replay(self) -> None:
        """Whether a finding shows itself again in this process."""
        flaw, values = Flaw(self._job["flaw"]), _unpacked(self._job["arguments"])
        self._tell(again=self._shows_again(flaw, tuple(values), self._job["setting"]))

    def _shows_again(self, flaw: Flaw, values: tuple[Any, ...], given: dict[str, Any]) -> bool:
        less = self._less
        if flaw in LAWS or flaw in (Flaw.RAISED, Flaw.ONE_SIDED, Flaw.ANSWER, Flaw.HANG):
            found = shows_law(flaw, less)(values)
            return found is not None or _pair_raises(flaw, values, less)
        if flaw is Flaw.MUTATION:
            return changes(less, copied(values[0]), copied(values[-1])) is not None
        one, two = values[0], values[-1]
        first = _said(less, one, two)
        if flaw is Flaw.THREADS:
            return self._threads_again((one, two), first, given)
        if flaw in (Flaw.STATE, Flaw.SORT, Flaw.MEMORY):
            many = max(int(given.get("calls", 0)), 50_000) + 1_000
            return flaw is Flaw.MEMORY or any(
                _said(less, one, two) != first
                or (number % 64 == 0 and _said(less, copied(one), copied(two)) != first)
                for number in range(min(many, 400_000))
            )
        # A fact's pair may be one value: a copy tells identity apart.
        # Often: a clock that runs, or chance, says something else at each look.
        with set_to(given):
            for _ in range(REPLAYS):
                pair = (copied(one), copied(two)) if given.get("copies") else (one, two)
                if _said(less, *pair) != first:
                    return True
        return False

    def _threads_again(self, pair: tuple[Any, Any], first: Any, given: dict[str, Any]) -> bool:
        other = tuple(pickle.loads(base64.b64decode(given["other"])))
        interloper = Interloper(self._less)
        inner: list[Any] = []
        answer, _ = held_at(
            self._less,
            pair,
            given["between"],
            lambda: inner.append(interloper.ask(other)),
            self._target.file,
        )
        interloper.stop()
        return answer is not first or inner[:1] not in ([], [_said(self._less, *other)])

    def _coverage(self) -> None:
        """The coverage-guided engine has the process from here on."""
        with_coverage(
            self._less,
            self._target.domain,
            self._source(8),
            seed=self._job["seed"],
            seconds=self._job["seconds"],
            tell=self._found_by_coverage,
        )

    def _found_by_coverage(self, finding: Finding) -> None:
        self._tell_found(self._shrunk(finding))
        self._end()

    # ---- telling --------------------------------------------------------------------------

    def _shrunk(self, finding: Finding) -> Finding:
        """The smallest counter-example; as it is where it does not show itself again."""
        less, domain, flaw = self._less, self._target.domain, finding.flaw
        end = clock() + SHRINK_SECONDS
        self._tell(shrinking=flaw.value)
        if flaw in LAWS or flaw in (Flaw.RAISED, Flaw.ONE_SIDED, Flaw.ANSWER):
            shows = shows_law(flaw, less)
        elif flaw is Flaw.MUTATION:

            def shows(values: Any) -> Finding | None:
                found = changes(less, copied(values[0]), copied(values[-1]))
                return found and Finding(flaw, tuple(values), found.says)

        elif flaw in (Flaw.TIME, Flaw.CHANCE, Flaw.ENVIRONMENT):

            def shows(values: Any) -> Finding | None:
                pair, given = (values[0], values[-1]), finding.setting
                first = _said(less, *pair)
                with set_to(given):
                    again = _said(less, *pair)
                words = (f"less(a, b) is {first}", f"and {again} {described(given)}")
                return None if again is first else Finding(flaw, tuple(values), words, given)

        else:
            return finding
        if finding.setting.get("size", 0) > 5_000:
            return finding
        if shows(finding.arguments) is None:
            words = (*finding.says, "but not when it is asked again")
            return Finding(Flaw.STATE, finding.arguments, words, {"calls": less.count})
        return smallest(finding, shows, domain, lambda: clock() < end)

    def _begin(self, phase: str) -> None:
        self._phase = phase
        self._tell(phase=phase)

    def _tell_found(self, finding: Finding) -> None:
        setting = dict(finding.setting)
        if "other" in setting:
            setting["other"] = base64.b64encode(pickle.dumps(tuple(setting["other"]))).decode()
        self._tell(
            found=finding.flaw.value,
            arguments=_packed(finding.arguments),
            shown=[_shown(value) for value in finding.arguments],
            says=list(finding.says),
            setting=setting,
            phase=self._phase,
            calls=self._less.count,
        )

    def _tell(self, **what: Any) -> None:
        line = memoryview(json.dumps(what).encode() + b"\n")
        with self._lock:  # two threads tell, and long lines are not written in one piece
            while line:
                line = line[os.write(self._out, line) :]

    def _end(self) -> None:
        """At once: the candidate's own exit handlers and threads are not waited for."""
        os._exit(0)


def _said(less: Asked, one: Any, two: Any) -> Any:
    try:
        return less(one, two)
    except Refuted as refuted:
        return refuted.finding.flaw


def _pair_raises(flaw: Flaw, values: tuple[Any, ...], less: Asked) -> bool:
    return len(values) > 1 and _said(less, values[0], values[1]) is flaw


def _packed(values: Any) -> str:
    try:
        return base64.b64encode(pickle.dumps(tuple(values))).decode()
    except Exception:
        # A value that a candidate has spoilt for good.
        return ""


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


def _shown(value: Any) -> str:
    item = getattr(value, "item", None)
    pod = getattr(item if item is not None else value, "pod", None)
    if pod is not None and hasattr(pod, "metadata"):
        from herz.front.fuzz.showing import pod_words  # noqa: PLC0415

        return pod_words(value)
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"


if __name__ == "__main__":
    Worker(json.load(sys.stdin), int(sys.argv[1])).run()
    os._exit(0)
