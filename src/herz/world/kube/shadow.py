"""Decides for every pod that somebody else binds, from the state before that bind; writes nothing.

Pods without a node are kept here until the watch shows where they were put. Then the machine gets
the pod as it was before, decides it alone, takes its decision back, and is told what happened. All
of this are events and answers as any machine gets them, so a shadow's journal is replayed like one
of a scheduler.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from herz.errors import ConfigError, HerzError
from herz.model.effects import Bind, DeletePod, Effect, Evict, PatchClaim, PatchVolume
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import (
    Affinity,
    KubernetesObject,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
)
from herz.model.outcomes import BindFinished, BindOutcome, PatchRefused, RemovalRefused
from herz.model.record import Candidate, Record
from herz.ports import Machine, RecordSink
from herz.world.collecting import Automatic
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import Watched
from herz.world.kube.transport import Transport

COMPARED_MAX: Final = 100_000
"""Pods of which figures are kept; later ones are counted only in the sums."""
_WHAT_IF: Final = "-herz-shadow"
_WORDS: Final = "decided in the shadow"


@dataclass(frozen=True, slots=True)
class Compared:
    """One pod that was bound by somebody else.

    Args:
        pod: namespace and name.
        node: where it was put.
        ours: where Herz would have put it; empty: nowhere.
        gap: points of `node` below Herz's best; None: Herz would not have put it there.
        rule: what speaks most for Herz's node, or refuses the other; empty where they agree.
        took_ns: how long the decision took.
    """

    pod: str
    node: str
    ours: str
    gap: int | None
    rule: str
    took_ns: int


@dataclass(slots=True)
class Agreement:
    """What came of all comparisons.

    Args:
        pods: how many were compared.
        same_node: how many Herz would have put on the same node.
        same_score: how many on a node of the same score, the same one included.
        refused: how many Herz would not have put on that node.
        nowhere: how many of them Herz would have put nowhere.
        late: pods that were bound before they were seen without a node.
        rules: disagreements by rule.
        compared: the first of them, `COMPARED_MAX` at most.
    """

    pods: int = 0
    same_node: int = 0
    same_score: int = 0
    refused: int = 0
    nowhere: int = 0
    late: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    compared: list[Compared] = field(default_factory=list)

    def add(self, one: Compared) -> None:
        """Count a comparison."""
        self.pods += 1
        self.same_node += one.ours == one.node
        self.same_score += one.gap == 0
        self.refused += one.gap is None
        self.nowhere += not one.ours
        if one.rule:
            self.rules[one.rule] += 1
        if len(self.compared) < COMPARED_MAX:
            self.compared.append(one)


class Shadow(RecordSink):
    """A cluster that is watched.

    Args:
        make: makes the machine, whose records come here.
        transport: to the API server.
        kinds: what is watched.
        told: told of each comparison.
    """

    def __init__(
        self,
        make: Callable[[RecordSink], Machine],
        transport: Transport,
        kinds: Sequence[Watched],
        told: Callable[[Compared], None] = lambda _: None,
    ) -> None:
        self._machine = make(self)
        rng = random.Random()
        self.informers = tuple(Informer(kind, transport, self, rng) for kind in kinds)
        self.agreement = Agreement()
        self.synced = asyncio.Event()
        self._told = told
        # Without a node, by uid. Bound: what the cluster holds.
        self._waiting: dict[str, tuple[Pod, tuple[str, ...]]] = {}
        # With a node, by uid. Bound: the same. The machine's `held` is a walk over all of them.
        self._placed: set[str] = set()
        self._record: Record | None = None
        self._changed = asyncio.Event()
        # The machine, or its journal, has failed.
        self._failure: HerzError | None = None
        self._failed = asyncio.Event()
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    async def run(self) -> None:
        """Watch until it is cancelled.

        Raises:
            HerzError: the machine or its journal failed.
        """
        tasks = [asyncio.ensure_future(one) for one in (self._watch(), self._failed.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._failure is not None:
                raise self._failure
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        async with asyncio.TaskGroup() as group:
            # Pods come last: what was put where before they were seen is no comparison.
            for informer in self.informers:
                group.create_task(informer.run())
                while not informer.is_synced:
                    self._changed.clear()
                    await self._changed.wait()
            # What was loaded stays: no collection looks at it again.
            Automatic(freezes=True).begin()
            self.synced.set()

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """See `herz.ports.RecordSink`."""
        del canonical, digest
        self._record = record

    # ---- what is seen -----------------------------------------------------------------------

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """See `herz.world.kube.informer.Sink`."""
        with self._failing():
            if isinstance(thing, Pod):
                uid = thing.metadata.uid
                if not thing.is_assigned:
                    self._waiting[uid] = (thing, unlisted)
                    return
                before = self._waiting.pop(uid, None)
                if before is not None:
                    self._compare(*before, thing.spec.node_name)
                elif self.synced.is_set() and uid not in self._placed:
                    self.agreement.late += 1
                self._placed.add(uid)
            self._apply(thing, unlisted)

    def deleted(self, thing: KubernetesObject) -> None:
        """See `herz.world.kube.informer.Sink`."""
        with self._failing():
            if isinstance(thing, Pod):
                self._placed.discard(thing.metadata.uid)
                if self._waiting.pop(thing.metadata.uid, None) is not None:
                    return
            self._machine.apply(ObjectDeleted(time_ns=self._now_ns(), object=thing))

    def freshness_changed(self) -> None:
        """See `herz.world.kube.informer.Sink`."""
        self._changed.set()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raised where an informer delivers it, a failure would end only that one."""
        try:
            yield
        except HerzError as error:
            self._failure = self._failure or error
            self._failed.set()

    def _now_ns(self) -> int:
        return self._epoch_ns + time.monotonic_ns()

    def _apply(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        event = ObjectApplied(time_ns=self._now_ns(), object=thing, unlisted=unlisted)
        try:
            self._machine.apply(event)
        except ConfigError:
            # It refuses the object; what it knew of it stays.
            return

    # ---- what is compared -------------------------------------------------------------------

    def _compare(self, pod: Pod, unlisted: tuple[str, ...], node: str) -> None:
        began = time.perf_counter_ns()
        record = self._decided(pod, unlisted)
        took_ns = time.perf_counter_ns() - began
        if record is None:
            return
        ours = record.node if record.decided == "place" else ""
        gap, rule = self._judged(record, ours, node)
        if gap is None:
            rule = self._refusal(pod, unlisted, node)
        compared = Compared(pod.metadata.key, node, ours, gap, rule, took_ns)
        self.agreement.add(compared)
        self._told(compared)

    def _judged(self, record: Record, ours: str, node: str) -> tuple[int | None, str]:
        """How far the node is below the best, and the rule that says so most."""
        if ours == node:
            return 0, ""
        best = next((one for one in record.top if one.node == ours), None)
        theirs = next((one for one in record.top if one.node == node), None)
        if best is None or theirs is None:
            return None, ""
        gap = best.total - theirs.total
        return gap, _most(record.plugins, best, theirs) if gap else ""

    def _refusal(self, pod: Pod, unlisted: tuple[str, ...], node: str) -> str:
        """The rule that keeps the pod from the node: asked of a copy that may go nowhere else."""
        meta = replace(
            pod.metadata, name=pod.metadata.name + _WHAT_IF, uid=pod.metadata.uid + _WHAT_IF
        )
        only = replace(_only_on(pod, node), metadata=meta)
        record = self._decided(only, unlisted)
        self._machine.apply(ObjectDeleted(time_ns=self._now_ns(), object=only))
        if record is None:
            return ""
        named = [one.plugin for one in record.rejections if node in one.nodes]
        return named[0] if named else str(record.decided)

    def _decided(self, pod: Pod, unlisted: tuple[str, ...]) -> Record | None:
        """What the machine decides about the pod alone; None: it is not decided (gates, a gang)."""
        self._record = None
        self._apply(pod, unlisted)
        if not self._machine.ready:
            # Nothing of it must be left to be decided with another.
            self._machine.apply(ObjectDeleted(time_ns=self._now_ns(), object=pod))
            return None
        effects = self._machine.step(self._now_ns(), 1)
        for effect in effects:
            self._take_back(effect)
        # What taking back led to is for nobody.
        self._machine.step(self._now_ns(), 0)
        record: Record | None = self._record
        return record

    def _take_back(self, effect: Effect) -> None:
        now_ns = self._now_ns()
        if isinstance(effect, Bind):
            self._machine.apply(
                BindFinished(
                    time_ns=now_ns,
                    uid=effect.uid,
                    decision=effect.decision,
                    outcome=BindOutcome.REFUSED,
                    message=_WORDS,
                )
            )
        elif isinstance(effect, PatchClaim | PatchVolume):
            self._machine.apply(PatchRefused(time_ns=now_ns, effect=effect, message=_WORDS))
        elif isinstance(effect, DeletePod | Evict):
            self._machine.apply(RemovalRefused(time_ns=now_ns, uid=effect.uid, message=_WORDS))


def _most(plugins: tuple[str, ...], best: Candidate, theirs: Candidate) -> str:
    """The rule that prefers the best node by the most points; of several, the first."""
    points = [ours - other for ours, other in zip(best.scores, theirs.scores, strict=True)]
    return plugins[points.index(max(points))] if points else ""


def _only_on(pod: Pod, node: str) -> Pod:
    """The pod, which no other node may have."""
    here = NodeSelectorRequirement(key="metadata.name", operator="In", values=(node,))
    affinity = pod.spec.affinity or Affinity()
    nodes = affinity.node_affinity or NodeAffinity()
    terms = nodes.required.node_selector_terms if nodes.required else (NodeSelectorTerm(),)
    narrowed = tuple(replace(one, match_fields=(*one.match_fields, here)) for one in terms)
    required = replace(nodes, required=NodeSelector(node_selector_terms=narrowed))
    spec = replace(pod.spec, affinity=replace(affinity, node_affinity=required))
    return replace(pod, spec=spec)
