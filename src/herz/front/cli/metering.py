"""`herz run --metrics`: samples of nodes go in, outcomes come back, and models are judged by them.

One task beside the driver's. Whatever the source of metrics does, scheduling goes on: what is not
measured is missing, and the rules about promises say so by name.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from herz import signals
from herz.commit.adopt import promoted, rolled_back
from herz.commit.audit.entry import Promised
from herz.commit.audit.journaled import Journaled
from herz.commit.bind import DECISION_ANNOTATION
from herz.config import Policies, Policy, read_plain
from herz.errors import ConfigError
from herz.feedback.adjust.drift import NAME, DriftWatch, is_watched
from herz.feedback.adjust.trials import Trial, Verdict, Watch
from herz.feedback.observe.promises import Placement, PlacementOutcome, PromiseObserver
from herz.front.cli.options import checked_name
from herz.judging import KEPT, ROLLED_BACK, TRIAL, left, outcomes, placements, watched
from herz.knowledge.sla.classes import class_name, read_classes, resolve
from herz.knowledge.sla.model import load
from herz.knowledge.sla.state import SIGNALS
from herz.model.effects import EmitEvent
from herz.model.objects import Namespace, Node, Pod, SLAClass
from herz.model.service_levels import SLAClassSpec
from herz.place.plugins.sla_classes import SLAClasses
from herz.profiles import profiles_of
from herz.promoting import kind_of
from herz.world.kube.driver import Driver
from herz.world.prometheus.client import Prometheus, Settings
from herz.world.prometheus.source import Kept, Source
from herz.world.prometheus.source import Pod as Watched
from herz.world.store.where import Where

ACTOR: Final = "herz adjust"
OUTCOMES_AT_ONCE: Final = 1_000
"""Bound of an entry of the journal."""
_DIGITS_MAX: Final = 18
Telling = Callable[[str, str, str, str], EmitEvent]
"""Makes an event of class, its uid, the model's name, and why."""
_log = logging.getLogger("herz.metrics")


def metrics_settings(given: str | None) -> Settings | None:
    """The settings of a file; None where none is named.

    Raises:
        ConfigError: it is not there, or something in it is not allowed.
    """
    if given is None:
        return None
    name = checked_name(given, option="--metrics")
    try:
        found = msgspec.convert(read_plain(Path(name)), Settings)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at ")
        place = at.strip("`").removeprefix("$.")
        fix = "see docs/reference/sla.md"
        raise ConfigError(what, where=f"{name} {place}".rstrip(), fix=fix) from error
    found.check(name, SIGNALS)
    return found


