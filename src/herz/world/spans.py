"""OpenTelemetry spans of pods: one a verb, below one a pod, from its arrival until it runs or goes.

The machine knows no clock and no tracer: it tells which verb begins, and goes on whatever that
leads to; times are taken here. This module alone needs the extra `otel`, and is loaded only where
spans were asked for.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer, set_span_in_context

from herz.model.effects import Effect
from herz.model.events import Event, ObjectApplied, ObjectDeleted
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.podinfo import PodInfo
from herz.model.record import Decided, Record
from herz.ports import Deferring, Machine, Sync

PODS_MAX: Final = 10_000
"""Pods whose spans are open; beyond, the oldest one's are ended as they are, and counted."""


@dataclass(slots=True)
class _Open:
    """The spans of one pod that have not ended."""

    root: Span
    context: Context
    verb: Span | None = None


class Spans:
    """Makes the spans; what it is told by the machine of a driver comes through `Traced`.

    Args:
        tracer: of OpenTelemetry.
        clock: wall time in nanoseconds.
        close: sends what is left; may wait for the network.
    """

    def __init__(
        self,
        tracer: Tracer,
        clock: Callable[[], int] = time.time_ns,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracer = tracer
        self.clock = clock
        self.close = close
        # Bound: `PODS_MAX`.
        self._pods: OrderedDict[str, _Open] = OrderedDict()
        self._records: list[Record] = []
        self._deciding = ""
        self._sealed_ns = 0
        self.cut = 0
        """Pods whose spans were ended early, for too many were open."""

    # ---- what is told -------------------------------------------------------------------------

    def entered(self, verb: str, pod: PodInfo | None) -> None:
        """See `herz.ports.Watch`."""
        now = self.clock()
        if pod is None or pod.uid != self._deciding:
            self._leave(self._deciding, now)
        if pod is None:
            self._deciding, self._sealed_ns = "", now
            return
        self._deciding = pod.uid
        self._enter(pod.uid, verb, now)

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """See `herz.ports.RecordSink`."""
        del canonical, digest
        self._records.append(record)

    def arrived(self, pod: Pod, began_ns: int) -> None:
        """The machine was told of a pod that waits."""
        uid = pod.metadata.uid
        if uid in self._pods:
            return
        now = self.clock()
        named = {
            "k8s.namespace.name": pod.metadata.namespace,
            "k8s.pod.name": pod.metadata.name,
            "k8s.pod.uid": uid,
        }
        root = self._tracer.start_span("pod", Context(), attributes=named, start_time=began_ns)
        self._pods[uid] = _Open(root, set_span_in_context(root, Context()))
        self._enter(uid, "arrive", began_ns)
        self._enter(uid, "queue", now)
        if len(self._pods) > PODS_MAX:
            self.cut += 1
            self.end(next(iter(self._pods)), now, "cut")

    def decided(self) -> list[str]:
        """The journal holds the last step, but perhaps not on the disk: the pods to be bound."""
        now, placed = self.clock(), []
        records, self._records = self._records, []
        for record in records:
            uid = record.pod.uid
            said = {"herz.decision": record.sequence, "herz.decided": record.decided.value}
            self._enter(uid, "prove", self._sealed_ns or now, said)
            if record.decided is Decided.PLACE:
                placed.append(uid)
            else:
                self._enter(uid, "queue", now)
        return placed

    def proved(self, uids: list[str], now: int) -> None:
        """Their binds may leave since that time."""
        for uid in uids:
            self._enter(uid, "bind", now)

    def answered(self, event: BindFinished, began_ns: int) -> None:
        """The machine was told what became of a bind."""
        if event.outcome is BindOutcome.UNKNOWN:
            return
        self._enter(event.uid, "observe", began_ns, {"herz.outcome": event.outcome.value})
        now = self.clock()
        if event.outcome is BindOutcome.BOUND:
            self.end(event.uid, now, event.outcome.value)
        else:
            self._enter(event.uid, "queue", now)

    def end(self, uid: str, now: int, outcome: str) -> None:
        """The pod has a node, or is gone."""
        self._leave(uid, now)
        found = self._pods.pop(uid, None)
        if found is not None:
            found.root.set_attribute("herz.outcome", outcome)
            found.root.end(end_time=now)

    @contextmanager
    def adjusting(self) -> Iterator[None]:
        """While a model or another setting is put in force."""
        span = self._tracer.start_span("adjust", Context(), start_time=self.clock())
        try:
            yield
        finally:
            span.end(end_time=self.clock())

    def around(self, machine: Machine) -> Machine:
        """The machine, which tells of itself here."""
        return Traced(machine, self)

    # ---- spans --------------------------------------------------------------------------------

    def _enter(
        self, uid: str, verb: str, now: int, said: Mapping[str, str | int] | None = None
    ) -> None:
        """The pod's verb before this one ends; nothing, where the pod's spans are not kept."""
        found = self._pods.get(uid)
        if found is None:
            return
        self._leave(uid, now)
        found.verb = self._tracer.start_span(verb, found.context, attributes=said, start_time=now)

    def _leave(self, uid: str, now: int) -> None:
        found = self._pods.get(uid)
        if found is not None and found.verb is not None:
            found.verb.end(end_time=now)
            found.verb = None


class Traced(Deferring):
    """The machine (`herz.ports.Machine`), whose pods have spans.

    Args:
        machine: decides.
        spans: told; it changes nothing.
    """

    def __init__(self, machine: Machine, spans: Spans) -> None:
        self._machine = machine
        self._deferring = machine if isinstance(machine, Deferring) else None
        self._spans = spans
        # Pods whose decisions are being synced, and when that was done: told by another thread.
        self._syncing: list[str] = []
        self._synced_ns: list[int] = []

    @property
    def ready(self) -> int:
        """See `herz.ports.Machine.ready`."""
        return self._machine.ready

    @property
    def held(self) -> Mapping[str, str]:
        """See `herz.ports.Machine.held`."""
        return self._machine.held

    def apply(self, event: Event) -> None:
        """See `herz.ports.Machine.apply`."""
        self._take_sync()
        spans = self._spans
        began = spans.clock()
        self._machine.apply(event)
        match event:
            case BindFinished():
                spans.answered(event, began)
            case ObjectApplied(object=Pod() as pod) if not pod.is_assigned:
                spans.arrived(pod, began)
            case ObjectDeleted(object=Pod() as pod):
                spans.end(pod.metadata.uid, began, "gone")
            case _:
                pass

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """See `herz.ports.Machine.step`."""
        self._take_sync()
        effects = self._machine.step(now_ns, limit)
        self._spans.proved(self._spans.decided(), self._spans.clock())
        return effects

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], Sync | None]:
        """See `herz.ports.Deferring`."""
        if self._deferring is None:
            return self.step(now_ns, limit), None
        self._take_sync()
        effects, sync = self._deferring.decide(now_ns, limit)
        placed = self._spans.decided()
        if sync is None:
            self._spans.proved(placed, self._spans.clock())
            return effects, None
        self._syncing = placed

        def synced() -> None:
            sync()
            self._synced_ns.append(self._spans.clock())

        return effects, synced

    def rest(self) -> None:
        """See `herz.ports.Deferring`."""
        self._take_sync()
        if self._deferring is not None:
            self._deferring.rest()

    def _take_sync(self) -> None:
        if self._synced_ns:
            self._spans.proved(self._syncing, self._synced_ns.pop())
            self._syncing = []