class Metering:
    """Samples, outcomes and trials of one live scheduler.

    Args:
        source: where measurements come from.
        driver: of the scheduler.
        machine: the machine, in its journal.
        observer: has seen its records.
        policy: names the classes that are no objects.
        journal: where that is.
        tell: shows a person what happens.
        adjusting: lasts while a model is put in force.
    """

    def __init__(
        self,
        source: Source,
        driver: Driver,
        machine: Journaled,
        observer: PromiseObserver,
        policy: Policy | Policies,
        journal: Where,
        tell: Callable[[str], None],
        adjusting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._adjusting = adjusting
        self._source, self._driver, self._machine = source, driver, machine
        self._observer, self._tell = observer, tell
        self._known = _classes(policy)
        self._journal = journal
        self._windows: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._judge: Trial | Watch | None = None
        self._drift = DriftWatch()
        observer.watch = self._placed
        self._left = left(journal)
        self._judged = self._left.judged
        self._begin()

    async def run(self, every_seconds: float) -> None:
        """Measure and judge until it is cancelled."""
        await self._driver.synced.wait()
        await self.recover()
        while True:  # Bound: the driver's life.
            await self.round(time.time())
            await asyncio.sleep(every_seconds)

    async def recover(self) -> None:
        """Go on where the machine before ended: drift, its trial, and what was told of placements.

        Raises:
            AuditError: an entry of the journal is damaged.
            WorldError: it cannot be read.
        """
        # The journal's time is the loop's: what watches show is applied meanwhile.
        if self._machine.force is not None and self._machine.force.models:
            self._drift.restore(await asyncio.to_thread(watched, self._journal))
            self._count_drift()
        if self._judge is None:
            return
        since = self._left.since
        found = await asyncio.to_thread(lambda: list(outcomes(self._journal, since)))
        asked = self._decisions()
        known = await asyncio.to_thread(placements, self._journal, asked)
        for uid, placement in known.items():
            self._observer.restore(uid, placement)
        for outcome in found:
            self._observer.told(outcome.uid, outcome.window)
            self._consider(outcome)

    def _decisions(self) -> dict[str, int]:
        """By uid, the record that a pod with a promise names which was placed before we began."""
        found = {}
        promised = {one.uid for pods in self._pods().values() for one in pods}
        for pod in self._driver.known(Pod):
            uid, number = pod.metadata.uid, pod.metadata.annotations.get(DECISION_ANNOTATION, "")
            is_number = number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX
            if is_number and uid in promised and not self._observer.knows(uid):
                found[uid] = int(number)
        return found

    async def round(self, now_s: float) -> None:
        """One sample of all nodes, and the outcomes of the windows that have ended."""
        nodes = {one.metadata.name for one in self._driver.known(Node)}
        for sample in await self._source.sample(nodes):
            self._driver.applied(sample, ())
        for name, pods in sorted(self._pods().items()):
            spec = self._spec(name)
            if not isinstance(spec, SLAClassSpec):
                continue
            window = int(now_s) // spec.window_seconds
            if self._windows.setdefault(name, window) == window:
                continue  # The window has not ended, or began before we did.
            self._windows[name] = window
            self._take(name, window, await self._source.outcomes(name, spec, pods))
        self._show()

    def _placed(self, placement: Placement) -> None:
        """A placement: does what the model was asked look like what it learned from?"""
        if not is_watched(placement):
            return
        self._drift.add(placement.beyond)
        for name in placement.beyond:
            self._observer.counters[signals.PROMISES_BEYOND.format(feature=name)] += 1
        self._count_drift()

    def _count_drift(self) -> None:
        self._observer.counters[signals.MODEL_DRIFT] = int(self._drift.drifted is not None)

    def _take(self, name: str, window: int, measured: Sequence[Kept]) -> None:
        """What came of the promises of a class: into the journal first, then to the trial."""
        found = [
            outcome for kept in measured if (outcome := self._observed(kept, window)) is not None
        ]
        for first in range(0, len(found), OUTCOMES_AT_ONCE):
            some = found[first : first + OUTCOMES_AT_ONCE]
            told = tuple((one.placement.sequence, one.is_kept, one.latency_ns) for one in some)
            now_ns = self._driver.now_ns()
            entry = Promised(sla_class=name, time_ns=now_ns, told=told, window=window)
            self._machine.tell(entry)
            for outcome in some:
                self._consider(outcome)

    def _observed(self, kept: Kept, window: int) -> PlacementOutcome | None:
        return self._observer.outcome(
            kept.uid, window, is_kept=kept.is_kept, latency_ns=kept.latency_ns
        )

    def _consider(self, outcome: PlacementOutcome) -> None:
        """One more outcome for the model on trial; its verdict is carried out here."""
        if self._judge is None:
            return
        verdict = self._judge.add(outcome)
        force = self._machine.force
        assert force is not None, "a machine with a trial has models"
        if verdict.says in ("promote", "keep"):
            self._judged += 1
            number = f"{TRIAL} {self._judged}"
            if verdict.says == "promote":
                self._promote(force.candidate, f"{number}: {_figures(verdict)}", promoted)
            else:
                self._tell(f"{number} is over, the model stays: {_figures(verdict)}")
                self._affirm(f"{number}{KEPT}: {_figures(verdict)}")
        elif verdict.says == "roll-back":
            self._promote(force.candidate, f"{ROLLED_BACK}: {_figures(verdict)}", rolled_back)
            self._judge = None
        elif verdict.says == "settled":
            self._judge = None

    def _promote(self, data: bytes, reason: str, event: Telling) -> None:
        model = load(data)
        self._enter(data, model.digest, reason)
        self._tell(f"model {model.digest} is in force: {reason}")
        uids = {one.metadata.name: one.metadata.uid for one in self._driver.known(SLAClass)}
        for name in model.body.scope.services:
            self._driver.tell(event(name, uids.get(name, ""), model.digest, reason))
        self._drift.clear()
        assert self._machine.force is not None, "it was just changed"
        self._judge = Watch(self._machine.force.digest)

    def _affirm(self, reason: str) -> None:
        """Tell the journal that the candidate was judged, and what stays in force."""
        force = self._machine.force
        assert force is not None, "a machine with a trial has models"
        kind = load(force.candidate).kind
        for data in force.models:
            if kind_of(data) == kind:
                self._enter(data, load(data).digest, reason)
        self._judge = None

    def _enter(self, data: bytes, name: str, reason: str) -> None:
        now_ns = self._driver.now_ns()
        with self._adjusting():
            self._machine.promote(data, name=name, actor=ACTOR, reason=reason, time_ns=now_ns)

    def _begin(self) -> None:
        force = self._machine.force
        if force is None or not force.candidate:
            return
        if self._left.stage == "trial":
            self._judge = Trial(force.digest, self._judged + 1)
        elif self._left.stage == "watch":
            self._judge = Watch(force.digest)

    def _pods(self) -> dict[str, list[Watched]]:
        """The pods on nodes, by the class that they name."""
        spaces = {one.metadata.name: one.metadata.labels for one in self._driver.known(Namespace)}
        found: dict[str, list[Watched]] = {}
        for pod in self._driver.known(Pod):
            meta = pod.metadata
            name = class_name(meta.labels, spaces.get(meta.namespace, {}))
            if name and pod.is_assigned:
                found.setdefault(name, []).append(Watched(meta.namespace, meta.name, meta.uid))
        return found

    def _spec(self, name: str) -> SLAClassSpec | str:
        things = {one.metadata.name: one for one in self._driver.known(SLAClass)}
        return resolve(name, things.get(name), self._known)

    def _show(self) -> None:
        """Say once what is wrong, and once that it is well again."""
        problems = dict(self._source.problems)
        drifted = self._drift.drifted
        if drifted is not None:
            problems["model"] = (
                f"{NAME}: {100 * drifted.share:.0f} % of the last {drifted.placements} placements "
                f"lie outside what was learned, most often in {', '.join(drifted.features)}"
            )
        for what in sorted({*problems, *self._told}):
            said = problems.get(what, "")
            if said.partition(":")[0] != self._told.get(what, "").partition(":")[0]:
                self._tell(f"metrics, {what}: {said or 'well again'}")
        self._told = problems


def metering_source(settings: Settings) -> tuple[Prometheus, Source]:
    """The server, which has to be closed, and what it says."""
    server = Prometheus(settings)
    return server, Source(server)


def _classes(policy: Policy | Policies) -> Mapping[str, SLAClassSpec]:
    found: dict[str, SLAClassSpec] = {}
    for profile in profiles_of(policy):
        for entry in profile.policy.plugins:
            if entry.name == SLAClasses.name:
                found.update(read_classes(entry.args.get("classes", {}), "classes"))
    return found


def _figures(verdict: Verdict) -> str:
    low = "undefined" if verdict.low is None else f"{verdict.low:.5f}"
    return (
        f"Brier improvement {verdict.mean:.5f}, at least {low} (one-sided, error "
        f"{verdict.error:g}), {verdict.outcomes} outcomes, {verdict.violations} violations"
    )
